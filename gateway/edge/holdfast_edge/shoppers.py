"""The shoppers' listener: it serves only what a buyer's token may do, by the contract, and health.

Everything else does not exist there, whatever its credential. The routes are the same as on the other listener. This
module makes those in front of them, one for each HTTP method, which answer 404 to any other path.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from holdfast_chassis.contract import METHODS, Method
from holdfast_edge.kinds import COLON, VARIABLE

BUYERS_SCOPE = "reservations.own"
# A segment without a colon, encoded or not: otherwise a sale's path would match a verb of staff's.
_SEGMENT = "([^/?:%]|%[0-24-9A-Fa-f][0-9A-Fa-f]|%3[0-9B-Fb-f])+"
_QUERY = r"(\?.*)?"
_HEALTH = {
    "GET": ["/health", "/health/live", "/health/startup"],
    "POST": [re.escape(f"/grpc.health.v1.Health/{name}") for name in ("Check", "Watch")],
}


def shoppers_guards() -> list[dict[str, Any]]:
    """Return the routes that refuse what is not for shoppers. Envoy takes the first route that matches."""
    allowed = allowed_paths()
    guards = [_guard("GET|HEAD", allowed["GET"]), _guard("POST", allowed["POST"])]
    # A browser asks before it sends.
    guards.append(_guard("OPTIONS", [*allowed["GET"], *allowed["POST"]]))
    return [*guards, _refusal("other_methods", {**_method("GET|HEAD|POST|OPTIONS"), "invert_match": True})]


def allowed_paths() -> Mapping[str, Sequence[str]]:
    """Return the patterns of the paths for shoppers, without queries, by HTTP method."""
    allowed = {method: list(paths) for method, paths in _HEALTH.items()}
    for method in METHODS:
        if BUYERS_SCOPE in method.scopes:
            allowed["POST"].append(re.escape(method.path))
            for http_method, path in _rest(method):
                allowed[http_method].append(path)
    return allowed


def _rest(method: Method) -> Iterator[tuple[str, str]]:
    for binding in method.bindings:
        path, _, verb = VARIABLE.sub(lambda variable: variable[1] or "*", binding.template).partition(":")
        segments = re.escape(path).replace(r"\*", _SEGMENT)
        yield binding.http_method.upper(), f"{segments}{COLON}{verb}" if verb else segments


def _guard(methods: str, paths: Sequence[str]) -> dict[str, Any]:
    pattern = {"safe_regex": {"regex": f"({'|'.join(paths)}){_QUERY}"}}
    return _refusal(methods, _method(methods), {"name": ":path", "string_match": pattern, "invert_match": True})


def _method(methods: str) -> dict[str, Any]:
    return {"name": ":method", "string_match": {"safe_regex": {"regex": methods}}}


def _refusal(name: str, *headers: Mapping[str, Any]) -> dict[str, Any]:
    name = f"not_for_shoppers_{name}"
    return {"name": name, "match": {"prefix": "/", "headers": list(headers)}, "direct_response": {"status": 404}}
