"""The scheduler: opens sales from schedules, and settles their remainders.

The wanted sales depend only on the schedule and the database's clock, and a sale's id only on its opening time. So any
number of replicas, whenever they start, create each sale exactly once.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger
from holdfast_inventory.background.recurring import Recurring
from holdfast_inventory.domain.errors import DatabaseUnavailable, OutcomeUnknown
from holdfast_inventory.domain.schedule import Schedule, lead, occurrence_id, wanted_openings
from holdfast_inventory.postgres.catalog import Catalog

_PAGE_SCHEDULES = 1_000
_STRETCH_SALES = 50
"""A round looks for remainders in this many of a schedule's newest sales, and in as many older ones, further back in
each round: the cost of a round must not grow with the schedule's age.
"""

_log = get_logger("holdfast.schedules")


class _Opening(NamedTuple):
    schedule: Schedule
    open_at: datetime


class Scheduler(Recurring):
    """Creates sales and settles remainders every few seconds.

    Another replica or the next start does what a stop leaves. Wake it when a schedule was created or changed.
    """

    def __init__(self, catalog: Catalog, *, interval_seconds: float = 2.0, entropy: Entropy = SYSTEM_ENTROPY) -> None:
        super().__init__("schedule", self._attend_to_all, interval_seconds, entropy)
        self._catalog = catalog
        self._created: set[_Opening] = set()
        self._failing: set[str] = set()
        self._look_before: dict[str, datetime | None] = {}

    async def _attend_to_all(self) -> bool:
        now = await self._catalog.database_now()
        wanted: set[_Opening] = set()
        async for schedule in self._schedules():
            openings = [_Opening(schedule, open_at) for open_at in wanted_openings(schedule, now, lead(schedule))]
            wanted.update(openings)
            try:
                await self._attend_to(schedule, openings)
                self._failing.discard(schedule.schedule_id)
            except (DatabaseUnavailable, OutcomeUnknown):
                raise
            except Exception as error:  # noqa: BLE001 - the failure of one schedule must not affect the others
                self._tell(schedule, error)
        self._created &= wanted
        return False

    async def _attend_to(self, schedule: Schedule, openings: list[_Opening]) -> None:
        # First, so that units that return to the source can be drawn again; and afterwards, for units that carry over.
        await self._settle(schedule)
        missing = [opening for opening in openings if opening not in self._created]
        for opening in missing:
            if await self._catalog.create_occurrence(schedule, opening.open_at):
                _log.info("a scheduled sale was created", sale=occurrence_id(schedule, opening.open_at))
            self._created.add(opening)
        if missing:
            await self._settle(schedule)

    async def _settle(self, schedule: Schedule) -> None:
        before = self._look_before.get(schedule.schedule_id)
        due, before = await self._catalog.occurrences_to_settle(schedule, before, _STRETCH_SALES)
        self._look_before[schedule.schedule_id] = before
        for sale_id in due:
            if await self._catalog.settle_remainder(schedule, sale_id):
                _log.info("a sale's remainder was settled", sale=sale_id, remainder=schedule.remainder.name)

    def _tell(self, schedule: Schedule, error: Exception) -> None:
        if schedule.schedule_id not in self._failing:
            _log.warning("a schedule fails", schedule=schedule.schedule_id, error=repr(error))
        self._failing.add(schedule.schedule_id)

    async def _schedules(self) -> AsyncIterator[Schedule]:
        after: str | None = None
        while True:
            page, after = await self._catalog.list_schedules(_PAGE_SCHEDULES, after)
            for schedule in page:
                yield schedule
            if after is None:
                return
