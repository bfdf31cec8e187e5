"""SQL from its files: every statement has a name, and a comment that says why it is as it is."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

_NAMES: dict[str, str] = {}


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
    statements = dict(zip(names, (body.strip() for body in bodies), strict=True))
    _NAMES.update((sql, statement) for statement, sql in statements.items())
    return MappingProxyType(statements)


def name_of(sql: str) -> str:
    """The name of a loaded statement, or the first word of any other: for logs and metrics."""
    return _NAMES.get(sql) or sql.split(maxsplit=1)[0].lower()
