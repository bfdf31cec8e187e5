"""REDIS_URL: accepts what the client understands, and refuses everything else by its name."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, SecretStr

from holdfast_chassis.server_url import parse_server_url

_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix"}
_OF_MANY = re.compile(r"[a-z]*[-+_]?(sentinel|cluster)s?(:|\+|-|_)", re.IGNORECASE)
_EXAMPLE = "redis://user:password@host:6379/0 (rediss:// with TLS, valkey://, valkeys://, unix:///path)"


def parse_redis_url(text: str) -> str:
    """Return the URL in the client's form. Raises ValueError with the broken rule, but without any part of the URL."""
    if _OF_MANY.match(text):
        raise ValueError("Sentinel and Cluster are not supported: give one server, or an address that leads to it")
    url = parse_server_url(text, _SCHEMES, _EXAMPLE)
    scheme = _SCHEMES[url.scheme]
    if len(url.hosts) > 1:
        raise ValueError("must name one server: Sentinel and Cluster are not supported")
    if scheme == "unix" and not url.path.strip("/"):
        raise ValueError("unix:// needs a path: unix:///run/redis/redis.sock")
    if scheme != "unix" and not re.fullmatch("/?[0-9]{0,6}", url.path):
        raise ValueError("the database behind the host must be a number, as in redis://host:6379/0")
    given = {name: value for name, value in url.parameters.items() if value}
    for number, (name, value) in enumerate(given.items(), start=1):
        # An unknown name may be a part of a password, so the message does not contain it.
        if name not in _PARAMETERS:
            raise ValueError(f"parameter {number} is none of {', '.join(_PARAMETERS)}")
        if name.startswith("ssl_") and scheme != "rediss":
            raise ValueError(f"{name}: only with rediss:// or valkeys://, which is with TLS")
        if rule := _PARAMETERS[name](value):
            raise ValueError(f"{name}: {rule}")
    query = urlencode(given, quote_via=quote)
    return f"{scheme}://{url.authority}{url.path}" + (f"?{query}" if query else "")


def _anything(_: str) -> str | None:
    return None


def _file(value: str) -> str | None:
    return None if Path(value).is_file() else "names no file that can be read"


def _one_of(*values: str) -> Callable[[str], str | None]:
    return lambda value: None if value in values else f"must be one of {', '.join(values)}"


_PARAMETERS: Mapping[str, Callable[[str], str | None]] = {
    "db": lambda value: None if re.fullmatch("[0-9]{1,6}", value) else "must be a number",
    "username": _anything,
    "password": _anything,
    "client_name": _anything,
    "ssl_cert_reqs": _one_of("none", "optional", "required"),
    "ssl_check_hostname": _one_of("true", "false"),
    "ssl_ca_certs": _file,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
}


def _as_the_client_takes_it(url: SecretStr) -> SecretStr:
    return SecretStr(parse_redis_url(url.get_secret_value()))


RedisUrlSetting = Annotated[SecretStr, AfterValidator(_as_the_client_takes_it)]
"""The type of a setting with such a URL."""
