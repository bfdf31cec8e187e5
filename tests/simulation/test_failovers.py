"""A replica must not remember what a failover can undo."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from holdfast_inventory.domain.errors import DatabaseUnavailable, OutcomeUnknown
from holdfast_inventory.domain.sale import NewItem, NewSale
from lab.simulation.chance import stream
from lab.simulation.faults import Conditions, FaultInjector
from lab.simulation.logs import silent
from lab.simulation.loop import VirtualTimeLoop
from lab.simulation.replica import Make, Replica
from lab.simulation.server import Server
from lab.simulation.trace import Trace

HOLD = timedelta(seconds=60)
SALE = NewSale("drop", None, None, 0, HOLD, HOLD, (NewItem("shoe", 5, 0),))


@pytest.fixture
def loop():
    loop = VirtualTimeLoop()
    yield loop
    loop.bury()


@pytest.fixture
def server(loop):
    trace = Trace(loop)
    return Server(loop, trace, FaultInjector(loop, trace, stream(1, "weather"), Conditions(has_standby=True)))


def test_a_salt_is_not_kept_of_a_sale_that_a_failover_undoes(loop, server):
    """Two replicas would derive different reservations from the same request."""

    async def work():
        one, other = (Replica(name, server, stream(1, name), Make(), lambda *_: None) for name in ("one", "other"))
        for replica in (one, other):
            await replica.start()
        server.injector.stall_standby(9.0)
        creating = one.run(one.catalog.create_sale(SALE))
        await asyncio.sleep(0.1)
        server.end_some_backend(lambda backends: next(one for one in backends if one.view is not None))
        looking = other.run(other.ledger.salt("drop"))
        await asyncio.sleep(0.1)
        server.fail_over(0.0)
        server.injector.heal()
        for lost in (creating, looking):
            with suppress(DatabaseUnavailable, OutcomeUnknown):
                await lost
        await asyncio.sleep(6.0)
        await one.run(one.catalog.create_sale(SALE))
        assert await other.run(other.ledger.salt("drop")) == await one.run(one.ledger.salt("drop"))

    with silent():
        loop.run_until_complete(work())
