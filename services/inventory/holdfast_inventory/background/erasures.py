"""The eraser: completes erasures of customers with very many reservations, and those that were cut off."""

from typing import Protocol

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_inventory.background.recurring import Recurring
from holdfast_inventory.postgres.erasure_store import Erasure

_CUSTOMERS_AT_ONCE = 10
_STEPS_AT_ONCE = 10


class ErasureStore(Protocol):
    """The store of erasures."""

    async def pending(self, limit: int) -> list[str]:
        """Return up to `limit` customers whose erasure is not done. Raises `DatabaseUnavailable`."""

    async def step(self, customer: str) -> Erasure:
        """Erase some of what is stored about a customer. Raises `DatabaseUnavailable` and `OutcomeUnknown`."""


class Eraser(Recurring):
    """Erases in bounded rounds. Another replica or the next start does what a stop leaves."""

    def __init__(
        self, store: ErasureStore, *, interval_seconds: float = 5.0, entropy: Entropy = SYSTEM_ENTROPY
    ) -> None:
        super().__init__("erase customers", self._round, interval_seconds, entropy)
        self._store = store

    async def _round(self) -> bool:
        customers = await self._store.pending(_CUSTOMERS_AT_ONCE)
        # All of them, because one that takes long must not keep the others waiting.
        finished = [await self._some(customer) for customer in customers]
        return len(customers) == _CUSTOMERS_AT_ONCE or not all(finished)

    async def _some(self, customer: str) -> bool:
        for _ in range(_STEPS_AT_ONCE):
            if (await self._store.step(customer)).done:
                return True
        return False
