"""After the faults: unknown requests are sent again, holds expire, the rest is bought, and the ledgers are read."""

import asyncio
import random

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.chaos.clients import CALL_SECONDS
from lab.chaos.history import Kind, SaleLedger, completions
from lab.chaos.judge.operations import RULE_CHANGES
from lab.chaos.messages import READS, as_dict
from lab.chaos.workload import LONGEST_HOLD_SECONDS, SALES, window

_WHO = "the end"
_AT_ONCE = 4
_ATTEMPTS = 10
_AGAIN_SECONDS = 0.3
_DRAIN_SECONDS = LONGEST_HOLD_SECONDS + 20.0
_LOOK_SECONDS = 0.2
_SINGLE_UNITS = 6


class Ending:
    """The last steps of a run, by a client of healthy services."""

    def __init__(self, desk, client):
        self._desk, self._client = desk, client

    async def replay(self):
        """Repeat each request with an unknown outcome until it is known. Return their number."""
        unknown = {}
        for invoked, completed in completions(self._desk.recorder.events).values():
            if completed is not None and completed.kind is Kind.INFO and invoked.action not in (*READS, *RULE_CHANGES):
                unknown[repr((invoked.action, sorted(invoked.request.items(), key=str)))] = invoked
        gate = asyncio.Semaphore(_AT_ONCE)

        async def again(invoked):
            async with gate:
                await self._until_known(invoked.action, invoked.request)

        await asyncio.gather(*map(again, unknown.values()))
        return len(unknown)

    async def drain(self):
        """Wait until no reservation is held any more. Raises TimeoutError if some never end."""
        client = self._client.one()
        async with asyncio.timeout(_DRAIN_SECONDS):
            for sale in SALES:
                request = rs.ListReservationsRequest(parent=f"sales/{sale}", state=rs.Reservation.HELD)
                # There is no event for the end of the last hold.
                while (await client.call(request, CALL_SECONDS)).reservations:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_SECONDS)

    async def sell_out(self):
        """Buy what is left of every item with new customers, until all are refused because nothing is left.

        A sale may be closed by a late request whose answer was lost.
        """
        for sale in SALES:
            await self._until_known("resume", as_dict(ss.ResumeSaleRequest(name=f"sales/{sale}")))
            await self._until_known("update", as_dict(window(f"sales/{sale}", close_time=None)))
        await asyncio.gather(
            *(self._sell_out(sale, item.item) for sale, template in SALES.items() for item in template.items)
        )

    async def _sell_out(self, sale, item):
        client = self._client.one()
        number = 0
        while True:
            level = await client.item(f"sales/{sale}", item)
            number += 1
            # Several units at first, then single ones: limits apply to a customer, not to a purchase.
            quantity = 2 if level.available > _SINGLE_UNITS else 1
            message = rs.CreateReservationRequest(
                parent=f"sales/{sale}",
                customer=f"last-{item}-{number}",
                lines=[rs.Line(item=item, quantity=quantity)],
                confirm=True,
                order=f"last-{sale}-{item}-{number}",
                request_id=f"last-{sale}-{item}-{number}",
            )
            outcome = await self._until_known("create", as_dict(message))
            if outcome.kind is not Kind.OK:
                return

    async def read(self):
        """Return each sale's ledger, by the sale's name."""
        return {f"sales/{sale}": await self._read(f"sales/{sale}") for sale in SALES}

    async def _read(self, name):
        """Return the whole state of a sale at one time: it is read again if a hold expired in the meantime."""
        while True:
            ledger = await self._read_once(name)
            if ledger.sale["sequence"] == ledger.verified["sequence"]:
                return ledger

    async def _read_once(self, name):
        client = self._client.one()
        return SaleLedger(
            sale=as_dict(await client.call(ss.GetSaleRequest(name=name))),
            items=_dicts(await client.all_of(ss.ListItemsRequest(parent=name), "items")),
            reservations=_dicts(await client.all_of(rs.ListReservationsRequest(parent=name), "reservations")),
            movements=_dicts(await client.all_of(ss.ListMovementsRequest(parent=name), "movements")),
            verified=as_dict(await client.call(ss.VerifyLedgerRequest(name=name))),
        )

    async def _until_known(self, action, fields):
        for _ in range(_ATTEMPTS):
            outcome = await self._desk.perform(_WHO, self._client, action, fields)
            if outcome.kind is not Kind.INFO and outcome.reason not in _TRY_AGAIN:
                break
            await asyncio.sleep(_AGAIN_SECONDS * random.uniform(0.5, 1.5))
        return outcome


_TRY_AGAIN = ("OVERLOADED", "DATABASE_UNAVAILABLE", "DEADLINE_IN_QUEUE", "DRAINING")


def _dicts(messages):
    return [as_dict(message) for message in messages]
