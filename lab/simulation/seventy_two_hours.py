"""Seventy-two hours of hourly sales on virtual time, with two replicas that restart at random, and a database that is
often down when the hour changes.

Exactly one sale opens every hour, on the hour; every unit of it can be bought until it closes; and the last hours are
as cheap as the first.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median

from holdfast_inventory.domain import identity
from holdfast_inventory.domain.commands import Confirm, Create
from holdfast_inventory.domain.decide import Done
from holdfast_inventory.domain.reservation import Line
from holdfast_inventory.domain.sale import NewItem, NewSale
from holdfast_inventory.domain.schedule import Period, Remainder, Schedule, lead, occurrence_id
from holdfast_inventory.postgres.database import UnavailableError
from lab.simulation.chance import stream
from lab.simulation.faults import Conditions, FaultInjector
from lab.simulation.history import History
from lab.simulation.judge import judge
from lab.simulation.logs import silent
from lab.simulation.loop import BEGINNING, BEGINNING_SECONDS, VirtualTimeLoop
from lab.simulation.replica import Make, Replica
from lab.simulation.server import Server
from lab.simulation.shop import TRANSIENT, Shop
from lab.simulation.trace import Trace

HOURS = 72
UNITS = 6
_HOUR = 3600.0
_ITEM = "shoe"
_MAIN = "main"
_STOCK = UNITS * (HOURS + 2)
_CLOSELY = (Make.schedule_seconds, Make.sweep_seconds)
_SELDOM = (120.0, 120.0)
"""The intervals of schedulers and sweepers, in seconds: the product's around the hour, longer when little is due."""
_EARLY_SECONDS = 10.0
"""How long before the hour the short intervals begin; earlier, if returned stock is drawn again before the hour."""
_LATE_SECONDS = 30.0
"""How long after the hour, or after an outage at that time, the short intervals last."""
_BACK_SECONDS = 15.0
"""The time after an outage until all work is done: a connection that hangs, a pause, an interval."""
_LAST_HOLD_SECONDS = 300.0
"""How long before the close the last holds must have ended, so that the last buyer can buy their units."""
_MORE_WORK = 1.2
"""The maximum ratio of the cost of the last hours to that of the first."""


@dataclass(frozen=True)
class Course:
    """One run: when the replicas start, and what happens to the remaining stock."""

    seed: int
    boot_minutes: tuple[int, int]
    remainder: Remainder

    def __str__(self):
        return f"seed {self.seed}, boot minutes {self.boot_minutes}, {self.remainder.name}"


@dataclass
class Verdict:
    """The result of a course."""

    course: Course
    faults: list[str]
    digest: str
    opened: int = 0
    sold: int = 0
    restarts: int = 0
    outages: int = 0
    statements: int = 0
    work: list[int] = field(default_factory=list)

    @property
    def passed(self):
        return not self.faults

    def told(self):
        head = (
            f"{self.course}: {self.opened} sales, {self.sold} sold, {self.restarts} restarts, {self.outages} outages, "
            f"{self.statements} statements, an hour's {median(self.work[2:12]):.0f} at first and "
            f"{median(self.work[-12:-2]):.0f} at last"
        )
        return "\n".join([head, *(f"    {fault}" for fault in self.faults)])


def every_boot_minute(base):
    """Return thirty courses of two replicas each: every minute of the hour is the start minute of one replica."""
    minutes = list(range(60))
    stream(base, "minutes").shuffle(minutes)
    for number in range(30):
        pair = (minutes[2 * number], minutes[2 * number + 1])
        yield Course(base + number, pair, list(Remainder)[number % 3])


def run_course(course, hours=HOURS):
    days = _Days(course, hours)
    try:
        with silent():
            days.loop.run_until_complete(days.pass_by())
        digest = days.trace.digest
    finally:
        days.loop.bury()
    return Verdict(
        course,
        [*days.faults, *days.what_is_wrong(), *judge(days.history, days.server), *days.loop.complaints],
        digest,
        opened=len(days.sales()),
        sold=sum(row["sold"] for row in days.stock().values()),
        restarts=days.restarts,
        outages=len(days.outages),
        statements=sum(days.server.statements.values()),
        work=days.work,
    )


class _Days:
    def __init__(self, course, hours):
        self.course = course
        self.hours = hours
        self.loop = VirtualTimeLoop()
        self.trace = Trace(self.loop)
        self.injector = FaultInjector(self.loop, self.trace, stream(course.seed, "weather"), Conditions(latency=0.001))
        self.server = Server(self.loop, self.trace, self.injector)
        self.history = History(self.loop)
        self.shop = Shop(self.loop, self.trace, self.history, self.server, stream(course.seed, "shop"), {})
        self.faults = []
        self.outages = []
        self.absences = []
        self.restarts = 0
        self._cadence = _CLOSELY
        self.work = []
        self._random = stream(course.seed, "days")
        self._named = 0
        returns = course.remainder is Remainder.RETURN
        self.schedule = Schedule(
            schedule_id="hourly",
            recurrence=Period(timedelta(hours=1)),
            open_duration=timedelta(hours=1),
            per_customer_limit=0,
            hold_time=timedelta(minutes=2),
            max_hold_time=timedelta(minutes=4),
            items=(NewItem(_ITEM, UNITS, 0),),
            source_sale_id=_MAIN if returns else None,
            remainder=course.remainder,
            created_at=BEGINNING,
        )

    # The run

    async def pass_by(self):
        first, second = sorted(self.course.boot_minutes)
        await self._until(60.0 * first)
        await self._boot()
        await self._set_up()
        lives = [
            asyncio.create_task(self._live(0.0)),
            asyncio.create_task(self._live(60.0 * (second - first), boots=True)),
        ]
        hours = [asyncio.create_task(self._hour(hour)) for hour in range(self.hours)]
        others = [asyncio.create_task(self._take_down()), asyncio.create_task(self._watch_the_clock())]
        await asyncio.gather(*hours)
        for task in (*lives, *others):
            task.cancel()
        await asyncio.gather(*lives, *others, return_exceptions=True)

    async def _set_up(self):
        catalog = self.shop.replicas[0].catalog
        run = self.shop.replicas[0].run
        items = (NewItem(_ITEM, _STOCK, 0),)
        await run(catalog.create_sale(NewSale(_MAIN, None, None, 0, timedelta(minutes=2), timedelta(minutes=4), items)))
        await run(catalog.create_schedule(self.schedule))
        self.shop.replicas[0].look_every(*self._cadence)  # As the product does when a schedule is created.

    def _seconds(self):
        return self.loop.time() - BEGINNING_SECONDS

    async def _until(self, seconds):
        await asyncio.sleep(max(0.0, seconds - self._seconds()))

    async def _live(self, boots_after, *, boots=False):
        """Run one of the two replicas: stop or kill it every few hours, and start it again after some minutes."""
        await asyncio.sleep(boots_after)
        replica = await self._boot() if boots else self.shop.replicas[0]
        while True:
            await asyncio.sleep(self._random.expovariate(1 / (6 * _HOUR)))
            self.restarts += 1
            self.shop.replicas.remove(replica)
            if not self.shop.replicas:
                self.absences.append([self._seconds(), float("inf")])
            if self._random.random() < 0.5:
                replica.kill()
            else:
                await replica.stop()
            await asyncio.sleep(60.0 * self._random.choice((0.1, 1, 5, 10)))
            replica = await self._boot()

    async def _boot(self):
        while True:
            self._named += 1
            name = f"r{self._named}"
            replica = Replica(name, self.server, stream(self.course.seed, name), Make(), lambda *_: None)
            try:
                await replica.start()
            except UnavailableError:  # An orchestrator starts it again.
                await replica.stop()
                continue
            if self.absences and not self.shop.replicas:
                self.absences[-1][1] = self._seconds()
            self.shop.replicas.append(replica)
            replica.look_every(*self._cadence)
            return replica

    async def _watch_the_clock(self):
        """Change the intervals: a check every second for three days would take half an hour and find nothing more."""
        returns = self.course.remainder is Remainder.RETURN
        early_seconds = _EARLY_SECONDS + (lead(self.schedule).total_seconds() if returns else 0.0)
        for hour in range(self.hours + 1):
            await self._until(hour * _HOUR - early_seconds)
            await self._look(_CLOSELY)
            await self._until(hour * _HOUR + _LATE_SECONDS)
            await self._until(max((end for _, end in self.outages), default=0.0) + _LATE_SECONDS)
            await self._look(_SELDOM)

    async def _look(self, cadence):
        self._cadence = cadence
        for replica in list(self.shop.replicas):
            await asyncio.sleep(
                self._random.uniform(0.0, Make.schedule_seconds)
            )  # Replicas do not work at the same times.
            replica.look_every(*cadence)

    async def _take_down(self):
        """Take the database down when the hour changes, in about one of five hours."""
        for hour in range(2, self.hours):
            if self._random.random() < 0.2:
                begin = hour * _HOUR - self._random.uniform(5, 15)
                seconds = self._random.choice((30.0, 90.0, 240.0))
                await self._until(begin)
                self.outages.append((begin, begin + seconds))
                self.injector.refuse_connections(seconds)
                self.server.restart(tells=self._random.random() < 0.7)
                self.injector.refuse_connections(seconds)

    # Buyers

    async def _hour(self, hour):
        opens, closes = hour * _HOUR, (hour + 1) * _HOUR
        sale_id = occurrence_id(self.schedule, BEGINNING + timedelta(seconds=opens))
        await self._until(opens)
        before = sum(self.server.statements.values())
        arrivals = [self._random.uniform(1, _HOUR - _LAST_HOLD_SECONDS) for _ in range(3)]
        shoppers = [asyncio.create_task(self._shop(sale_id, opens + arrival)) for arrival in arrivals]
        await self._until(closes - self._random.uniform(20, 60))
        await asyncio.gather(*shoppers)
        if hour >= max(self.course.boot_minutes) // 60 and self._is_sold_out_at_last(hour):
            await self._buy_all(sale_id, closes)
        await self._until(closes)
        self.work.append(sum(self.server.statements.values()) - before)

    def _is_sold_out_at_last(self, hour):
        # If remaining stock moves on, some must remain from time to time.
        return self.course.remainder is Remainder.STAY or hour % 3 == 0

    async def _shop(self, sale_id, seconds):
        await self._until(seconds)
        if sale_id not in self.sales():
            return  # Before the first replica started.
        lasts = self._random.random()
        answer = await self._ask(sale_id, self._hold(sale_id, 1, confirm=lasts < 0.3))
        if 0.3 <= lasts < 0.6 and isinstance(answer, Done):
            reservation = answer.reservation
            await asyncio.sleep(self._random.uniform(1, 30))
            await self._ask(sale_id, Confirm(reservation.reservation_id, "", True, reservation.customer))

    async def _buy_all(self, sale_id, closes):
        """Check that every unit can be sold until the end, if a replica is running."""
        left = self.stock()[sale_id]["on_hand"] if sale_id in self.sales() else 0
        if left:
            answer = await self._ask(sale_id, self._hold(sale_id, left, confirm=True))
            was_down = any(begin <= closes <= end for begin, end in self.absences)
            if not (isinstance(answer, Done) or was_down):
                self.faults.append(f"{sale_id}: {left} are left before the close, and are refused: {answer!r}")

    def _hold(self, sale_id, units, *, confirm):
        customer, lines = f"c-{len(self.history.calls)}", (Line(_ITEM, units),)
        policy = {"allow_partial": False, "confirm": confirm, "order": ""}
        reservation_id = identity.reservation_id(bytes(32), customer, sale_id)
        fingerprint = identity.create_fingerprint(customer, lines, None, **policy)
        return Create(reservation_id, customer, lines, None, fingerprint=fingerprint, **policy)

    async def _ask(self, sale_id, command):
        """Execute a command as a shopper does who retries until it succeeds, during an outage, too."""

        async def build(_replica, _deadline):
            return command

        for _ in range(200):
            if self.shop.replicas:
                replica = self._random.choice(self.shop.replicas)
                deadline = self.loop.time() + 10.0
                call = await self.shop.send(replica, sale_id, build, deadline, bound_seconds=self.shop.bound_seconds)
                if call.answer is not None and not isinstance(call.answer, TRANSIENT):
                    return call.answer
            await asyncio.sleep(2.0)
        return None

    # Checks

    def sales(self):
        keys = self.server.tables.partition("sales_of", "hourly")
        return {sale_id: self.server.tables.partition("sales", sale_id)[""] for sale_id in keys}

    def stock(self):
        return {sale_id: self.server.tables.partition("items", sale_id)[_ITEM] for sale_id in self.sales()}

    def what_is_wrong(self):
        yield from self._openings()
        yield from self._left_overs()
        yield from self._decay()

    def _openings(self):
        """Check that one sale opens every hour, on the hour, from the first start on, and is created before that."""
        sales = self.sales()
        openings = Counter(sale["open_at"] for sale in sales.values())
        expected = [BEGINNING + timedelta(hours=hour) for hour in range(self.hours)]
        for opening in expected:
            if openings[opening] != 1:
                yield f"{openings[opening]} sales open at {opening:%d %H:%M}"
        if extra := set(openings) - {*expected, BEGINNING + timedelta(hours=self.hours)}:
            yield f"sales open at {sorted(map(str, extra))}"
        for sale_id, sale in sales.items():
            if sale["open_at"] > BEGINNING and sale["created_at"] > max(
                sale["open_at"], self._back_at(sale["open_at"])
            ):
                yield f"{sale_id} was put up at {sale['created_at']:%d %H:%M:%S}, too late"

    def _back_at(self, opening):
        """Return when a sale must exist: shortly before its opening, or shortly after an outage at that time."""
        if self.course.remainder is not Remainder.RETURN:
            return opening
        seconds = (opening - BEGINNING).total_seconds()
        return BEGINNING + timedelta(seconds=max([seconds, *self._made_up_for_at(seconds)]))

    def _made_up_for_at(self, seconds):
        """Return when the work is done that outages at this moment delayed: of the database, or of both replicas."""
        away = [*self.outages, *self.absences]
        return [end + _BACK_SECONDS for begin, end in away if begin <= seconds <= end + _BACK_SECONDS]

    def _left_overs(self):
        """Check that nothing is held after the close, and that the remaining units went where they should."""
        stock = self.stock()
        over = [
            sale_id
            for sale_id, sale in self.sales().items()
            if sale["close_at"] <= BEGINNING + timedelta(hours=self.hours - 1)
        ]
        for sale_id in over:
            row = stock[sale_id]
            if row["held"] or (row["on_hand"] and (self.course.remainder is not Remainder.STAY)):
                yield f"{sale_id} is over and keeps {row['on_hand']}, {row['held']} of them held"
        units = sum(row["on_hand"] + row["sold"] for row in stock.values())
        main = self.server.tables.partition("items", _MAIN)[_ITEM]
        put_up = len(stock) * UNITS
        if self.course.remainder is Remainder.RETURN:
            units, put_up = units + main["on_hand"], _STOCK
        if units != put_up:
            yield f"{put_up} units were put up, and {units} are there"

    def _decay(self):
        first, last = median(self.work[2:12]), median(self.work[-12:-2])
        if last > first * _MORE_WORK:
            yield f"an hour took {first} statements at first, and {last} at last"
