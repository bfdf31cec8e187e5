"""The requirements on any machine, and the targets on a quiet one."""

from dataclasses import dataclass

from lab.overload.load import milliseconds
from lab.overload.run import CALM, Result, Step
from lab.overload.shopping import FINISHING

MOST = 10.0
# The allowed growth of memory under load: buffers that are kept, but no unlimited growth. The edge refuses requests
# above its limit (HOLDFAST_EDGE_MEMORY_LIMIT_BYTES and a quarter), and does not return memory.
_GROWTH_BYTES = 96_000_000
_EDGE_BYTES = 671_000_000
_SPARE_CONNECTIONS = 64


@dataclass(frozen=True)
class Aim:
    """A target: `reached` must be at least, or at most, `wanted`."""

    name: str
    wanted: float
    reached: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        return self.reached >= self.wanted if self.at_least else self.reached <= self.wanted


def faults(result: Result) -> list[str]:
    """Return the broken promises, as text."""
    found = []
    for step in result.steps:
        if step.is_judged:
            found += _faults_of_step(step)
    for transport, told in result.others.items():
        for name, tally in told.items():
            if tally.indefinite:
                found.append(f"{transport}, {name}: {tally.indefinite} of the others had no definite answer")
            if tally.goodput < 0.1 * told["alone"].goodput:
                found.append(f"{transport}, {name}: the others starve")
    return found + _faults_of_sizes(result)


def _faults_of_step(step: Step) -> list[str]:
    tally, where = step.tally, f"{step.transport} {step.name}"
    found = []
    if tally.indefinite:
        found.append(f"{where}: {tally.indefinite} requests had no definite answer")
    if tally.without_delay:
        found.append(f"{where}: {tally.without_delay} refusals do not say when to come back")
    if sum(tally.delays.values()) > 100 and len(tally.delays) < 3:
        found.append(f"{where}: those who were refused are to come back all at once")
    creates = tally.share_accepted("create")
    for kind in FINISHING:
        share = tally.share_accepted(kind)
        if share is not None and creates is not None and share < creates - 0.02:
            found.append(f"{where}: a {kind} was refused rather than a create ({share:.0%} and {creates:.0%} accepted)")
    return found


def _faults_of_sizes(result: Result) -> list[str]:
    found = []
    for name, before in result.before.items():
        after = result.after[name]
        limit = _EDGE_BYTES if name == "edge" else before.resident_bytes + _GROWTH_BYTES
        if after.resident_bytes > limit:
            grown = (after.resident_bytes - before.resident_bytes) / 1e6
            found.append(f"{name} has grown by {grown:.0f} MB")
        if after.connections > before.connections + _SPARE_CONNECTIONS:
            found.append(f"{name} has kept {after.connections - before.connections} more connections")
    return found


def aims(result: Result) -> list[Aim]:
    found = []
    for transport, capacity in result.capacity.items():
        multiple = max(result.plan.multiples)
        most = result.step(transport, multiple)
        share = most.tally.goodput / capacity if capacity else 0.0
        calm = result.step(transport, CALM)
        found += [
            Aim(
                f"{transport}: offered at x{multiple:g}, in multiples of the capacity",
                multiple * 0.95,
                most.tally.offered / most.tally.seconds / capacity,
                at_least=True,
            ),
            Aim(f"{transport}: goodput at x{multiple:g} / capacity", 0.8, share, at_least=True),
            Aim(f"{transport}: p99 of what was accepted at x{multiple:g}, ms", 1000.0, most.p99_ms),
            Aim(
                f"{transport}: p99 of what was refused at x{multiple:g}, ms",
                250.0,
                milliseconds(most.tally.refused, 0.99),
            ),
            Aim(
                f"{transport}: confirms accepted at x{multiple:g}",
                0.95,
                most.tally.share_accepted("confirm") or 0.0,
                at_least=True,
            ),
            Aim(f"{transport}: p99 at x{CALM:g}, ms", 250.0, calm.p99_ms),
            Aim(f"{transport}: calm again after, s", 3.0, result.recovery_seconds[transport]),
        ]
        found += [
            Aim(f"{transport}: p99 of the {service}'s service time of a refusal, ms", 5.0, milliseconds)
            for service, milliseconds in most.service_ms.items()
        ]
        told = result.others.get(transport, {})
        found += [
            Aim(
                f"{transport}: goodput of others {name} / alone",
                0.9,
                tally.goodput / told["alone"].goodput,
                at_least=True,
            )
            for name, tally in told.items()
            if name != "alone"
        ]
    return found
