"""An inventory without its server, composed as in `holdfast_inventory.app`: database, ledger and catalog."""

from collections.abc import Callable
from typing import Any, Self

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_inventory.ports import Committed
from holdfast_inventory.postgres.catalog import Catalog
from holdfast_inventory.postgres.database import Database
from holdfast_inventory.postgres.sale_store import PostgresSaleStore
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from holdfast_inventory.stock.stock_ledger import StockLedger

_PATIENCE_SECONDS = 10.0


class _Unmeasured:
    """Metrics for every part that ignore all values."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_arguments, **_options: None


UNMEASURED: Any = _Unmeasured()


class Replica:
    """A replica. `async with` opens and closes it."""

    def __init__(
        self,
        database: Database,
        on_commit: Callable[[Committed], None],
        *,
        limits: GroupCommitLimits | None = None,
        metrics: Any = UNMEASURED,
        entropy: Entropy = SYSTEM_ENTROPY,
        **options: Any,
    ) -> None:
        """`on_commit` is called with what ledger and catalog commit. `options` are those of a StockLedger."""
        self.database = database
        self.store = PostgresSaleStore(database)
        limits = limits or GroupCommitLimits()
        self.ledger = StockLedger(self.store, limits, metrics, on_commit, entropy=entropy, **options)
        self.catalog = Catalog(database, on_commit, entropy=entropy)

    async def __aenter__(self) -> Self:
        await self.database.open(_PATIENCE_SECONDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.ledger.stop(_PATIENCE_SECONDS)
        await self.database.close()
