"""DATABASE_URL: every parameter of libpq is accepted, or refused by its name."""

import difflib
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from holdfast_chassis.server_url import parse_server_url
from holdfast_inventory.postgres.preconditions import MIGRATION_SESSION, WRITER_SESSION

_SCHEMES = frozenset({"postgresql", "postgres"})
_EXAMPLE = "postgresql://user:password@host:5432/database"


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """The TCP settings that detect a lost peer; None: the operating system's defaults."""

    idle_seconds: int | None = 10
    interval_seconds: int | None = 3
    count: int | None = 3
    unacknowledged_milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A database and how to connect to it. `dsn` is for the driver; `options` are the settings of each session."""

    dsn: str
    application_name: str | None = None
    connect_seconds: float | None = None
    keep_alive: KeepAlive | None = field(default_factory=KeepAlive)
    schema: str = "public"
    options: Mapping[str, str] = field(default_factory=dict)

    def session(self, ours: Mapping[str, str]) -> Mapping[str, str]:
        """Return the settings of a session, including the schema of the tables.

        A temporary table that was left in a pooled session must not hide a table of that schema.
        """
        return {**ours, "search_path": f"{self.schema}, pg_temp"}


def parse_database_url(text: str) -> DatabaseUrl:
    """Parse the URL of a PostgreSQL database.

    Raises ValueError, whose message has the broken rule but no part of the URL.
    """
    url = parse_server_url(text, _SCHEMES, _EXAMPLE)
    given = {name: value for name, value in url.parameters.items() if value}
    if faults := list(_faults(given)):
        raise ValueError("; ".join(faults))
    _require_certificates(given)
    query = urlencode({name: value for name, value in given.items() if name in _DRIVERS}, quote_via=quote)
    options = _settings(given.get("options", ""))
    seconds = int(given.get("connect_timeout", 0))
    return DatabaseUrl(
        f"postgresql://{url.authority}{url.path}" + (f"?{query}" if query else ""),
        application_name=given.get("application_name") or given.get("fallback_application_name"),
        connect_seconds=seconds or None,
        keep_alive=_keep_alive(given),
        schema=options.pop("search_path", "public"),
        options=options,
    )


def _one_of(*values: str, else_: str = "") -> Callable[[str], str | None]:
    rule = f"must be {' or '.join((', '.join(values[:-1]), values[-1])) if values[1:] else values[0]}"
    return lambda value: None if value in values else f"{rule}{else_}"


def _number(value: str) -> str | None:
    return None if re.fullmatch(r"-?[0-9]{1,9}", value) else "must be a whole number"


def _anything(_: str) -> str | None:
    return None


def _port(value: str) -> str | None:
    return None if all(re.fullmatch("[0-9]{1,5}", each) for each in value.split(",")) else "must be a number"


def _file(value: str) -> str | None:
    if value == "system":
        return "must be a file: those of the system are often in /etc/ssl/certs/ca-certificates.crt"
    return None if Path(value).is_file() else "names no file that can be read"


def _options(value: str) -> str | None:
    try:
        _settings(value)
    except ValueError as error:
        return str(error)
    return None


_TLS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
# Parameters that the driver handles.
_DRIVERS: Mapping[str, Callable[[str], str | None]] = {
    "host": _anything,
    "port": _port,
    "dbname": _anything,
    "user": _anything,
    "password": _anything,
    "passfile": _file,
    "service": _anything,
    "sslmode": _one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslcert": _file,
    "sslkey": _file,
    "sslpassword": _anything,
    "sslrootcert": _file,
    "sslcrl": _file,
    "sslnegotiation": _one_of("postgres", "direct"),
    "ssl_min_protocol_version": _one_of(*_TLS),
    "ssl_max_protocol_version": _one_of(*_TLS),
    "target_session_attrs": _one_of("any", "read-write", "primary", else_=": Holdfast writes"),
}
# Parameters that Holdfast handles.
_OURS: Mapping[str, Callable[[str], str | None]] = {
    "application_name": _anything,
    "fallback_application_name": _anything,
    "connect_timeout": lambda value: None if re.fullmatch("[0-9]|[1-5][0-9]|60", value) else "must be 0 to 60 seconds",
    "keepalives": _one_of("0", "1"),
    "keepalives_idle": _number,
    "keepalives_interval": _number,
    "keepalives_count": _number,
    "tcp_user_timeout": _number,
    "options": _options,
}
# Parameters with only one supported value.
_ALREADY_SO: Mapping[str, Callable[[str], str | None]] = {
    "channel_binding": _one_of(
        "disable", "prefer", else_=": the driver has none; sslmode=verify-full proves the server"
    ),
    "gssencmode": _one_of("disable", "prefer", else_=": the driver has no GSSAPI encryption"),
    "client_encoding": _one_of("auto", "utf8", "UTF8", "utf-8", "UTF-8"),
    "sslcompression": _one_of("0"),
    "sslsni": _one_of("1"),
    "sslcertmode": _one_of("allow", "disable"),
    "gssdelegation": _one_of("0"),
    "load_balance_hosts": _one_of("disable"),
    "replication": _one_of("false", "off", "no", "0"),
}
_KNOWN = {**_DRIVERS, **_OURS, **_ALREADY_SO}
_REFUSED = frozenset({
    "hostaddr", "requirepeer", "require_auth", "sslcrldir", "sslkeylogfile", "krbsrvname", "gsslib", "servicefile",
    "min_protocol_version", "max_protocol_version", "scram_client_key", "scram_server_key", "oauth_issuer",
    "oauth_client_id", "oauth_client_secret", "oauth_scope",
})  # fmt: skip
# Names in other drivers.
_ELSEWHERE = {
    "ssl": "sslmode=require",
    "database": "dbname",
    "schema": "options=-csearch_path%3Dname",
    "currentSchema": "options=-csearch_path%3Dname",
    "search_path": "options=-csearch_path%3Dname",
}


def _faults(given: Mapping[str, str]) -> Iterator[str]:
    for number, (name, value) in enumerate(given.items(), start=1):
        if name in _REFUSED:
            yield f"{name}: not supported"
        elif name in _ELSEWHERE:
            yield f"{name}: unknown to PostgreSQL; write {_ELSEWHERE[name]}"
        elif name not in _KNOWN:
            # It may be a part of a password, so the message does not contain it.
            close = difflib.get_close_matches(name, [*_KNOWN], n=1)
            yield f"parameter {number} is unknown to PostgreSQL" + (f"; did you mean {close[0]}?" if close else "")
        elif rule := _KNOWN[name](value):
            yield f"{name}: {rule}"


def _require_certificates(given: Mapping[str, str]) -> None:
    """Raise ValueError if a TLS file has the wrong content."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in {"sslrootcert", "sslcrl"} & given.keys():
        try:
            context.load_verify_locations(cafile=given[name])
        except OSError:
            raise ValueError(f"{name}: holds nothing of the kind, in PEM") from None
    if "sslcert" in given and "sslkey" in given:
        try:
            context.load_cert_chain(given["sslcert"], given["sslkey"], lambda: given.get("sslpassword", ""))
        except OSError:
            raise ValueError("sslcert, sslkey, sslpassword: do not make a certificate and its key") from None


def _keep_alive(given: Mapping[str, str]) -> KeepAlive | None:
    if given.get("keepalives") == "0":
        return None
    default = KeepAlive()

    def number(name: str, otherwise: int | None) -> int | None:
        value = int(given.get(name, otherwise or 0))
        return value if value > 0 else None

    return KeepAlive(
        number("keepalives_idle", default.idle_seconds),
        number("keepalives_interval", default.interval_seconds),
        number("keepalives_count", default.count),
        number("tcp_user_timeout", default.unacknowledged_milliseconds),
    )


def _settings(options: str) -> dict[str, str]:
    """Return the settings in a server's command line options. Raises ValueError for those that Holdfast sets."""
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|\S)+", options)]
    settings = dict(map(_setting, _joined(words)))
    if reserved := sorted((settings.keys() & (WRITER_SESSION.keys() | MIGRATION_SESSION.keys())) - {"search_path"}):
        raise ValueError(f"{', '.join(reserved)}: Holdfast sets that itself")
    if not re.fullmatch("[a-z_][a-z0-9_]*", settings.get("search_path", "public")):
        raise ValueError("search_path must be one schema, in lower case and without quotes")
    return settings


def _joined(words: list[str]) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        yield f"-c{next(rest, '')}" if word == "-c" else word


def _setting(word: str) -> tuple[str, str]:
    found = re.fullmatch(r"(?:-c|--)([A-Za-z_][\w.-]*)=(.*)", word, re.DOTALL)
    if found is None:
        raise ValueError("must be settings alone: -c name=value")
    return found[1].replace("-", "_").lower(), found[2]
