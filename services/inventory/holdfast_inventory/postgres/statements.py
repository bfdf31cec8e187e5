"""SQL from its files: every statement has a name, and a comment that says why it is as it is.

Lists of columns (see `columns`) and parameters are named:

    {item}                item_id, on_hand, ...
    {reservation::}       the same, with arrays made from the text in which they travel
    {named.reservation[]} array_agg(reservation_id) AS "named.reservation_id", ...
    :sale_id              a parameter, the same wherever it stands
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
    """The statements of `sql/<name>.sql`, by their names.

    Raises `ValueError` when the file has no statement, or two of one name.
    """
    text = files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    # What stands before the first header belongs to no statement.
    _, *parts = _HEADER.split(text)
    names, bodies = parts[::2], parts[1::2]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"sql/{name}.sql: every statement needs a name of its own")
    statements = {statement: _statement(body.strip()) for statement, body in zip(names, bodies, strict=True)}
    _NAMES.update((sql, statement) for statement, sql in statements.items())
    return MappingProxyType(statements)


def name_of(sql: str) -> str:
    """The name of a loaded statement, or the first word of any other: for logs and metrics."""
    return _NAMES.get(sql) or sql.split(maxsplit=1)[0].lower().rstrip(";")


def parameters_of(sql: str) -> tuple[str, ...]:
    """The names of a loaded statement's parameters, in order."""
    return _PARAMETERS[sql]


def arguments(sql: str, values: Mapping[str, Any]) -> list[Any]:
    """The values of a loaded statement's parameters, in order. Raises `KeyError` when one is missing."""
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
