"""The load, drawn from the seed: few customers, items and request ids, so that commands conflict."""

import asyncio
from datetime import timedelta
from uuid import UUID

from holdfast_inventory.domain import identity
from holdfast_inventory.domain.commands import (
    Adjust,
    Command,
    Confirm,
    Create,
    Extend,
    Release,
    Return,
    Sweep,
    Transfer,
)
from holdfast_inventory.domain.decide import Done
from holdfast_inventory.domain.errors import (
    DatabaseUnavailable,
    DeadlineInQueue,
    DomainError,
    Draining,
    OutcomeUnknown,
    Overloaded,
)
from holdfast_inventory.domain.movement import AdjustReason
from holdfast_inventory.domain.reservation import Line, merge_lines
from lab.simulation.replica import ReplicaDiedError

CUSTOMERS = ("ann", "bob", "cyd")
REQUEST_IDS = ("r1", "r2", "r3")
ORDERS = ("", "", "o-1", "o-2")
UNKNOWN_ITEM = "unicorn"
TRANSIENT = (DatabaseUnavailable, DeadlineInQueue, Draining, OutcomeUnknown, Overloaded)
_MOST_TRIES = 3


class NoAnswerError(Exception):
    """There was no answer within the limit of all waits."""


class Shop:
    """Sends commands to replicas and records their outcomes. `replicas` may change during the run."""

    def __init__(self, loop, trace, history, server, random, items, returns=None):
        """`returns` is the stream for returns of sold units; None: there are none."""
        self._loop = loop
        self._trace = trace
        self._history = history
        self._server = server
        self._random = random
        self._items = items
        self._returns = returns
        self._asked_for = []
        self._granted = []
        self.replicas = []
        self.bound_seconds = 60.0
        self.longest_seconds = 0.0

    # Sending

    async def send(self, replica, sale_id, build, deadline, *, bound_seconds, goes_away_after=None):
        """Send one command, and return its call, answered or not. `build` makes the command, in the replica."""
        call = self._history.begin(replica.name, sale_id, bound_seconds, deadline)

        async def handle():
            call.command = await build(replica, deadline)
            self._trace.note(f"call {call.number} {replica.name} {sale_id} {type(call.command).__name__}")
            call.queued_at = self._loop.time()
            if isinstance(call.command, Transfer):
                return await replica.ledger.transfer(call.command, deadline)
            return await replica.ledger.execute(sale_id, call.command, deadline)

        await self._settle(call, replica.run(handle()), goes_away_after)
        return call

    async def submit(self, replica, sale_id, builds, deadline, *, bound_seconds):
        """Send several in one call."""
        calls = [self._history.begin(replica.name, sale_id, bound_seconds, deadline, alone=False) for _ in builds]

        async def handle():
            for call, build in zip(calls, builds, strict=True):
                call.command = await build(replica, deadline)
            return await replica.ledger.execute_all(sale_id, [(call.command, deadline, None) for call in calls])

        outcome = replica.run(handle())
        try:
            async with asyncio.timeout(bound_seconds):
                answers = await outcome
        except (ReplicaDiedError, asyncio.CancelledError):
            if not outcome.done():
                raise
            answers = [None] * len(calls)
        except DomainError as refusal:  # The replica could not read the salt.
            answers = [refusal] * len(calls)
        except TimeoutError:
            raise NoAnswerError(f"calls {calls[0].number} to {calls[-1].number}") from None
        for call, answer in zip(calls, answers, strict=True):
            self._answered(call, answer)

    async def _settle(self, call, outcome, goes_away_after):
        limit = call.patience_seconds if goes_away_after is None else goes_away_after
        try:
            async with asyncio.timeout(limit):
                answer = await outcome
        except (ReplicaDiedError, asyncio.CancelledError):
            if not outcome.done():
                raise
            answer = None
        except DomainError as refusal:
            answer = refusal
        except TimeoutError:
            if goes_away_after is None:
                raise NoAnswerError(f"call {call.number}: {call.command}") from None
            answer = None
        self._answered(call, answer)

    def _answered(self, call, answer):
        call.answer, call.answered, call.replicated = answer, self._history.moment(), self._server.replicated
        if isinstance(answer, Done) and isinstance(call.command, Create):
            self._granted.append((call.sale_id, call.command.reservation_id, call.command.customer))
        self.longest_seconds = max(self.longest_seconds, call.answered[1] - call.invoked[1])
        self._trace.note(f"answer {call.number} {answer!r}")

    # Acts

    async def act(self):
        """Do one action of a customer or of the staff, with retries."""
        random = self._random
        sale_id = random.choice(self._sale_ids)
        kind = random.choices(
            ("buy", "pay", "give back", "prolong", "recount", "move", "sweep", "submit"), (50, 18, 7, 6, 7, 4, 2, 6)
        )[0]
        if kind == "submit":
            await self._submit(sale_id)
            return
        if kind == "buy":
            build, can_retry = self._buy(sale_id)
        elif kind == "move" and len(self._sale_ids) > 1:
            build, sale_id, can_retry = self._move(sale_id)
        else:
            build, sale_id = self._other(kind, sale_id)
            can_retry = True
        await self._insist_in_copies(sale_id, build, can_retry)
        if self._returns is not None and kind == "pay" and self._granted:
            build, sale_id = self._take_back()
            await self._insist_in_copies(sale_id, build, can_retry=True)

    @property
    def _sale_ids(self):
        return sorted(self._items)

    async def _insist_in_copies(self, sale_id, build, can_retry):
        copies = 2 if self._random.random() < 0.15 else 1
        await asyncio.gather(*(self._insist(sale_id, build, can_retry) for _ in range(copies)))

    async def _insist(self, sale_id, build, can_retry):
        random = self._random
        for _ in range(_MOST_TRIES if can_retry else 1):
            replica = self._some_replica()
            if replica is None:
                return
            goes_away_after = 0.3 * random.random() ** 2 if random.random() < 0.08 else None
            call = await self.send(
                replica,
                sale_id,
                build,
                self._deadline(),
                bound_seconds=self.bound_seconds,
                goes_away_after=goes_away_after,
            )
            is_transient = call.answer is None or isinstance(call.answer, TRANSIENT)
            if not is_transient or random.random() < 0.3:
                return
            await asyncio.sleep(random.random() * random.choice((0.01, 0.3, 2.0)))

    async def _submit(self, sale_id):
        random = self._random
        replica = self._some_replica()
        if replica is None:
            return
        builds = []
        for _ in range(random.randint(2, 6)):
            if random.random() < 0.7:
                builds.append(self._buy(sale_id)[0])
            else:
                builds.append(self._other(random.choice(("recount", "sweep")), sale_id)[0])
        await self.submit(replica, sale_id, builds, self._deadline(), bound_seconds=self.bound_seconds)

    def _some_replica(self):
        serving = [replica for replica in self.replicas if replica.is_serving]
        return self._random.choice(serving) if serving else None

    def _deadline(self):
        seconds = self._random.choice((None, None, 0.05, 0.5, 3.0, 6.0))
        return None if seconds is None else self._loop.time() + seconds

    # Commands

    def _buy(self, sale_id):
        random = self._random
        customer = random.choice(CUSTOMERS)
        item_ids = [*self._items[sale_id], *([UNKNOWN_ITEM] if random.random() < 0.05 else [])]
        lines = merge_lines(
            Line(random.choice(item_ids), random.choice((1, 1, 2, 3))) for _ in range(random.choice((1, 1, 1, 2)))
        )
        seconds = 10.0 if random.random() < 0.03 else random.choice((None, None, 0.05, 0.4, 1.5, 4.0))
        hold_time = None if seconds is None else timedelta(seconds=seconds)
        confirm = random.random() < 0.25
        policy = {
            "allow_partial": random.random() < 0.2,
            "confirm": confirm,
            "order": random.choice(ORDERS) if confirm else "",
        }
        request_id = random.choice(REQUEST_IDS) if random.random() < 0.6 else None
        fingerprint = identity.create_fingerprint(customer, lines, hold_time, **policy)

        async def build(replica, deadline):
            if request_id is None:
                bound, reservation_id = False, replica.entropy.uuid4()
            else:
                salt = await replica.ledger.salt(sale_id, deadline)
                bound, reservation_id = True, identity.reservation_id(salt, customer, request_id)
            self._asked_for.append((sale_id, reservation_id, customer))
            return Create(reservation_id, customer, lines, hold_time, fingerprint=fingerprint, bound=bound, **policy)

        return build, request_id is not None

    def _other(self, kind, sale_id):
        random = self._random
        if kind == "recount":
            return self._recount(sale_id), sale_id
        # Mostly of reservations that are known to exist, but not always.
        targets = self._granted if self._granted and random.random() < 0.75 else self._asked_for
        if kind in ("sweep", "move") or not targets:
            return _ready(Sweep()), sale_id
        sale_id, reservation_id, owner = random.choice(targets[-8:])
        customer = random.choice(("", owner, owner, "mallory"))
        if kind == "pay":
            command: Command = Confirm(reservation_id, random.choice(ORDERS), random.random() < 0.4, customer)
        elif kind == "give back":
            command = Release(reservation_id, customer)
        else:
            expires_at = self._server.now() + timedelta(seconds=random.choice((-1.0, 0.5, 2.0, 5.0, 9.0)))
            command = Extend(reservation_id, expires_at, customer)
        return _ready(command), sale_id

    def _recount(self, sale_id):
        random = self._random
        item_id = random.choice(self._items[sale_id])
        delta = random.choice((-3, -1, -1, 1, 1, 2, 5))
        reason = AdjustReason.RECEIVED if delta > 0 else AdjustReason.LOST
        request_id = random.choice(REQUEST_IDS) if random.random() < 0.5 else None
        looks_first = random.random() < 0.3
        change_id = UUID(int=random.getrandbits(128))

        async def build(replica, deadline):
            bound_id = change_id
            if request_id is not None:
                bound_id = identity.stock_change_id(await replica.ledger.salt(sale_id, deadline), request_id)
            version = (await replica.catalog.get_item(sale_id, item_id)).version if looks_first else None
            fingerprint = identity.adjust_fingerprint(item_id, delta, reason, version)
            return Adjust(bound_id, item_id, delta, reason, version, f"clerk of {bound_id}", fingerprint)

        return build

    def _take_back(self):
        random = self._returns
        sale_id, reservation_id, owner = random.choice(self._granted[-8:])
        customer = random.choice(("", owner, owner, "mallory"))
        line = Line(random.choice(self._items[sale_id]), random.choice((1, 1, 2)))
        lines = (line,) if random.random() < 0.6 else ()
        restock = random.random() < 0.7
        reason = random.choice((AdjustReason.RETURNED, AdjustReason.DAMAGED))
        request_id = random.choice(REQUEST_IDS) if random.random() < 0.5 else None
        change_id = UUID(int=random.getrandbits(128))
        fingerprint = identity.return_fingerprint(reservation_id, lines, reason, restock=restock)

        async def build(replica, deadline):
            bound_id = change_id
            if request_id is not None:
                bound_id = identity.stock_change_id(await replica.ledger.salt(sale_id, deadline), request_id)
            actor = f"returner of {bound_id}"
            return Return(bound_id, reservation_id, lines, restock, reason, customer, actor, fingerprint)

        return build, sale_id

    def _move(self, source):
        random = self._random
        destination = random.choice([sale_id for sale_id in self._sale_ids if sale_id != source])
        item_id, to_item_id = random.choice(self._items[source]), random.choice(self._items[destination])
        quantity = random.choice((1, 1, 2))
        request_id = random.choice(REQUEST_IDS) if random.random() < 0.5 else None
        change_id = UUID(int=random.getrandbits(128))

        async def build(replica, deadline):
            bound_id = change_id
            if request_id is not None:
                bound_id = identity.stock_change_id(await replica.ledger.salt(source, deadline), request_id)
            fingerprint = identity.transfer_fingerprint(item_id, destination, to_item_id, quantity)
            actor = f"mover of {bound_id}"
            return Transfer(bound_id, source, item_id, destination, to_item_id, quantity, actor, fingerprint)

        return build, source, True


def _ready(command):
    async def build(_replica, _deadline):
        return command

    return build
