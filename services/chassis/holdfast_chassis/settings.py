"""Settings: parsed once into a frozen object. All faults are reported together, without secrets."""

import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BeforeValidator, Field, JsonValue, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from holdfast_chassis.otel_variables import faults_of_traces

_PREFIX = "HOLDFAST_"
_UNPREFIXED = frozenset({"database_url", "redis_url"})
# Names that many programs share: they count where the prefixed ones are not set.
_WELL_KNOWN = {"rate_limit_requests": "RATE_LIMIT_REQUESTS", "rate_limit_window": "RATE_LIMIT_WINDOW"}
# Not a setting of any service: the deployment's name for the build.
_ALWAYS_KNOWN = frozenset({"version"})
# The edge has its own namespace within Holdfast's, and checks it itself.
_EDGE_PREFIX = "HOLDFAST_EDGE_"
# Variables by which an orchestrator announces services: a service named `holdfast-x` is not a misspelt setting.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP)(_\w+)?$")


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""A list of texts: separated by commas in the environment, a list in the JSON file."""


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _in_seconds(value: object) -> object:
    written = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(written[1]) * _SECONDS[written[2]] if written else value


Duration = Annotated[float, BeforeValidator(_in_seconds)]
"""Seconds; as text also with a unit: 500ms, 30s, 1m, 1h."""


L = TypeVar("L")


def limit(
    *uses: tuple[type, str], ge: float | None = None, gt: float | None = None, le: float | None = None, description: str
) -> Any:  # noqa: ANN401 - as pydantic's Field
    """Return a pydantic field that sets a limit of a part of the service: a field of a dataclass, with its default.

    One setting may set limits of several parts. Raises LookupError if a field does not exist, and ValueError if their
    defaults differ.
    """
    defaults = {_default(part, name) for part, name in uses}
    if len(defaults) != 1:
        raise ValueError(f"one setting has several defaults: {defaults}")
    places: list[JsonValue] = [f"{part.__name__}.{name}" for part, name in uses]
    return Field(defaults.pop(), ge=ge, gt=gt, le=le, description=description, json_schema_extra={_LIMITS: places})


_LIMITS = "limits"


def _default(part: type, name: str) -> object:
    return {field.name: field.default for field in fields(part)}[name]


class SettingsError(Exception):
    """The settings are invalid. The message lists every fault, one per line."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n  ".join(("the settings cannot be used:", *self.faults)))


class ServiceSettings(BaseSettings):
    """The common part of the settings of all services.

    A field comes from the environment (HOLDFAST_<FIELD>, but plain DATABASE_URL and REDIS_URL), or from the file that
    the variable with the suffix _FILE names; else from the JSON file; else it has its default. An empty variable counts
    as not set.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    own_prefix: ClassVar[str] = _PREFIX
    """Only variables with this prefix are checked for misspelt names."""
    traces_by_sdk: ClassVar[bool] = False
    """Whether the service needs OpenTelemetry's SDK if it sends traces."""

    @classmethod
    def load(cls, config_path: Path | None) -> Self:
        """Read the environment and the JSON file, if any. Raises SettingsError with all faults."""
        document, faults = _read_document(config_path)
        faults += [*_unknown_variables(cls), *_unknown_keys(cls, document)]
        faults += faults_of_traces(os.environ, by_sdk=cls.traces_by_sdk)
        overridden = Environment(cls)()
        usable = {name: document[name] for name in cls.model_fields if name in document and name not in overridden}
        try:
            settings = cls(**usable)
        except ValidationError as error:
            faults += [_describe(cls, detail) for detail in error.errors(include_url=False)]
        if faults:
            raise SettingsError(faults)
        return settings

    def limits(self, part: type[L], **others: object) -> L:
        """Return the limits of a part of the service: those that settings set (see `limit`), and `others`."""
        return part(**{name: getattr(self, field) for name, field in _settings_of(type(self), part)}, **others)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Replace pydantic's sources: arguments first, then the environment with support for _FILE."""
        return init_settings, Environment(settings_cls)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_unusable(cls, value: object) -> object:
        if isinstance(value, _Unusable):
            raise ValueError(value.reason)  # noqa: TRY004 - the kind of error that pydantic collects
        return value


@dataclass(frozen=True, slots=True)
class _Unusable:
    """A placeholder for a value that could not be read, so that it is reported with the other faults."""

    reason: str


class Environment(PydanticBaseSettingsSource):
    """The values from the environment, directly or from a named file."""

    def __call__(self) -> dict[str, Any]:
        """Return them by field."""
        values = ((name, self._value_of(name)) for name in self.settings_cls.model_fields)
        return {name: value for name, value in values if value is not None}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return one field's value. The interface requires this method."""
        return self._value_of(field_name), field_name, False

    def _value_of(self, field_name: str) -> str | _Unusable | None:
        value = self._value(environment_name(field_name))
        well_known = _WELL_KNOWN.get(field_name)
        return self._value(well_known) if value is None and well_known is not None else value

    def _value(self, variable: str) -> str | _Unusable | None:
        direct, path = os.environ.get(variable), os.environ.get(f"{variable}_FILE")
        if direct and path:
            return _Unusable(f"{variable}_FILE is set as well: give only one of them")
        if not path:
            return direct or None
        try:
            # Editors on Windows write a byte order mark.
            return Path(path).read_text(encoding="utf-8-sig").strip()
        except OSError as error:
            return _Unusable(f"{variable}_FILE names {path}: {error.strerror}")
        except UnicodeDecodeError:
            return _Unusable(f"{variable}_FILE names {path}: not UTF-8 text")


def environment_name(field: str) -> str:
    """Return the variable that gives the field."""
    return field.upper() if field in _UNPREFIXED else _PREFIX + field.upper()


def _read_document(path: Path | None) -> tuple[Mapping[str, Any], list[str]]:
    if path is None:
        return {}, []
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        return {}, [f"{path}: {error.strerror}"]
    except ValueError as error:
        return {}, [f"{path}: not JSON: {error}"]
    return (document, []) if isinstance(document, dict) else ({}, [f"{path}: not a JSON object"])


def _unknown_variables(cls: type[ServiceSettings]) -> Iterator[str]:
    known = [environment_name(name) for name in _known(cls)]
    known += [f"{variable}_FILE" for variable in known]
    for variable, value in os.environ.items():
        linked = _SERVICE_LINK.search(variable) or value.startswith(("tcp://", "udp://"))
        foreign = variable.startswith(_EDGE_PREFIX) and cls.own_prefix != _EDGE_PREFIX
        if variable.startswith(cls.own_prefix) and variable not in known and not linked and not foreign:
            yield _unknown(variable, known)


def _unknown_keys(cls: type[ServiceSettings], document: Mapping[str, Any]) -> Iterator[str]:
    known = _known(cls)
    return (_unknown(key, known) for key in document if key not in known)


def _known(cls: type[ServiceSettings]) -> Iterable[str]:
    return {*cls.model_fields, *_names_of_all_services(), *_ALWAYS_KNOWN}


@cache
def _names_of_all_services() -> tuple[str, ...]:
    """Return the names of all settings: services share one environment file, so those of others are no faults."""
    return tuple(resources.files("holdfast_chassis").joinpath("setting_names.txt").read_text("utf-8").split())


def _settings_of(cls: type[ServiceSettings], part: type) -> Iterator[tuple[str, str]]:
    """Yield the limits of a part that have a setting, each with the name of the setting."""
    for name, field in cls.model_fields.items():
        extra = field.json_schema_extra
        places = extra.get(_LIMITS) if isinstance(extra, dict) else None
        for place in places if isinstance(places, list) else ():
            owner, _, limited = str(place).partition(".")
            if owner == part.__name__:
                yield limited, name


def _unknown(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"{name}: unknown" + (f"; did you mean {close[0]}?" if close else "")


def _describe(cls: type[ServiceSettings], detail: ErrorDetails) -> str:
    """Describe the fault of a field, without its value if that is a secret."""
    message, given = detail["msg"].removeprefix("Value error, "), detail["input"]
    if not detail["loc"]:
        return message
    name, *inner = map(str, detail["loc"])
    if "Secret" in repr(cls.model_fields[name].annotation) and isinstance(given, str) and given:
        message = message.replace(given, "…")
    return f"{'.'.join((environment_name(name), *inner))}: {message}"
