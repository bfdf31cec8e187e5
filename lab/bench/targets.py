"""The targets: one number of a run for each slug, and its limit."""

from collections.abc import Callable
from typing import NamedTuple

from lab.bench.measure import Results

GROWTH_ALLOWED = 1.05
"""The random variation of an allocator."""


class Target(NamedTuple):
    """A number of a run that has a maximum or a minimum."""

    what: str
    value: Callable[[Results], float]
    limit: Callable[[Results], float]
    is_most: bool

    @property
    def sign(self) -> str:
        return "<=" if self.is_most else ">="


class Reached(NamedTuple):
    """A target, and the number that was measured."""

    what: str
    value: float
    sign: str
    target: float

    @property
    def share(self) -> float:
        """The ratio of the result to the target: 1 or more if it was met."""
        return self.target / self.value if self.sign == "<=" else self.value / self.target

    @property
    def is_met(self) -> bool:
        return self.share >= 1.0


def _most(limit: float, what: str, value: Callable[[Results], float]) -> Target:
    return Target(what, value, lambda _: limit, is_most=True)


def _least(limit: float, what: str, value: Callable[[Results], float]) -> Target:
    return Target(what, value, lambda _: limit, is_most=False)


def _cpu(name: str, *kinds: str) -> Callable[[Results], float]:
    """Return the CPU time of a command in these kinds of process, as a multiple of an empty handler's."""

    def value(results: Results) -> float:
        spent = sum(results.scenarios[name].cpu_us[kind] for kind in kinds)
        return spent / results.scenarios["empty_256"].cpu_us["yardstick-grpc"]

    return value


def _rate(name: str, yardstick: str) -> Callable[[Results], float]:
    return lambda results: (
        results.scenarios[name].requests_per_second / results.scenarios[yardstick].requests_per_second
    )


def _resident(kind: str) -> Callable[[Results], float]:
    return lambda results: results.resident_mb[max(results.resident_mb)][kind]


def _growth(results: Results) -> float:
    fewer, more = (results.resident_mb[made] for made in sorted(results.resident_mb))
    return max(more[kind] / fewer[kind] for kind in fewer)


def _trips(results: Results) -> float:
    batches = results.scenarios["reserve_256"].batches
    assert batches is not None
    return batches.trips_each


TARGETS = {
    "reserve_cpu": _most(0.8, "inventory CPU of a durable reserve, 256 callers", _cpu("reserve_256", "inventory")),
    "sold_out_cpu": _most(0.5, "... of a refusal from memory, 256 callers", _cpu("sold_out_256", "inventory")),
    "submit_cpu": _most(0.2, "... of each command in a Submit of 100", _cpu("submit_of_100", "inventory")),
    "rest_cpu": _most(
        0.9, "gateway and inventory CPU of a REST reserve, 64 connections", _cpu("rest_64", "gateway", "inventory")
    ),
    "reserve_64": _least(
        1.2, "reserves/s, 64 callers, over calls/s of the empty handler", _rate("reserve_64", "empty_64")
    ),
    "reserve_256": _least(1.5, "... 256 callers", _rate("reserve_256", "empty_256")),
    "rest_naive_64": _least(
        10.0, "REST reserves/s, 64 connections, over the naive REST stack's", _rate("rest_64", "naive_rest_64")
    ),
    "rest_naive_256": _least(15.0, "... 256 connections", _rate("rest_256", "naive_rest_256")),
    "batch_trips": _most(2.0, "round trips to the database for a batch, one inventory, 256 callers", _trips),
    "two_inventories_one_core": _least(
        1.0, "one hot sale, two inventories over one, on one core", _rate("two_on_one_core_256", "one_inventory_256")
    ),
    "two_inventories_two_cores": _least(
        1.3, "... on two cores, one of them PostgreSQL's", _rate("two_on_two_cores_256", "one_inventory_256")
    ),
    "delay_1ms": _least(
        0.8, "one hot sale, 1 ms more to the database and back, over none", _rate("delay_1ms_256", "delay_0ms_256")
    ),
    "lone_caller": _most(
        2.0,
        "median of one caller over that of a one-statement insert by asyncpg",
        lambda results: results.scenarios["reserve_1"].p50_ms / results.insert_p50_ms,
    ),
    "resident_inventory_mb": Target(
        "MB resident after both fillings, inventory",
        _resident("inventory"),
        lambda results: 170.0 if results.has_envoy_embedded else 90.0,
        is_most=True,
    ),
    "resident_gateway_mb": _most(90.0, "... gateway", _resident("gateway")),
    "resident_growth": _most(GROWTH_ALLOWED, "... over those after the first filling, the greater of both", _growth),
}


def reached(results: Results) -> dict[str, Reached]:
    """Return all targets by their slugs."""
    return {
        slug: Reached(target.what, target.value(results), target.sign, target.limit(results))
        for slug, target in TARGETS.items()
    }


def drift(results: Results) -> float:
    """Return the machine's speed at the end relative to the beginning, by the empty handler; over 1 is faster."""
    return _rate("empty_256_again", "empty_256")(results)


def delay_ms(results: Results) -> float:
    """Return the measured delay of one statement on the link to the database, in milliseconds."""
    none, late = (results.link_insert_p50_ms[delay] for delay in sorted(results.link_insert_p50_ms))
    return late - none
