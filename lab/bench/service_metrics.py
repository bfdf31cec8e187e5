"""What an inventory says of itself on its metrics page."""

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
    """Batches, their commands, the seconds that they took, and their round trips to the database, all summed up."""

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
    """Of all these pages together; statements that belong to no batch do not count."""
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
    """Create of reservations, those in Submits too, by the reason of their refusal; OK: none."""
    total: Counter[str] = Counter()
    for sample in _samples(pages):
        if sample.name == "holdfast_outcomes_total" and sample.labels["method"] == "CreateReservation":
            total[sample.labels["reason"]] += int(sample.value)
    return total


def overloaded(pages: list[str]) -> int:
    """Return how many creates were refused for another reason than that there is no stock."""
    return sum(number for reason, number in outcomes(pages).items() if reason not in {"OK", OUT_OF_STOCK})


def _samples(pages: list[str]) -> list[Sample]:
    return [each for page in pages for family in text_string_to_metric_families(page) for each in family.samples]
