"""A set of recent values, in bounded memory."""

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class RecentSet(Generic[T]):
    """A set of at least the last `count` values, and at most twice as many."""

    __slots__ = ("_count", "_new", "_old")

    def __init__(self, count: int) -> None:
        self._count = count
        self._new: set[T] = set()
        self._old: set[T] = set()

    def __contains__(self, value: T) -> bool:
        return value in self._new or value in self._old

    def add(self, value: T) -> None:
        """Add a value."""
        if len(self._new) >= self._count:
            self._new, self._old = set(), self._new
        self._new.add(value)
