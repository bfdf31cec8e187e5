"""The load: two dozen clients, customers and staff of the shop, that compete for few units.

The decisions of a client depend on the seed and on the answers that it gets.
"""

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast.inventory.v1.movement_pb2 import Movement
from lab.chaos.clients import GRPC, Outcome
from lab.chaos.history import Kind
from lab.chaos.messages import as_dict

CLIENTS = 24
LONGEST_HOLD_SECONDS = 8
_PAUSE_SECONDS = (0.04, 0.2)
_IMPATIENCE_SECONDS = (0.002, 0.06)
_CLOSE_SECONDS = 0.3
_SHUT_SECONDS = (0.3, 0.6)
_OPENING_ATTEMPTS = 100
_CUSTOMERS = 8
_REMEMBERED = 400
_HELD = 250
_NO_ITEM = "unicorn"

_WEIGHTS = {
    "create": 30,
    "buy": 8,
    "confirm": 16,
    "release": 6,
    "extend": 6,
    "replay": 12,
    "race": 6,
    "reuse": 3,
    "adjust": 8,
    "transfer": 3,
    "recount": 4,
    "shut": 0.6,
    "get_item": 6,
    "get_reservation": 6,
}


@dataclass(frozen=True)
class Habits:
    """The mix of requests: `weights` are relative to each other, `late` is the share of requests that are late."""

    weights: Mapping[str, float] = field(default_factory=lambda: _WEIGHTS)
    late: float = 0.15


SALES = {
    "a": sale_pb2.Sale(
        per_customer_limit=4,
        hold_time=Duration(seconds=2),
        max_hold_time=Duration(seconds=LONGEST_HOLD_SECONDS),
        items=[sale_pb2.Item(item="x", on_hand=4), sale_pb2.Item(item="y", on_hand=3)],
    ),
    "b": sale_pb2.Sale(
        hold_time=Duration(seconds=1, nanos=500_000_000),
        max_hold_time=Duration(seconds=LONGEST_HOLD_SECONDS),
        items=[sale_pb2.Item(item="x", on_hand=5), sale_pb2.Item(item="y", on_hand=3)],
    ),
    "c": sale_pb2.Sale(
        hold_time=Duration(seconds=4),
        max_hold_time=Duration(seconds=LONGEST_HOLD_SECONDS),
        items=[sale_pb2.Item(item="x", on_hand=6, per_customer_limit=2), sale_pb2.Item(item="y", on_hand=2)],
    ),
}


class Desk:
    """Sends requests, and records each one before it is sent and when it has an outcome."""

    def __init__(self, recorder):
        self.recorder = recorder
        self.performed = 0

    async def perform(self, who, client, action, fields, *, operation=None, impatient_seconds=None):
        """Send a request once. Impatient clients disconnect, so that the outcome is unknown."""
        operation = operation or self.recorder.next_operation()
        about = {"client": who, "operation": operation, "action": action, "transport": client.transport}
        self.recorder.record(Kind.INVOKE, **about, request=fields)
        outcome = Outcome(Kind.INFO, reason="the client was stopped")
        try:
            async with asyncio.timeout(impatient_seconds):
                outcome = await client.send(action, fields)
        except TimeoutError:
            outcome = Outcome(Kind.INFO, reason="the client went away")
        finally:
            self.performed += 1
            self.recorder.record(
                outcome.kind, **about, answer=outcome.answer, replayed=outcome.replayed, reason=outcome.reason
            )
        return outcome


class Shop:
    """What the clients share: customers, held reservations and earlier requests."""

    def __init__(self, desk, seed, habits):
        self.desk = desk
        self.seed = seed
        self.habits = habits
        self.held = deque(maxlen=_HELD)
        """Reservations that were held in their last answer, and when they expire."""
        self.asked = deque(maxlen=_REMEMBERED)
        self.open = asyncio.Event()
        """Set while clients should send requests."""
        self.shutting = asyncio.Lock()
        """Held by the client that closes a sale for a moment, so that the other sales stay open."""
        self.items = [(sale, item.item) for sale, template in SALES.items() for item in template.items]
        self._numbers = itertools.count(1)
        self._customers = [f"c-{next(self._numbers)}" for _ in range(_CUSTOMERS)]

    def number(self):
        return next(self._numbers)

    def customer(self, chance):
        return chance.choice(self._customers)

    def retire(self, customer):
        """Replace a customer that has reached a limit by a new one."""
        if customer in self._customers:
            self._customers[self._customers.index(customer)] = f"c-{self.number()}"


class Client:
    """One of the clients. Its decisions are drawn from the seed and its number."""

    def __init__(self, shop, number, client, other):
        """`client` sends its requests; `other` sends the second one of two concurrent requests."""
        self.name = f"{client.transport}-{number}"
        self._shop, self._client, self._other = shop, client, other
        self._grpc = client if client.transport == GRPC else other
        self._chance = random.Random(f"{shop.seed} client {number}")
        self.busy = False

    async def run(self, leave):
        """Shop until told to stop, and finish what has begun."""
        while not leave.is_set():
            await self._shop.open.wait()
            weights = self._shop.habits.weights
            choice = self._chance.choices(list(weights), list(weights.values()))[0]
            self.busy = True
            await getattr(self, f"_{choice}")()
            self.busy = False
            await asyncio.sleep(self._chance.uniform(*_PAUSE_SECONDS))

    async def _send(self, action, message, client=None, operation=None):
        return await self._send_fields(action, as_dict(message), client, operation)

    async def _send_fields(self, action, fields, client=None, operation=None):
        impatient = self._chance.random() < 0.02
        outcome = await self._shop.desk.perform(
            self.name,
            client or self._client,
            action,
            fields,
            operation=operation,
            impatient_seconds=self._chance.uniform(*_IMPATIENCE_SECONDS) if impatient else None,
        )
        if action in ("create", "confirm", "extend") and outcome.answer.get("state") == "HELD":
            self._shop.held.append((_unix_time(outcome.answer["expire_time"]), outcome.answer))
        if outcome.reason == "CUSTOMER_LIMIT_REACHED" and self._chance.random() < 0.3:
            self._shop.retire(fields["customer"])
        return outcome

    # Customers

    async def _create(self):
        await self._create_with(self._new_create())

    async def _buy(self):
        message = self._new_create()
        message.confirm = True
        message.order = f"o-{self._shop.number()}"
        await self._create_with(message)

    async def _create_with(self, message):
        self._shop.asked.append(("create", as_dict(message)))
        await self._send("create", message)

    def _new_create(self):
        chance = self._chance
        sale = chance.choice(list(SALES))
        items = chance.sample([item for each, item in self._shop.items if each == sale], chance.choice((1, 1, 1, 2)))
        message = rs.CreateReservationRequest(
            parent=f"sales/{sale}",
            customer=self._shop.customer(chance),
            lines=[rs.Line(item=item, quantity=chance.choice((1, 1, 1, 2, 3))) for item in items],
            allow_partial=chance.random() < 0.1,
            request_id=f"k-{self._shop.number()}",
        )
        if chance.random() < 0.3:
            message.hold_time.FromMilliseconds(chance.randint(800, 4000))
        if chance.random() < 0.02:
            message.hold_time.FromSeconds(LONGEST_HOLD_SECONDS + 1)
        if chance.random() < 0.02:
            message.lines.add(item=_NO_ITEM, quantity=1)
        return message

    async def _confirm(self):
        if reservation := self._some_reservation():
            message = rs.ConfirmReservationRequest(
                name=reservation["name"],
                order=f"o-{self._shop.number()}",
                allow_late=self._chance.random() < 0.2,
            )
            self._shop.asked.append(("confirm", as_dict(message)))
            await self._send("confirm", message)

    async def _release(self):
        if reservation := self._some_reservation():
            await self._send("release", rs.ReleaseReservationRequest(name=reservation["name"]))

    async def _extend(self):
        if reservation := self._some_reservation():
            later = self._chance.uniform(0.5, 4.0)
            if self._chance.random() < 0.7:
                end = _unix_time(reservation["expire_time"]) + later
            else:
                # The longest allowed hold, or somewhat longer.
                end = _unix_time(reservation["create_time"]) + LONGEST_HOLD_SECONDS + self._chance.choice((0, later))
            message = rs.ExtendReservationRequest(name=reservation["name"], expire_time=_timestamp(end))
            await self._send("extend", message)

    def _some_reservation(self):
        """Return a reservation that may still be held or, for a late request, one that is no longer held."""
        latest = time.time() - _CLOSE_SECONDS
        alive, dead = [], []
        for expire_time, reservation in self._shop.held:
            (alive if expire_time > latest else dead).append(reservation)
        late = self._chance.random() < self._shop.habits.late
        candidates = (dead or alive) if late else (alive or dead)
        return self._chance.choice(candidates) if candidates else None

    # Repeated requests

    async def _replay(self):
        if asked := self._some_request():
            await self._send_fields(*asked)

    async def _race(self):
        """Send the same key several times at once, over both transports."""
        message = self._new_create()
        self._shop.asked.append(("create", as_dict(message)))
        clients = [self._client, self._other, self._client][: self._chance.choice((2, 3))]
        await asyncio.gather(*(self._send("create", message, client) for client in clients))

    async def _reuse(self):
        """Send the same key with another meaning."""
        creates = [fields for action, fields in self._shop.asked if action == "create"]
        if creates:
            fields = self._chance.choice(creates)
            line, *others = fields["lines"]
            other = fields | {"lines": [line | {"quantity": line["quantity"] + 1}, *others]}
            await self._send_fields("create", other)

    def _some_request(self):
        """Return an earlier request, the latest ones more often."""
        asked = self._shop.asked
        if not asked:
            return None
        return asked[-1 - min(int(self._chance.expovariate(1 / 30)), len(asked) - 1)]

    # The shop's staff

    async def _adjust(self):
        sale, item = self._chance.choice(self._shop.items)
        await self._adjust_by(f"sales/{sale}/items/{item}", self._chance.choice((1, 1, 2, 3, 4, -1)))

    async def _recount(self):
        """Read an item, and change exactly that version; sometimes twice at once, and only one may succeed."""
        sale, item = self._chance.choice(self._shop.items)
        name = f"sales/{sale}/items/{item}"
        seen = await self._send("get_item", ss.GetItemRequest(name=name))
        if seen.kind is Kind.OK:
            version = int(seen.answer["version"])
            clients = [self._client, self._other][: self._chance.choice((1, 2))]
            await asyncio.gather(
                *(self._adjust_by(name, self._chance.choice((1, -1)), version, client) for client in clients)
            )

    async def _adjust_by(self, name, delta, version=None, client=None):
        operation = self._shop.desk.recorder.next_operation()
        message = ss.AdjustStockRequest(
            name=name,
            delta=delta,
            reason=Movement.RECEIVED if delta > 0 else Movement.DAMAGED,
            expected_version=version,
            request_id=f"k-{self._shop.number()}",
            actor=f"op-{operation}",
        )
        self._shop.asked.append(("adjust", as_dict(message)))
        await self._send("adjust", message, client, operation)

    async def _transfer(self):
        source, destination = self._chance.sample(list(SALES), 2)
        item = self._chance.choice("xy")
        operation = self._shop.desk.recorder.next_operation()
        message = ss.TransferStockRequest(
            source=f"sales/{source}/items/{item}",
            destination=f"sales/{destination}/items/{item}",
            quantity=self._chance.choice((1, 1, 2)),
            request_id=f"k-{self._shop.number()}",
            actor=f"op-{operation}",
        )
        self._shop.asked.append(("transfer", as_dict(message)))
        await self._send("transfer", message, operation=operation)

    async def _shut(self):
        """Pause or close a sale for a moment, or let it open a little later.

        This uses gRPC, which sends once here. A gateway would send a request without a request id again, and the first
        one could arrive late and undo later changes.
        """
        if self._shop.shutting.locked():
            return
        async with self._shop.shutting:
            name = f"sales/{self._chance.choice(list(SALES))}"
            seconds = self._chance.uniform(*_SHUT_SECONDS)
            ways = (
                ("pause", ss.PauseSaleRequest(name=name)),
                ("update", window(name, close_time=time.time())),
                ("update", window(name, open_time=time.time() + seconds)),
            )
            action, message = self._chance.choice(ways)
            await self._send(action, message, self._grpc)
            await asyncio.sleep(seconds)
            await self._until_granted("resume", ss.ResumeSaleRequest(name=name))
            await self._until_granted("update", window(name, close_time=None))

    async def _until_granted(self, action, message):
        """Repeat a change some times. If all fail, the next client that closes the sale opens it, or the run's end."""
        for _ in range(_OPENING_ATTEMPTS):
            if (await self._send(action, message, self._grpc)).kind is Kind.OK:
                return
            await asyncio.sleep(self._chance.uniform(*_PAUSE_SECONDS))

    # Readers

    async def _get_item(self):
        sale, item = self._chance.choice(self._shop.items)
        await self._send("get_item", ss.GetItemRequest(name=f"sales/{sale}/items/{item}"))

    async def _get_reservation(self):
        if reservation := self._some_reservation():
            await self._send("get_reservation", rs.GetReservationRequest(name=reservation["name"]))


def window(name, **times):
    """Return an update of a sale's open_time or close_time in Unix seconds; None removes it."""
    message = ss.UpdateSaleRequest(sale=sale_pb2.Sale(name=name))
    for field_name, moment in times.items():
        message.update_mask.paths.append(field_name)
        if moment is not None:
            getattr(message.sale, field_name).CopyFrom(_timestamp(moment))
    return message


def _timestamp(unix_time):
    moment = Timestamp()
    moment.FromMicroseconds(round(unix_time * 1_000_000))
    return moment


def _unix_time(text):
    moment = Timestamp()
    moment.FromJsonString(text)
    return moment.ToNanoseconds() / 1e9
