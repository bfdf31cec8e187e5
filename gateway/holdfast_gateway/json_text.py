"""Parses JSON, and refuses objects with a repeated member, because parsers differ in which one they take."""

import json
import re
from typing import Any

import orjson

from holdfast_gateway.problems import INVALID_REQUEST, refuse, refuse_field

_member_ends = re.compile(rb'"[ \t\r\n]*:').findall


def parse(body: bytes, path: str = "") -> Any:  # noqa: ANN401 - JSON is anything
    """Return the parsed value of the field at `path`. Raises ProblemError if it is not JSON or ambiguous."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        refuse(INVALID_REQUEST, f"The body is not JSON: {error}")
    # Every member's name ends like this, and a text may, too: if there are more of these than members, check again.
    if len(_member_ends(body)) != _count_members(document):
        _refuse_repeated(body, path)
    return document


def _count_members(document: Any) -> int:  # noqa: ANN401 - as above
    if type(document) is dict:
        return len(document) + sum(map(_count_members, document.values()))
    return sum(map(_count_members, document)) if type(document) is list else 0


class _Repeating(dict[str, Any]):
    """An object in which the member `name` is repeated."""

    name: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) == len(pairs):
        return parsed
    repeating = _Repeating(parsed)
    names = [name for name, _ in pairs]
    repeating.name = next(name for name in names if names.count(name) > 1)
    return repeating


def _refuse_repeated(body: bytes, path: str) -> None:
    found = _path_of_repeated(json.loads(body, object_pairs_hook=_object), path)
    if found is not None:
        refuse_field(found, "must not appear twice")


def _path_of_repeated(document: Any, path: str) -> str | None:  # noqa: ANN401 - as above
    if isinstance(document, _Repeating):
        return f"{path}.{document.name}".removeprefix(".")
    if isinstance(document, dict):
        inner = ((f"{path}.{name}".removeprefix("."), value) for name, value in document.items())
    elif isinstance(document, list):
        inner = ((f"{path}[{index}]", value) for index, value in enumerate(document))
    else:
        return None
    return next(filter(None, (_path_of_repeated(value, where) for where, value in inner)), None)
