"""Whether a run has kept promises and thresholds: pure, from what shoppers were told and what the service has."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.load_test.tally import Acknowledged, Tally

_BUYING = ("create", "confirm")
_SHOWN = 3


@dataclass(frozen=True)
class Thresholds:
    """The most that is accepted: seconds of the 99th percentile, and shares of the requests."""

    p99_seconds: float = 1.0
    server_errors: float = 0.001
    lost_answers: float = 0.001


@dataclass(frozen=True)
class Shelf:
    """The sale in the end. `units` is its first stock, `held` and `sold` are the sums of its items."""

    units: int
    per_customer_limit: int
    held: int
    sold: int
    states: Mapping[str, str]
    """The state of each reservation, by its name."""
    consistent: bool
    """Whether its movements sum up to its stock."""


def faults(shelf: Shelf, told: Sequence[Acknowledged], tally: Tally, thresholds: Thresholds) -> list[str]:
    """Return a sentence for each promise or threshold that was broken."""
    return [*_broken_promises(shelf, told), *_missed_thresholds(tally, thresholds)]


def _broken_promises(shelf: Shelf, told: Sequence[Acknowledged]) -> Iterator[str]:
    promised = [each for each in told if each.state in ("HELD", "CONFIRMED")]
    units = sum(each.units for each in promised)
    if units > shelf.units:
        yield f"OVERSOLD: {units} units were acknowledged to shoppers, of {shelf.units}"
    if shelf.held + shelf.sold > shelf.units:
        yield f"OVERSOLD: {shelf.held} units are held and {shelf.sold} sold, of {shelf.units}"
    lost = [each for each in promised if shelf.states.get(each.name) != each.state]
    if lost:
        examples = ", ".join(f"{each.name} is {shelf.states.get(each.name, 'missing')}" for each in lost[:_SHOWN])
        yield f"LOST: {len(lost)} acknowledged reservations are not as they were acknowledged: {examples}"
    if shared := [name for name, count in Counter(each.name for each in told).items() if count > 1]:
        yield f"SHARED: {len(shared)} reservations were given to two requests: {', '.join(shared[:_SHOWN])}"
    if greedy := _over_the_limit(promised, shelf.per_customer_limit):
        yield f"LIMIT: {len(greedy)} customers have more than {shelf.per_customer_limit}: {', '.join(greedy[:_SHOWN])}"
    if not shelf.consistent:
        yield "LEDGER: the movements do not sum up to the stock"


def _over_the_limit(promised: Sequence[Acknowledged], limit: int) -> list[str]:
    units: Counter[str] = Counter()
    for each in promised:
        units[each.customer] += each.units
    return [customer for customer, count in units.items() if limit and count > limit]


def _missed_thresholds(tally: Tally, thresholds: Thresholds) -> Iterator[str]:
    if not tally.outcomes["create", "OK"]:
        yield "NOTHING: no reservation was made, so nothing was tested"
    for kind in _BUYING:
        seconds = tally.latencies[kind].percentile(0.99) if kind in tally.latencies else 0.0
        if seconds > thresholds.p99_seconds:
            yield f"SLOW: the 99th percentile of {kind} is {seconds:.2f} s, over {thresholds.p99_seconds:g} s"
    for name, count, share in (
        ("answers are 5xx", tally.server_errors, thresholds.server_errors),
        ("requests got no answer", tally.lost, thresholds.lost_answers),
    ):
        if count > share * tally.requests:
            yield f"ERRORS: {count} of {tally.requests} {name}, over {share:.2%}"
