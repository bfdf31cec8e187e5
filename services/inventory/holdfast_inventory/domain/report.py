"""Reports: how a sale went, as sums of its movements. Sums of parts of a ledger can be added up."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MAX_INTERVALS = 120
INTERVALS = tuple(
    timedelta(seconds=seconds) for seconds in (1, 5, 15, 60, 5 * 60, 15 * 60, 3600, 6 * 3600, 86_400)
) + tuple(timedelta(weeks=weeks) for weeks in (1, 4, 52, 520))
"""The lengths of a curve's intervals. Each is a multiple of the one before, so that intervals can be merged."""
REFUSAL_INTERVALS = INTERVALS[3:]
"""Those of the curve of refusals, which are counted by the minute."""


class Units(NamedTuple):
    """Units of an item, or of a whole sale. reserved = held + confirmed + released + expired."""

    reserved: int = 0
    """Held, or sold without a hold."""
    confirmed: int = 0
    """Sold, also if they were returned later."""
    released: int = 0
    expired: int = 0
    returned: int = 0
    held: int = 0
    available: int = 0

    @property
    def sold(self) -> int:
        """Units that are sold and were not returned."""
        return self.confirmed - self.returned


class ItemReport(NamedTuple):
    """An item's units, and when customers took its last available unit for the first time."""

    item_id: str
    units: Units
    sell_out_at: datetime | None


class Interval(NamedTuple):
    """The units that were reserved and confirmed in an interval of the curve."""

    start_at: datetime
    reserved: int
    confirmed: int


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of a sale's movements up to `sequence`, the last of them at `reached_at`.

    Items are by id; the curve has no empty intervals.
    """

    sequence: int = 0
    reached_at: datetime = _EPOCH
    items: tuple[ItemReport, ...] = ()
    customers: int = 0
    interval: timedelta = INTERVALS[0]
    curve: tuple[Interval, ...] = ()

    def plus(self, later: "Sums") -> "Sums":
        """Return the sums of these movements and of those that follow."""
        interval = interval_for(max(self.interval, later.interval), (*self.curve, *later.curve))
        return Sums(
            later.sequence,
            later.reached_at,
            tuple(_added_items(self.items, later.items)),
            self.customers + later.customers,
            interval,
            tuple(_merged(interval, (*self.curve, *later.curve))),
        )


class ReasonCount(NamedTuple):
    """How many creates were refused for a reason."""

    reason: str
    refusals: int


class RefusalInterval(NamedTuple):
    """How many creates were refused in an interval."""

    start_at: datetime
    refusals: int


class Refusals(NamedTuple):
    """The refused creates of a sale, by reason and over time."""

    counts: tuple[ReasonCount, ...] = ()
    interval: timedelta = REFUSAL_INTERVALS[0]
    curve: tuple[RefusalInterval, ...] = ()


class SaleReport(NamedTuple):
    """A report of a sale that opens at `open_at` and has `sequence` movements, made at `report_at` of the database's
    clock. It includes the movements up to that of `sums`.
    """

    sequence: int
    open_at: datetime
    report_at: datetime
    sums: Sums
    refusals: Refusals

    @property
    def units(self) -> Units:
        """The sum over all items."""
        return added(item.units for item in self.sums.items)

    @property
    def sell_out_at(self) -> datetime | None:
        """When the last of the items was sold out for the first time."""
        times = [item.sell_out_at for item in self.sums.items]
        known = [at for at in times if at is not None]
        return max(known) if known and len(known) == len(times) else None

    def time_to(self, sell_out_at: datetime) -> timedelta:
        """Return the time from the opening."""
        return max(sell_out_at - self.open_at, timedelta())

    @property
    def curve(self) -> Iterator[Interval]:
        """Every interval from the first to the last, also empty ones."""
        known = {interval.start_at: interval for interval in self.sums.curve}
        if known:
            at, last = min(known), max(known)
            while at <= last:
                yield known.get(at, Interval(at, 0, 0))
                at += self.sums.interval


def added(parts: Iterable[Units]) -> Units:
    """Return the sum of units."""
    return Units(*map(sum, zip(*parts, strict=True)))


def interval_for(shortest: timedelta, points: Iterable[Interval]) -> timedelta:
    """Return the first of `INTERVALS` from `shortest` on with which `points` need at most `MAX_INTERVALS`."""
    times = [point.start_at for point in points] or [_EPOCH]
    first, last = min(times), max(times)
    return next(
        interval
        for interval in INTERVALS
        if interval >= shortest and (last - _EPOCH) // interval - (first - _EPOCH) // interval < MAX_INTERVALS
    )


def _merged(interval: timedelta, points: Iterable[Interval]) -> Iterator[Interval]:
    sums: dict[datetime, tuple[int, int]] = {}
    for at, reserved, confirmed in points:
        start_at = at - (at - _EPOCH) % interval
        earlier = sums.get(start_at, (0, 0))
        sums[start_at] = (earlier[0] + reserved, earlier[1] + confirmed)
    return (Interval(start_at, *sums[start_at]) for start_at in sorted(sums))


def _added_items(earlier: Iterable[ItemReport], later: Iterable[ItemReport]) -> Iterator[ItemReport]:
    items: dict[str, list[ItemReport]] = {}
    for item in (*earlier, *later):
        items.setdefault(item.item_id, []).append(item)
    for item_id in sorted(items):
        parts = items[item_id]
        yield ItemReport(
            item_id,
            added(part.units for part in parts),
            next((part.sell_out_at for part in parts if part.sell_out_at is not None), None),
        )
