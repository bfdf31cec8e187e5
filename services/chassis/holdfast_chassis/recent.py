"""Recent values, in bounded memory."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class RecentMap(Generic[K, V]):
    """A map of at least the last `count` values, and at most twice as many."""

    __slots__ = ("_count", "_new", "_old")

    def __init__(self, count: int) -> None:
        self._count = count
        self._new: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._new or key in self._old

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None. It is kept as long as a new one."""
        value = self._new.get(key)
        if value is None and (value := self._old.get(key)) is not None:
            self.set(key, value)
        return value

    def set(self, key: K, value: V) -> None:
        """Set the value of a key."""
        if len(self._new) >= self._count:
            self._new, self._old = {}, self._new
        self._new[key] = value


class RecentSet(RecentMap[K, None]):
    """A set of at least the last `count` values, and at most twice as many."""

    __slots__ = ()

    def add(self, value: K) -> None:
        """Add a value."""
        self.set(value, None)
