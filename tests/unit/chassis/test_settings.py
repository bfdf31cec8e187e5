"""The sources of settings, and the errors for wrong ones."""

import json
import os
import traceback
from dataclasses import dataclass

import pytest
from pydantic import Field, SecretStr, ValidationError, field_validator

from holdfast_chassis.settings import CommaSeparated, ServiceSettings, SettingsError, environment_name, limit


class Settings(ServiceSettings):
    database_url: SecretStr
    grpc_port: int = Field(default=50051, ge=0, le=65535)
    drain_quiet_seconds: float = Field(default=2.0, gt=0)
    origins: CommaSeparated = ()
    token: SecretStr | None = None

    @field_validator("token")
    @classmethod
    def _careless(cls, token):
        if token and token.get_secret_value().startswith("bad"):
            raise ValueError(f"{token.get_secret_value()} is a bad token")
        return token


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """An environment without Holdfast's settings except a database. Call it to set more."""
    for name in os.environ:
        if name.startswith("HOLDFAST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", "postgresql://shop:hunter2@db/shop")

    def environment(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return environment


@pytest.fixture
def document(tmp_path):
    """Write the JSON file, and return its path."""

    def document(content):
        path = tmp_path / "config.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return document


def faults(config_path=None):
    with pytest.raises(SettingsError) as caught:
        Settings.load(config_path)
    return list(caught.value.faults)


def test_defaults_apply_where_nothing_is_given():
    settings = Settings.load(None)
    assert (settings.grpc_port, settings.drain_quiet_seconds, settings.origins) == (50051, 2.0, ())


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(environment, document):
    path = document({"grpc_port": 1, "drain_quiet_seconds": 5, "origins": ["https://a", "https://b"]})
    environment(HOLDFAST_GRPC_PORT="2")
    settings = Settings.load(path)
    assert (settings.grpc_port, settings.drain_quiet_seconds) == (2, 5.0)
    assert settings.origins == ("https://a", "https://b")


def test_lists_are_separated_by_commas_in_the_environment(environment):
    environment(HOLDFAST_ORIGINS="https://a, https://b,")
    assert Settings.load(None).origins == ("https://a", "https://b")


def test_an_empty_variable_is_not_set(environment):
    environment(HOLDFAST_GRPC_PORT="", HOLDFAST_TOKEN_FILE="")
    assert Settings.load(None).grpc_port == 50051


def test_any_value_may_come_from_a_file(environment, monkeypatch, tmp_path):
    (tmp_path / "url").write_text("postgresql://elsewhere\n")
    monkeypatch.delenv("DATABASE_URL")
    environment(DATABASE_URL_FILE=str(tmp_path / "url"))
    assert Settings.load(None).database_url.get_secret_value() == "postgresql://elsewhere"


def test_all_faults_are_reported_at_once(environment, monkeypatch, document):
    monkeypatch.delenv("DATABASE_URL")
    environment(HOLDFAST_GRPC_PORT="70000", HOLDFAST_GRCP_PORT="1", HOLDFAST_TOKEN_FILE="/nowhere")
    assert faults(document({"drain_quiet_seconds": "soon", "orgins": []})) == [
        "HOLDFAST_GRCP_PORT: unknown; did you mean HOLDFAST_GRPC_PORT?",
        "orgins: unknown; did you mean origins?",
        "DATABASE_URL: Field required",
        "HOLDFAST_GRPC_PORT: Input should be less than or equal to 65535",
        "HOLDFAST_DRAIN_QUIET_SECONDS: Input should be a valid number, unable to parse string as a number",
        "HOLDFAST_TOKEN: HOLDFAST_TOKEN_FILE names /nowhere: No such file or directory",
    ]


def test_the_message_has_a_line_for_each_fault(environment):
    environment(HOLDFAST_GRPC_PORT="x", HOLDFAST_DRAIN_QUIET_SECONDS="0")
    with pytest.raises(SettingsError) as caught:
        Settings.load(None)
    assert len(str(caught.value).splitlines()) == 3


def test_a_value_given_twice_is_a_fault(environment, tmp_path):
    environment(DATABASE_URL_FILE=str(tmp_path / "url"))
    assert faults() == ["DATABASE_URL: DATABASE_URL_FILE is set as well: give only one of them"]


def test_a_file_that_is_not_text_is_a_fault(environment, tmp_path):
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    environment(HOLDFAST_TOKEN_FILE=str(tmp_path / "token"))
    assert faults() == [f"HOLDFAST_TOKEN: HOLDFAST_TOKEN_FILE names {tmp_path}/token: not UTF-8 text"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [("{", "not JSON: Expecting property name"), ("[]", "not a JSON object"), (None, "No such file")],
)
def test_an_unusable_file_is_a_fault(document, tmp_path, content, expected):
    path = tmp_path / "missing.json" if content is None else document(content)
    (fault,) = faults(path)
    assert fault.startswith(f"{path}: {expected}")


def test_what_the_sibling_service_knows_is_tolerated(environment, document):
    environment(HOLDFAST_CORS_ORIGINS="https://a", HOLDFAST_VERSION="7")
    Settings.load(document({"submit_concurrency": []}))


def test_what_an_orchestrator_announces_services_by_is_tolerated(environment):
    environment(
        HOLDFAST_INVENTORY_SERVICE_HOST="10.0.0.1",
        HOLDFAST_INVENTORY_SERVICE_PORT_GRPC="50051",
        HOLDFAST_INVENTORY_PORT="tcp://10.0.0.1:50051",
        HOLDFAST_INVENTORY_PORT_50051_TCP_ADDR="10.0.0.1",
    )
    Settings.load(None)


def test_no_secret_is_ever_printed(environment):
    environment(HOLDFAST_TOKEN="bad-s3cret", HOLDFAST_GRPC_PORT="x")
    with pytest.raises(SettingsError) as caught:
        Settings.load(None)
    printed = "".join(traceback.format_exception(caught.value))
    assert "HOLDFAST_TOKEN: … is a bad token" in printed
    assert "s3cret" not in printed
    assert "hunter2" not in printed
    assert "hunter2" not in repr(Settings(token=None, grpc_port=1))


@dataclass(frozen=True, slots=True)
class PoolLimits:
    size: int = 4
    wait_seconds: float = 2.0
    retry_seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class CallLimits:
    wait_seconds: float = 2.0


class Limited(ServiceSettings):
    pool_size: int = limit((PoolLimits, "size"), ge=1, description="Connections.")
    acquire_seconds: float = limit(
        (PoolLimits, "wait_seconds"), (CallLimits, "wait_seconds"), gt=0, description="Wait."
    )


def test_limits_have_their_default_where_they_are_defined():
    assert Limited().pool_size == 4
    assert Limited().limits(PoolLimits) == PoolLimits()


def test_one_setting_may_set_limits_of_several_parts(environment):
    environment(HOLDFAST_POOL_SIZE="9", HOLDFAST_ACQUIRE_SECONDS="7")
    settings = Limited.load(None)
    assert settings.limits(PoolLimits, retry_seconds=1.0) == PoolLimits(9, 7.0, 1.0)
    assert settings.limits(CallLimits) == CallLimits(7.0)


def test_a_setting_of_limits_with_different_defaults_cannot_be_defined():
    with pytest.raises(ValueError, match="several defaults"):
        limit((PoolLimits, "wait_seconds"), (PoolLimits, "retry_seconds"), description="Wait.")
    with pytest.raises(LookupError):
        limit((PoolLimits, "misspelt"), description="Wait.")


def test_settings_are_frozen():
    settings = Settings.load(None)
    with pytest.raises(ValidationError):
        settings.grpc_port = 1


def test_arguments_win_over_the_environment(environment):
    environment(HOLDFAST_GRPC_PORT="1")
    assert Settings(grpc_port=2).grpc_port == 2


def test_names_in_the_environment_are_prefixed_but_for_the_usual_urls():
    assert environment_name("grpc_port") == "HOLDFAST_GRPC_PORT"
    assert environment_name("redis_url") == "REDIS_URL"
