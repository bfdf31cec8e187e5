"""The world of a seed: replicas, their server, the load, and the faults."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from holdfast_inventory.domain.errors import DomainError, InvalidRequest
from holdfast_inventory.postgres.database import UnavailableError
from lab.simulation.chance import stream
from lab.simulation.faults import HEALTHY, FaultInjector
from lab.simulation.healing import sell_out, wait_until_quiet
from lab.simulation.history import History
from lab.simulation.loop import VirtualTimeLoop
from lab.simulation.plan import plan_of
from lab.simulation.replica import Replica, ReplicaDiedError
from lab.simulation.server import Server
from lab.simulation.shop import Shop
from lab.simulation.trace import Trace

_RESUMED_SHARE = 0.7
_ALWAYS_OPEN = (None, None)


class World:
    """A run: setup without faults, then load and faults together, then healing, and then the verdict."""

    def __init__(self, seed, *, keep_all=False):
        self.plan = plan = plan_of(seed)
        self.loop = VirtualTimeLoop(stream(seed, "stalls"), plan.stall_share)
        self.trace = Trace(self.loop, keep_all=keep_all)
        # The stream keeps the name "weather": another name would change what every recorded seed does.
        self.injector = FaultInjector(self.loop, self.trace, stream(seed, "weather"), plan.conditions)
        self.server = Server(self.loop, self.trace, self.injector)
        self.history = History(self.loop)
        self.faults = []
        self._seed = seed
        self._random = stream(seed, "world")
        self._pauses = stream(seed, "pause")
        self._named = 0
        returns = stream(seed, "returns") if plan.has_returns else None
        items = {sale.sale_id: [item.item_id for item in sale.items] for sale in plan.sales}
        self.shop = Shop(self.loop, self.trace, self.history, self.server, stream(seed, "shop"), items, returns)

    @property
    def replicas(self):
        return self.shop.replicas

    async def live(self):
        plan = self.plan
        self.injector.change(HEALTHY)
        await asyncio.gather(*(self._boot() for _ in range(plan.replicas)))
        first = self.replicas[0]
        for sale in plan.sales:
            await self._put_up(first, sale, plan.hours if sale is plan.sales[0] else _ALWAYS_OPEN)
        if plan.hours[1] is not None:
            await self._put_up_too_late(first)
        if plan.schedule is not None:
            await first.run(first.catalog.create_schedule(plan.schedule))
        self.injector.change(plan.conditions)
        acts = [_later(plan.seconds * self._random.random() ** 2, self.shop.act) for _ in range(plan.acts)]
        events = [_later(at, self._happen, event) for at, event in plan.events]
        await asyncio.gather(*acts, *events)
        await self._clear_up()

    async def _put_up(self, replica, sale, hours):
        """Create a sale. Its hours count from its creation, and again from the next one if they have passed already."""
        while True:
            now = self.server.now()
            open_at, close_at = (hour and now + timedelta(seconds=hour) for hour in hours)
            try:
                await replica.run(replica.catalog.create_sale(replace(sale, open_at=open_at, close_at=close_at)))
            except InvalidRequest:
                if close_at is None or self.server.now() < close_at:
                    raise
            else:
                return

    async def _put_up_too_late(self, replica):
        """Check that a sale with a close time in the past is refused."""
        late = replace(self.plan.sales[0], sale_id="late", close_at=self.server.now())
        try:
            await replica.run(replica.catalog.create_sale(late))
        except InvalidRequest as refusal:
            self.trace.note(f"late: {refusal!r}")
        else:
            self.faults.append("a sale is put up that is over")

    async def _clear_up(self):
        self.trace.note("it clears up")
        self.injector.heal()
        if not self.replicas:
            await self._boot()
        self.faults += await wait_until_quiet(self)
        self.faults += await sell_out(self)
        await asyncio.gather(*(replica.stop() for replica in self.replicas))
        for replica in self.replicas:
            self.faults += replica.leaks
            if replica.open_connections:
                self.faults.append(f"{replica.name} leaves connections open")

    # Replicas

    async def _boot(self):
        self._named += 1
        name = f"r{self._named}"
        self.trace.note(f"{name} boots")
        replica = Replica(name, self.server, stream(self._seed, name), self.plan.make, self._tell)
        try:
            await replica.start()
        except UnavailableError:
            await replica.stop()
        else:
            self.replicas.append(replica)

    def _tell(self, teller, change):
        """Simulate Redis: messages reach the other replicas at once, late or never."""
        if self.plan.news == "never":
            return
        seconds = 0.001 if self.plan.news == "prompt" else self._random.random()
        for replica in self.replicas:
            if replica is not teller:
                self.server.after(seconds, replica.ledger.changed_elsewhere, change.sale_id)

    async def _replace(self, event):
        if not self._serving:
            return
        replica = self._random.choice(self._serving)
        self.replicas.remove(replica)
        self.trace.note(f"{event} {replica.name}")
        if event == "kill":
            replica.kill()
        else:
            await replica.stop()
        await asyncio.sleep(self._random.random())
        await self._boot()

    # Events

    async def _happen(self, event):
        random, injector, server = self._random, self.injector, self.server
        self.trace.note(f"event: {event}")
        injector.seen.add(event)
        match event:
            case "restart":
                server.restart(tells=random.random() < 0.7)
            case "failover":
                server.fail_over(random.choice((0.0, 0.0, 0.5)))
            case "read only":
                injector.read_only(random.choice((0.1, 1.0, 3.0)))
            case "standby stalls":
                injector.stall_standby(random.choice((0.5, 3.0, 8.0)))
            case "standby is given up":
                injector.stall_standby(3.0)
                await asyncio.sleep(2.0 * random.random())
                server.stop_waiting_for_standby()
            case "backend ends":
                server.end_some_backend(random.choice)
            case "refuse":
                injector.refuse_connections()
            case "rules":
                await self._change_rules()
            case _:
                await self._replace(event)

    async def _change_rules(self):
        if not self._serving:
            return
        replica, sale = self._random.choice(self._serving), self._random.choice(self.plan.sales)
        if self._random.choice(("pause", "pause", "cancel")) == "cancel":
            await self._rule(replica, replica.catalog.cancel_sale(sale.sale_id))
            return
        await self._rule(replica, replica.catalog.set_paused(sale.sale_id, paused=True))
        if self._pauses.random() < _RESUMED_SHARE:
            await asyncio.sleep(self._pauses.random())
            for replica in self._serving[:1]:
                await self._rule(replica, replica.catalog.set_paused(sale.sale_id, paused=False))

    async def _rule(self, replica, change):
        try:
            await replica.run(change)
        except (DomainError, ReplicaDiedError) as error:
            self.trace.note(f"rules: {error!r}")

    @property
    def _serving(self):
        return [replica for replica in self.replicas if replica.is_serving]


async def _later(seconds, do, *arguments):
    await asyncio.sleep(seconds)
    await do(*arguments)
