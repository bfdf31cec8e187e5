"""Values from the metrics page of an inventory."""

from collections import Counter, defaultdict
from dataclasses import astuple, dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from holdfast_inventory.postgres.statements import load

OUT_OF_STOCK = "INSUFFICIENT_STOCK"
# Each statement that asyncpg sends and waits for counts as one round trip, regardless of its number of commands.
_OF_BATCHES = {*load("batch"), "begin", "commit", "rollback"}


@dataclass(frozen=True)
class Batches:
    """The number of batches, and the sums of their commands, seconds and round trips to the database."""

    number: float = 0.0
    commands: float = 0.0
    seconds: float = 0.0
    trips: float = 0.0

    def since(self, before: "Batches") -> "Batches":
        return Batches(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))

    @property
    def trips_each(self) -> float:
        return self.trips / self.number

    @property
    def milliseconds_each(self) -> float:
        return self.seconds / self.number * 1000

    @property
    def commands_each(self) -> float:
        return self.commands / self.number


def batches(pages: list[str]) -> Batches:
    """Return the sums of all these pages. Statements outside batches do not count."""
    total: defaultdict[str, float] = defaultdict(float)
    for sample in _samples(pages):
        if sample.name != "holdfast_query_seconds_count" or sample.labels["statement"] in _OF_BATCHES:
            total[sample.name] += sample.value
    return Batches(
        number=total["holdfast_batch_commands_count"],
        commands=total["holdfast_batch_commands_sum"],
        seconds=total["holdfast_batch_seconds_sum"],
        trips=total["holdfast_query_seconds_count"],
    )


def outcomes(pages: list[str]) -> Counter[str]:
    """Return the numbers of CreateReservation commands, also in Submits, by the reason of the refusal, or OK."""
    total: Counter[str] = Counter()
    for sample in _samples(pages):
        if sample.name == "holdfast_outcomes_total" and sample.labels["method"] == "CreateReservation":
            total[sample.labels["reason"]] += int(sample.value)
    return total


def overloaded(pages: list[str]) -> int:
    """Return the number of creates that were refused for another reason than missing stock."""
    return sum(number for reason, number in outcomes(pages).items() if reason not in {"OK", OUT_OF_STOCK})


def _samples(pages: list[str]) -> list[Sample]:
    return [each for page in pages for family in text_string_to_metric_families(page) for each in family.samples]
