"""Profiles keep keys to their owner and to their address."""

import stat

import pytest

from holdfast_cli import profiles, session
from holdfast_cli.profiles import Profile, Profiles, ProfilesError
from holdfast_cli.session import Shared


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    path = tmp_path / "holdfast" / "profiles.json"
    monkeypatch.setenv("HOLDFAST_PROFILES", str(path))
    monkeypatch.delenv("HOLDFAST_KEY_FILE", raising=False)
    return path


SHOP = Profile("shop.example.com:8443", key="secret")


def test_they_are_kept_for_their_owner_alone(path):
    profiles.save(Profiles({"shop": SHOP}, "shop"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert profiles.load() == Profiles({"shop": SHOP}, "shop")
    assert [each.name for each in path.parent.iterdir()] == ["profiles.json"]


def test_a_file_that_others_may_read_is_not_used(path):
    profiles.save(Profiles({"shop": SHOP}, "shop"))
    path.chmod(0o640)
    with pytest.raises(ProfilesError, match="chmod 600"):
        profiles.load()


@pytest.mark.parametrize("text", ["", "[]", '{"profiles": {"a": {"port": 1}}, "current": ""}', "{}"])
def test_a_spoiled_file_is_reported(path, text):
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ProfilesError, match="not a file of profiles"):
        profiles.load()


def test_without_profiles_a_holdfast_on_this_machine_is_meant():
    assert session._profile(Shared()) == Profile("localhost:50051", plaintext=True)


def test_an_unknown_profile_is_reported():
    with pytest.raises(ProfilesError, match="holdfast profile list"):
        session._profile(Shared(profile="other"))


def test_a_key_is_not_sent_to_another_address_than_its_own():
    profiles.save(Profiles({"shop": SHOP}, "shop"))
    assert session._profile(Shared()).key == "secret"
    assert session._profile(Shared(address=SHOP.address)).key == "secret"
    assert session._profile(Shared(address="evil.example.com:8443")).key == ""


@pytest.mark.parametrize(
    ("address", "plaintext"),
    [
        ("localhost:50051", True),
        ("127.0.0.1:1", True),
        ("[::1]:50051", True),
        ("localhost.example.com:50051", False),
        ("127.0.0.1.example.com:50051", False),
        ("shop:50051", False),
    ],
)
def test_only_on_this_machine_is_tls_left_out_unasked(address, plaintext):
    assert session._profile(Shared(address=address)).plaintext is plaintext
    assert session._profile(Shared(address=address, plaintext=True)).plaintext is True


def test_a_key_is_never_printed():
    assert "secret" not in repr(SHOP)
