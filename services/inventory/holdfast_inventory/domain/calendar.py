"""A calendar: the times at which sales open, as people say them, such as every Friday at ten in Berlin.

Cron gives the times that local clocks show. Where clocks change, the rule of RFC 5545 (3.3.5) makes each of them one
instant: a time that clocks skip in spring is taken with the UTC offset before the change, so 02:30 is 03:30; of a time
that they show twice in autumn, the first one counts. Two times that become the same instant are one opening.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

CRON_FIELDS = 5
_SECOND = timedelta(seconds=1)
_LONGEST_GAP = timedelta(days=1)
"""The longest time that clocks skip at once: a day, where a country moves over the date line."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Openings by a cron expression of five fields in a time zone. `excluded_dates` are local dates without openings.

    Cron and zone must be valid: see `broken_cron` and `is_time_zone`.
    """

    cron: str
    time_zone: str
    excluded_dates: tuple[date, ...] = ()

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first opening after `moment`; None if there is none for decades."""
        found: datetime | None = None
        with suppress(OverflowError):  # The years of a datetime end.
            for local in self._local_times(self._least_local_time(moment) - _SECOND):
                opening = self._instant(local)
                if opening > moment:
                    found = opening if found is None else min(found, opening)
                    # Only what clocks skip can become an instant after that of a later time.
                    if self._local_time(opening) == local:
                        break
        return found

    def latest_until(self, moment: datetime) -> datetime | None:
        """Return the last opening that is not after `moment`; None if there is none for decades."""
        found: datetime | None = None
        with suppress(OverflowError):
            for local in self._local_times(self._greatest_local_time(moment) + _SECOND, backwards=True):
                if found is not None and local <= self._least_local_time(found):
                    break
                opening = self._instant(local)
                if opening <= moment:
                    found = opening if found is None else max(found, opening)
        return found

    def _local_times(self, start: datetime, *, backwards: bool = False) -> Iterator[datetime]:
        for local in CronSim(self.cron, start, reverse=backwards):
            if local.date() not in self.excluded_dates:
                yield local

    def _instant(self, local: datetime) -> datetime:
        # fold=0: the first of two, and before a gap the offset before it.
        return local.replace(tzinfo=zone(self.time_zone)).astimezone(UTC)

    def _local_time(self, moment: datetime) -> datetime:
        return moment.astimezone(zone(self.time_zone)).replace(tzinfo=None)

    def _least_local_time(self, moment: datetime) -> datetime:
        """Return the local time before which all times are instants before `moment`."""
        return min(self._local_time(moment), self._local_time(moment - _LONGEST_GAP) + _LONGEST_GAP)

    def _greatest_local_time(self, moment: datetime) -> datetime:
        """Return the local time after which all times are instants after `moment`."""
        return max(self._local_time(moment), self._local_time(moment - _LONGEST_GAP) + _LONGEST_GAP)


@cache
def zone(name: str) -> ZoneInfo:
    """Return a time zone of IANA's database, in the pinned version and not the system's: so all replicas agree."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


def is_time_zone(name: str) -> bool:
    """Return whether IANA's database has a time zone of this name."""
    return name in _zone_names()


def broken_cron(expression: str) -> str | None:
    """Return the rule that a cron expression breaks, or None."""
    if len(expression.split()) != CRON_FIELDS:
        return "must have five fields: minute, hour, day of month, month, day of week"
    try:
        CronSim(expression, datetime(2000, 1, 1))  # noqa: DTZ001 - local times have no zone yet
    except CronSimError as error:
        field = str(error).removeprefix("Bad ").replace("-", " ")
        return f"has an invalid {field}"
    return None
