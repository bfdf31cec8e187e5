"""The sweeper: ends due holds, and the holds of cancelled sales, in sales without other commands.

Every batch ends due holds, so the sweeper matters only for idle sales. Any number of replicas may sweep: a batch is
appended only if the sale is unchanged, so each hold ends once.
"""

import asyncio
from typing import Protocol

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger
from holdfast_inventory.background.recurring import Recurring
from holdfast_inventory.domain.commands import Sweep
from holdfast_inventory.domain.decide import Swept
from holdfast_inventory.domain.errors import DeadlineInQueue, Overloaded
from holdfast_inventory.postgres.catalog import Catalog
from holdfast_inventory.stock.stock_ledger import StockLedger

_MOST_SALES = 100
_CONCURRENT_SALES = 4
_MOST_BATCHES = 1_000
"""The limit for one sale in one round, so that a sale with many due holds does not delay the others."""
_DEADLINE_SECONDS = 5.0

_log = get_logger("holdfast.expiry")


class SweeperMetrics(Protocol):
    """The sweeper's metrics."""

    def expiry_lag(self, seconds: float) -> None:
        """Note how long ago the oldest due hold ran out, in seconds. 0: there is none."""


class Sweeper(Recurring):
    """Ends due holds about once per interval. Another replica or the next start sweeps what a stop leaves."""

    def __init__(
        self,
        catalog: Catalog,
        ledger: StockLedger,
        metrics: SweeperMetrics,
        *,
        interval_seconds: float = 1.0,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        super().__init__("sweep", self._sweep_all, interval_seconds, entropy)
        self._catalog = catalog
        self._ledger = ledger
        self._metrics = metrics
        self._places = asyncio.Semaphore(_CONCURRENT_SALES)

    async def _sweep_all(self) -> bool:
        sale_ids, lag_seconds = await self._catalog.sales_to_sweep(_MOST_SALES)
        self._metrics.expiry_lag(lag_seconds)
        outcomes = await asyncio.gather(*map(self._sweep, sale_ids), return_exceptions=True)
        faults = {sale_id: outcome for sale_id, outcome in zip(sale_ids, outcomes, strict=True) if outcome is not None}
        for sale_id, fault in faults.items():
            if len(faults) == len(sale_ids):
                raise fault
            _log.warning("a sale could not be swept", sale=sale_id, error=repr(fault))
        return len(sale_ids) == _MOST_SALES

    async def _sweep(self, sale_id: str) -> None:
        async with self._places:
            for _ in range(_MOST_BATCHES):
                deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
                try:
                    swept = await self._ledger.execute(sale_id, Sweep(), deadline)
                except (Overloaded, DeadlineInQueue):
                    return  # The sale is busy, and its batches end what is due.
                if not isinstance(swept, Swept) or not swept.ended:
                    return
