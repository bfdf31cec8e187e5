"""A process with its part of the crowd. It tells its parent what happens, a few times a second."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import uvloop

from holdfast_chassis.clock import SYSTEM_CLOCK
from lab.kit.rest_client import RestClient
from lab.load_test.shoppers import BEHAVIOURS, Aim, Shopper
from lab.load_test.tally import Acknowledged, Tally

_TELL_SECONDS = 0.5
_REQUEST_SECONDS = 15.0


@dataclass(frozen=True)
class Part:
    """A process's users: (number, behaviour) each; they come one after the other in `ramp_seconds`, and stay."""

    url: str
    aim: Aim
    users: Sequence[tuple[int, str]]
    all_users: int
    ramp_seconds: float
    seconds: float


def run(part: Part, parent: Connection) -> None:
    """Run the users, then send a list of all that was acknowledged to them. The main function of a process."""
    parent.send(uvloop.run(_run(part, parent)))
    parent.close()


async def _run(part: Part, parent: Connection) -> list[Acknowledged]:
    told: list[Acknowledged] = []
    crowd = _Crowd(part, told)
    async with RestClient(part.url, _REQUEST_SECONDS) as client:
        users = [asyncio.create_task(crowd.live(client, number, behaviour)) for number, behaviour in part.users]
        telling = asyncio.create_task(crowd.tell(parent))
        await asyncio.gather(*users)
        telling.cancel()
        await asyncio.wait([telling])
    parent.send(crowd.taken())
    return told


class _Crowd:
    def __init__(self, part: Part, told: list[Acknowledged]) -> None:
        self._part = part
        self._told = told
        self._tally = Tally()
        self._begun = SYSTEM_CLOCK.monotonic()

    async def live(self, client: RestClient, number: int, behaviour: str) -> None:
        """Come at the user's time, and shop until the end."""
        await asyncio.sleep(self._part.ramp_seconds * number / self._part.all_users)
        shopper = Shopper(client, self._part.aim, self._tally, self._told, number)
        self._tally.users += 1
        while SYSTEM_CLOCK.monotonic() - self._begun < self._part.ramp_seconds + self._part.seconds:
            await BEHAVIOURS[behaviour](shopper)
        self._tally.users -= 1

    async def tell(self, parent: Connection) -> None:
        """Send the counts since the last time."""
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            parent.send(self.taken())

    def taken(self) -> Tally:
        """Return the counts, and begin again."""
        tally = self._tally
        part = Tally(tally.users, tally.outcomes.copy(), tally.statuses.copy(), tally.latencies)
        tally.outcomes.clear()
        tally.statuses.clear()
        tally.latencies = {}
        return part
