"""What was worked out lately, in bounded memory."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class RecentMap(Generic[K, V]):
    """Remembers the last `count` values at least, and never more than twice as many."""

    __slots__ = ("_count", "_new", "_old")

    def __init__(self, count: int) -> None:
        self._count = count
        self._new: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return the value of a key, if it is remembered. One that is asked for stays longer."""
        value = self._new.get(key)
        if value is None and (value := self._old.get(key)) is not None:
            self.set(key, value)
        return value

    def set(self, key: K, value: V) -> None:
        """Remember one more."""
        if len(self._new) >= self._count:
            self._new, self._old = {}, self._new
        self._new[key] = value
