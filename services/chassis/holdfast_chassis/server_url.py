"""The URL of a server in a setting. Error messages never contain any part of the URL."""

import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:]*)(?::(\d*))?")
_LOOSE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_LARGEST_PORT = 65535
_ESCAPE = "write @ : / ? # % and spaces in a user or password as %40 %3A %2F %3F %23 %25 %20"


class ServerUrl(NamedTuple):
    """The parts of a URL. `authority` and `path` are as in the URL, `parameters` are decoded."""

    scheme: str
    authority: str
    path: str
    parameters: dict[str, str]

    @property
    def hosts(self) -> list[str]:
        """The hosts, with their ports if they have one."""
        return self.authority.rpartition("@")[2].split(",")


def parse_server_url(text: str, schemes: Collection[str], example: str) -> ServerUrl:
    """Parse a URL. Raises ValueError with the rule that it breaks."""
    if text[:1] in {'"', "'", "`"} or text[-1:] in {'"', "'", "`"}:
        raise ValueError("it has quotes around it: remove them")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise ValueError(_scheme_rule(text, schemes, example))
    if not text.isprintable() or " " in text:
        raise ValueError(f"contains a space or an invisible character: {_ESCAPE}")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "#" in rest or "@" in rest[len(authority) :] or authority.count("@") > 1 or _LOOSE_PERCENT.search(rest):
        raise ValueError(_ESCAPE)
    try:
        parts = urlsplit(text)
    except ValueError:
        # The original message contains the host.
        raise ValueError(f"the host is invalid: {_ESCAPE}") from None
    url = ServerUrl(scheme.lower(), authority, parts.path, _parameters(parts.query))
    for host in url.hosts:
        _require_host(host)
    return url


def _scheme_rule(text: str, schemes: Collection[str], example: str) -> str:
    rule = f"must be a URL like {example}"
    if text.lower().startswith("jdbc:"):
        return f"{rule}, without jdbc: before it"
    dialect, plus, _ = text.partition("://")[0].partition("+")
    if plus and dialect.lower() in schemes:
        return f"{rule}, without + and what follows it in the scheme"
    return rule


def _require_host(host: str) -> None:
    found = _HOST.fullmatch(host)
    if found is None or (found[2] and not 0 < int(found[2]) <= _LARGEST_PORT):
        raise ValueError(
            f"each host must be a name or an address, in brackets if it has colons, with a port of 1 to "
            f"{_LARGEST_PORT} behind it: {_ESCAPE}"
        )


def _parameters(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for number, field in enumerate(query.split("&") if query else [], start=1):
        name, equals, value = field.partition("=")
        if not equals:
            raise ValueError(f"parameter {number} has no value: write name=value")
        if unquote(name) in parameters:
            raise ValueError(f"parameter {number} is given a second time")
        # A plus stays a plus: these are not the fields of a form.
        parameters[unquote(name)] = unquote(value)
    return parameters
