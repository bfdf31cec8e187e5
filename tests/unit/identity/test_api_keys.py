"""A key is shown once, stored as a hash, and read again when its file changes."""

import json
from datetime import timedelta

import pytest

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_chassis.identity import reloaded
from holdfast_chassis.identity.api_keys import GRANTABLE, new_key, parse_keys, render_keys
from holdfast_chassis.identity.authenticator import Authenticator
from holdfast_chassis.identity.refusals import Unauthenticated
from holdfast_chassis.identity.settings import IdentitySettings
from holdfast_chassis.lifecycle import CannotStartError
from holdfast_inventory.__main__ import main
from tests.support.eventually import eventually


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


@pytest.fixture
def command(path, monkeypatch, capsys):
    """Run `holdfast-inventory key`; gives its exit code and what it printed."""

    def run(*arguments):
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["holdfast-inventory", "key", *arguments, "--file", str(path)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().out.strip()

    return run


@pytest.fixture
async def start(path, monkeypatch):
    """Start an authenticator of the file."""
    monkeypatch.setattr(reloaded, "_FILE_SECONDS", 0.01)
    monkeypatch.setattr(reloaded, "_FILE_PAUSE_SECONDS", 0.0)
    running = []

    async def begin(**settings):
        running.append(Authenticator(IdentitySettings(api_keys_path=path, **settings)))
        await running[-1].start()
        return running[-1]

    yield begin
    for authenticator in running:
        await authenticator.stop()


async def is_known(authenticator, secret):
    try:
        return await authenticator.principal_of(f"Bearer {secret}")
    except Unauthenticated:
        return None


def test_a_key_is_kept_as_a_hash_alone(command, path):
    code, secret = command("create", "--name", "shop", "--scope", "reservations.write")
    assert code == 0
    assert len(secret.removeprefix("holdfast_")) == 64
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    _, listed = command("list")
    assert "shop  reservations.write" in listed
    assert secret not in listed


async def test_a_key_is_the_client_that_it_is_named_for(command, start):
    _, secret = command("create", "--name", "shop", "--scope", "reservations.write", "--scope", "stock.read")
    principal = await is_known(await start(), secret)
    assert (principal.name, principal.customer) == ("keys/shop", "")
    assert principal.scopes == {"reservations.write", "stock.read"}


async def test_two_keys_of_one_name_are_valid_until_one_is_revoked(command, start):
    _, old = command("create", "--name", "shop", "--scope", "sales.read")
    authenticator = await start()
    _, new = command("create", "--name", "shop", "--scope", "sales.read")
    await eventually(lambda: is_known(authenticator, new))
    assert await is_known(authenticator, old)
    _, listed = command("list")
    assert command("revoke", listed.split()[0])[0] == 0

    async def is_cut_off():
        return not await is_known(authenticator, old)

    await eventually(is_cut_off)
    assert await is_known(authenticator, new)


async def test_a_key_ends_when_it_expires(path, start):
    now = SYSTEM_CLOCK.now()
    ended, past = new_key("past", ["sales.read"], now - timedelta(seconds=1))
    valid, present = new_key("present", ["sales.read"], now + timedelta(hours=1))
    path.write_text(render_keys([past, present]))
    authenticator = await start()
    assert await is_known(authenticator, valid)
    with pytest.raises(Unauthenticated, match="the key has expired"):
        await authenticator.principal_of(f"Bearer {ended}")


async def test_a_key_that_is_nearly_right_is_unknown(command, start):
    _, secret = command("create", "--name", "shop", "--scope", "sales.read")
    authenticator = await start()
    for guess in (secret[:-1], secret + "0", secret.upper(), "holdfast_", secret.replace("holdfast_", "")):
        assert not await is_known(authenticator, guess)


def test_the_scope_of_buyers_is_for_tokens_alone():
    assert "reservations.own" not in GRANTABLE
    with pytest.raises(ValueError, match="the scopes of key shop must be some of"):
        new_key("shop", ["reservations.own"], None)


def test_a_key_survives_being_written_and_read():
    _, key = new_key("shop", ["sales.read"], SYSTEM_CLOCK.now())
    assert list(parse_keys(render_keys([key]).encode()).values()) == [key]


VALID = {"name": "shop", "scopes": ["sales.read"], "sha256": "0" * 64}


@pytest.mark.parametrize(
    "fault",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"sha256": "0"},
        {"expires": "tomorrow"},
        {"expires": "2027-01-01T00:00:00"},
    ],
)
async def test_a_file_with_a_fault_lets_nothing_start(path, start, fault):
    path.write_text(json.dumps({"keys": [VALID | fault]}))
    with pytest.raises(CannotStartError):
        await start()


async def test_a_file_that_is_not_there_lets_nothing_start(start):
    with pytest.raises(CannotStartError, match="No such file"):
        await start()


def test_a_key_that_is_not_there_cannot_be_revoked(command):
    command("create", "--name", "shop", "--scope", "sales.read")
    assert command("revoke", "0123456789ab")[0] == 1
