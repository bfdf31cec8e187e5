"""The run of one seed, with its verdict."""

from collections import Counter
from dataclasses import dataclass, field

from holdfast_inventory.domain.errors import DomainError
from lab.simulation.judge import judge
from lab.simulation.logs import remarked_in, silent
from lab.simulation.world import World

_MOST_SECONDS = 600.0


@dataclass
class Result:
    """The result of a seed. It has passed if there are no faults."""

    seed: int
    faults: list[str]
    digest: str
    lines: list[str]
    calls: int = 0
    commits: int = 0
    virtual_seconds: float = 0.0
    longest_seconds: float = 0.0
    seen: set[str] = field(default_factory=set)
    answers: Counter = field(default_factory=Counter)

    @property
    def passed(self):
        return not self.faults

    def told(self):
        """Return a report for debugging."""
        lines = [f"seed {self.seed} fails:", *(f"    {fault}" for fault in self.faults)]
        lines += ["  The last that happened:", *(f"    {line}" for line in self.lines)]
        return "\n".join([*lines, f"  Again: python -m lab.simulation --seed {self.seed}"])


def run(seed, *, keep_all=False):
    """Run a seed. The same seed gives the same result, and the same hash of all events.

    With `keep_all` the result has every line of the trace, and the product's log.
    """
    world = World(seed, keep_all=keep_all)
    loop = world.loop
    began = loop.time()
    loop.ends_at = began + _MOST_SECONDS
    try:
        with remarked_in(world.trace) if keep_all else silent():
            loop.run_until_complete(world.live())
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is what came of the seed
        world.faults.append(f"{type(error).__name__}: {error}")
    finally:
        digest, lines, ended = world.trace.digest, list(world.trace.lines), loop.time()
        loop.bury()
    return Result(
        seed,
        [*world.faults, *judge(world.history, world.server), *loop.complaints],
        digest,
        lines,
        calls=len(world.history.calls),
        commits=len(world.server.log),
        virtual_seconds=ended - began,
        longest_seconds=world.shop.longest_seconds,
        seen=world.injector.seen,
        answers=Counter(map(_kind, world.history.calls)),
    )


def _kind(call):
    if call.answer is None:
        return "none"
    if isinstance(call.answer, DomainError):
        return type(call.answer).__name__
    kind = type(call.command).__name__
    return f"{kind} again" if getattr(call.answer, "replayed", False) else kind
