"""SQL statements, loaded from files. Every statement has a name, and a comment with its reasons.

Lists of columns (see `columns`) and parameters are named:

    {item}                item_id, on_hand, ...
    {reservation::}       the same, with arrays parsed from the text in which they are sent
    {named.reservation[]} array_agg(reservation_id) AS "named.reservation_id", ...
    :sale_id              a parameter; the same name is the same parameter
    :created.reservation  parameters, an array for each column: $7::uuid[], $8::text[], ...
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from holdfast_inventory.postgres.columns import LISTS, from_text, parameter_type, to_text

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_LIST = re.compile(r"\{(?:(\w+)\.)?(\w+)(::|\[\])?\}")
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)(?:\.([a-z_]+))?")

_NAMES: dict[str, str] = {}
_PARAMETERS: dict[str, tuple[str, ...]] = {}


@cache
def load(name: str) -> Mapping[str, str]:
    """Return the statements of `sql/<name>.sql`, by their names.

    Raises `ValueError` if the file has no statement, or two with the same name.
    """
    text = files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    # The text before the first header belongs to no statement.
    _, *parts = _HEADER.split(text)
    names, bodies = parts[::2], parts[1::2]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"sql/{name}.sql: every statement needs a unique name")
    statements = {statement: _statement(body.strip()) for statement, body in zip(names, bodies, strict=True)}
    _NAMES.update((sql, statement) for statement, sql in statements.items())
    return MappingProxyType(statements)


def name_of(sql: str) -> str:
    """Return the name of a loaded statement, or the first word of any other, for logs and metrics."""
    return _NAMES.get(sql) or sql.split(maxsplit=1)[0].lower().rstrip(";")


def parameters_of(sql: str) -> tuple[str, ...]:
    """Return the names of a loaded statement's parameters, in order."""
    return _PARAMETERS[sql]


def arguments(sql: str, values: Mapping[str, Any]) -> list[Any]:
    """Return the values of a loaded statement's parameters, in order. Raises `KeyError` when one is missing."""
    return [values[name] for name in _PARAMETERS[sql]]


def _statement(text: str) -> str:
    parameters: dict[str, int] = {}

    def number(name: str) -> int:
        return parameters.setdefault(name, len(parameters) + 1)

    def parameter(found: re.Match[str]) -> str:
        group, columns = found.groups()
        if columns is None:
            return f"${number(group)}"
        types = LISTS[columns].items()
        return ", ".join(f"${number(f'{group}.{column}')}::{parameter_type(kind)}" for column, kind in types)

    sql = _PARAMETER.sub(parameter, _LIST.sub(_listed, text))
    _PARAMETERS[sql] = tuple(parameters)
    return sql


def _listed(found: re.Match[str]) -> str:
    group, columns, form = found.groups()
    types = LISTS[columns].items()
    if form == "[]":
        return ", ".join(f'array_agg({to_text(column, kind)}) AS "{group}.{column}"' for column, kind in types)
    if form == "::":
        return ", ".join(from_text(column, kind) for column, kind in types)
    return ", ".join(f"{group}.{column}" if group else column for column, _ in types)
