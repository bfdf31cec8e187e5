"""The plan of a seed. Each has only a few kinds of faults: with all kinds at once, few commands would succeed."""

from dataclasses import dataclass
from datetime import timedelta
from random import Random

from holdfast_inventory.domain.sale import NewItem, NewSale
from holdfast_inventory.domain.schedule import Period, Remainder, Schedule
from holdfast_inventory.postgres.database import DatabaseLimits
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from lab.simulation.chance import stream
from lab.simulation.faults import FATES, Conditions
from lab.simulation.loop import BEGINNING
from lab.simulation.replica import Make

ITEMS = ("apple", "bread", "cider")
EVENTS = (
    "restart", "failover", "read only", "standby stalls", "standby is given up", "backend ends", "kill", "stop",
    "rules", "refuse",
)  # fmt: skip
_HOURS_SHARE = 0.1
_NEED_A_STANDBY = {"failover", "standby stalls", "standby is given up"}


@dataclass(frozen=True)
class Plan:
    """`news`: how other replicas learn of changed stock. `acts` begin within `seconds`, most of them early.

    `hours`: the seconds after which the first sale opens and closes; None: it is always open.
    """

    conditions: Conditions
    make: Make
    replicas: int
    sales: tuple[NewSale, ...]
    hours: tuple[float | None, float | None]
    schedule: Schedule | None
    acts: int
    seconds: float
    events: tuple[tuple[float, str], ...]
    news: str
    stall_share: float
    has_returns: bool


def plan_of(seed: int) -> Plan:
    random = stream(seed, "plan")
    conditions = _conditions(random)
    seconds = random.choice((0.3, 1.0, 3.0, 8.0))
    schedule = _schedule(random) if random.random() < 0.2 else None
    make = _make(random, schedules=schedule is not None, busy_share=stream(seed, "cpu").choice((0.0, 0.0, 1.0)))
    events = [event for event in EVENTS if conditions.has_standby or event not in _NEED_A_STANDBY]
    return Plan(
        conditions=conditions,
        make=make,
        replicas=random.choice((1, 2, 2, 3)),
        sales=_sales(random),
        hours=_hours(stream(seed, "hours"), seconds),
        schedule=schedule,
        acts=random.randint(12, 30),
        seconds=seconds,
        events=tuple((seconds * random.random(), random.choice(events)) for _ in range(random.choice((0, 0, 1, 2, 4)))),
        news=random.choice(("prompt", "late", "never")),
        stall_share=random.choice((0.0, 0.0, 0.01, 0.05)),
        has_returns=stream(seed, "has returns").random() < 0.5,
    )


def _conditions(random: Random) -> Conditions:
    share = random.choice((0, 1, 2, 4)) / len(FATES)
    return Conditions(
        latency=random.choice((0.0003, 0.001, 0.005, 0.03)),
        rates=tuple((fate, random.choice((0.003, 0.01, 0.03))) for fate in FATES if random.random() < share),
        has_standby=random.random() < 0.3,
        replication=random.choice((0.001, 0.02, 0.2)),
    )


def _make(random: Random, *, schedules: bool, busy_share: float) -> Make:
    return Make(
        DatabaseLimits(writers=random.choice((1, 2, 4)), readers=random.choice((1, 2, 8))),
        GroupCommitLimits(batch_commands=random.choice((1, 2, 5, 256)), due_holds=random.choice((1, 2, 256))),
        sweep_seconds=random.choice((0.5, 1.0, 3.0)),
        sold_out_seconds=random.choice((0.0, 0.2, 0.2)),
        schedules=schedules,
        busy_share=busy_share,
    )


def _sales(random: Random) -> tuple[NewSale, ...]:
    return tuple(_sale(random, f"sale-{number}") for number in range(random.choice((1, 1, 2))))


def _hours(random: Random, seconds: float) -> tuple[float | None, float | None]:
    opens, closes = (random.random() < _HOURS_SHARE for _ in range(2))
    open_at = seconds * random.uniform(0.1, 0.4) if opens else None
    close_at = seconds * random.uniform(0.5, 1.5) if closes else None
    return open_at, close_at


def _sale(random: Random, sale_id: str) -> NewSale:
    items = tuple(
        NewItem(item_id, random.choice((0, 1, 2, 4, 8, 20)), random.choice((0, 0, 0, 2))) for item_id in ITEMS
    )
    return NewSale(
        sale_id=sale_id,
        open_at=None,
        close_at=None,
        per_customer_limit=random.choice((0, 0, 3, 5)),
        hold_time=timedelta(seconds=random.choice((1, 2))),
        max_hold_time=timedelta(seconds=random.choice((4, 6))),
        items=items[: random.choice((1, 2, 3))],
    )


def _schedule(random: Random) -> Schedule:
    source = random.choice((None, "sale-0"))
    remainder = random.choice(list(Remainder))
    return Schedule(
        schedule_id="hourly",
        recurrence=Period(timedelta(seconds=60)),
        open_duration=timedelta(seconds=random.choice((20, 60))),
        per_customer_limit=0,
        hold_time=timedelta(seconds=1),
        max_hold_time=timedelta(seconds=4),
        items=(NewItem("apple", random.choice((1, 3)), 0),),
        source_sale_id=source,
        remainder=Remainder.STAY if remainder is Remainder.RETURN and source is None else remainder,
        created_at=BEGINNING,
    )
