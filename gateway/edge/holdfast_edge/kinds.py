"""Regular expressions for the paths of each kind of request, derived from the contract."""

import re
from collections.abc import Iterator, Mapping

from holdfast_chassis.contract import METHODS, Kind

VARIABLE = re.compile(r"\{[\w.]+(?:=([^{}]*))?\}")
"""A variable in a path template; its group is the pattern, if it has one."""
# A client may encode the colon before a verb.
COLON = "(:|%3[Aa])"
"""The colon before a verb, as a pattern."""


def path_patterns() -> Mapping[str, str]:
    """Return the patterns of each kind by `grpc_<kind>` and `rest_<kind>`; they match a path without its query."""
    return {
        f"{protocol}_{kind.name.lower()}": "|".join(paths(kind))
        for protocol, paths in (("grpc", _grpc_paths), ("rest", _rest_paths))
        for kind in Kind
    }


def _grpc_paths(kind: Kind) -> Iterator[str]:
    return (re.escape(method.path) for method in METHODS if method.kind is kind)


def _rest_paths(kind: Kind) -> Iterator[str]:
    return (_rest_path(binding.template) for method in METHODS if method.kind is kind for binding in method.bindings)


def _rest_path(template: str) -> str:
    path, _, verb = VARIABLE.sub(lambda variable: variable[1] or "*", template).partition(":")
    segments = re.escape(path).replace(r"\*", "[^/?]+")
    return f"{segments}{COLON}{verb}" if verb else segments
