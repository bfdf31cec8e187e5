"""Checks that the ledgers have exactly what was acknowledged in the measurements.

h2load does not see a gRPC status, so it counts a refusal as a success. The ledger shows the difference.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from holdfast.inventory.v1 import sale_service_pb2
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from lab.bench.service_metrics import OUT_OF_STOCK

_VERIFY_SECONDS = 120


@dataclass(frozen=True)
class Ledger:
    """The acknowledged units of a sale, and those of its ledger."""

    sale: str
    acknowledged: int
    held: int
    is_consistent: bool
    """Whether the sums of its movements are its stock levels."""


class Promises:
    """Counts the acknowledged commands of each sale, and the refusals of the one that is sold out."""

    def __init__(self, sold_out: str) -> None:
        self._sold_out = sold_out
        self.acknowledged: Counter[str] = Counter()
        self.refused = 0

    def note(self, sale: str, commands: int) -> None:
        """Record the number of commands for a sale that had the expected answer; a yardstick has no sale."""
        if sale == self._sold_out:
            self.refused += commands
        elif sale:
            self.acknowledged[sale] += commands

    def ledgers(self, grpc_port: int) -> list[Ledger]:
        """Read the ledger of each sale from the inventory at this port."""
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            sales = SaleServiceStub(channel)
            return [_ledger(sales, sale, self.acknowledged[sale]) for sale in (*self.acknowledged, self._sold_out)]

    def broken(self, ledgers: Sequence[Ledger], outcomes: Counter[str]) -> list[str]:
        """Return a sentence for each broken promise. `outcomes`: the inventory's counts of its answers, by reason."""
        faults = [sentence for ledger in ledgers for sentence in _faults(ledger)]
        if outcomes[OUT_OF_STOCK] != self.refused:
            faults.append(f"{self.refused} calls were to be refused as sold out, {outcomes[OUT_OF_STOCK]} were")
        return faults


def _ledger(sales: SaleServiceStub, sale: str, acknowledged: int) -> Ledger:
    item = sales.GetItem(sale_service_pb2.GetItemRequest(name=f"{sale}/items/hot"), timeout=_VERIFY_SECONDS)
    verified = sales.VerifyLedger(sale_service_pb2.VerifyLedgerRequest(name=sale), timeout=_VERIFY_SECONDS)
    return Ledger(sale, acknowledged, item.held, verified.consistent)


def _faults(ledger: Ledger) -> list[str]:
    faults = []
    if ledger.held != ledger.acknowledged:
        faults.append(f"{ledger.sale}: {ledger.acknowledged} units were acknowledged, its ledger has {ledger.held}")
    if not ledger.is_consistent:
        faults.append(f"{ledger.sale}: its movements do not sum up to its stock")
    return faults
