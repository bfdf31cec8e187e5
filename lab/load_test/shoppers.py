"""How shoppers behave: ordinary, aggressive and browsing ones. All send REST, as a shop's pages do."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from holdfast_chassis.clock import SYSTEM_CLOCK
from lab.kit.rest_client import NO_ANSWER, Answer, RestClient
from lab.load_test.tally import LOST, Acknowledged, Tally

_ATTEMPTS = 4
_MOST_RETRY_SECONDS = 5.0
_TRY_AGAIN = {429, 503, 504}


@dataclass(frozen=True)
class Aim:
    """What the shoppers buy. `headers` has their credential, if one is needed."""

    sale: str
    items: tuple[str, ...]
    per_customer_limit: int
    headers: Mapping[str, str]


class Shopper:
    """A shopper: a customer at a time, until the time is up."""

    def __init__(self, client: RestClient, aim: Aim, tally: Tally, told: list[Acknowledged], seed: int) -> None:
        self._client = client
        self._aim = aim
        self._tally = tally
        self._told = told
        self._random = random.Random(seed)

    async def shop(self) -> None:
        """Look, think, hold, think, and buy or not."""
        customer = uuid.uuid4().hex
        await self.look()
        await self._think(1.0, 3.0)
        held = await self.hold(customer, 1)
        if held is None:
            await self._think(2.0, 5.0)
            return
        await self._think(0.5, 2.0)
        await self.end(held, self._random.choices(("confirm", "release", "leave"), (90, 7, 3))[0])

    async def grab(self) -> None:
        """Ask for more than is allowed, several times at once and without a pause."""
        customer = uuid.uuid4().hex
        held = await asyncio.gather(*(self.hold(customer, 1) for _ in range(self._aim.per_customer_limit + 1)))
        await asyncio.gather(*(self.end(each, "confirm") for each in held if each))
        await self._think(0.05, 0.2)

    async def browse(self) -> None:
        """Look at the stock again and again."""
        await self.look()
        await self._think(1.0, 4.0)

    async def look(self) -> None:
        item = self._random.choice(self._aim.items)
        await self._send("look", "GET", f"/v1/{self._aim.sale}/items/{item}", {})

    async def hold(self, customer: str, units: int) -> Acknowledged | None:
        """Return the reservation, if it was granted."""
        line = {"item": self._random.choice(self._aim.items), "quantity": units}
        key = {"Idempotency-Key": uuid.uuid4().hex}
        path = f"/v1/{self._aim.sale}/reservations"
        answer = await self._send("create", "POST", path, key, json={"customer": customer, "lines": [line]})
        if answer is None or answer.status != 200:
            return None
        held = Acknowledged(answer.body["name"], customer, units, "HELD")
        self._told.append(held)
        return held

    async def end(self, held: Acknowledged, how: str) -> None:
        """Confirm, release or leave a hold."""
        if how == "leave":
            return
        held.state = None
        answer = await self._send(how, "POST", f"/v1/{held.name}:{how}", {}, json={})
        if answer is not None and answer.status == 200:
            held.state = answer.body["state"]

    async def _send(self, kind: str, method: str, path: str, headers: Mapping[str, str], **body: Any) -> Answer | None:
        """Send a request, and repeat it as the refusal asks. Return the last answer; None: there was none."""
        headers = {**self._aim.headers, **headers}
        begun = SYSTEM_CLOCK.monotonic()
        for attempt in range(_ATTEMPTS):
            try:
                answer = await self._client.send(method, path, headers=headers, **body)
            except NO_ANSWER:
                answer = None
            outcome = LOST if answer is None else answer.reason or ("OK" if answer.status < 400 else "NO_REASON")
            status = 0 if answer is None else answer.status
            self._tally.note(kind, outcome, status, SYSTEM_CLOCK.monotonic() - begun)
            if answer is not None and answer.status not in _TRY_AGAIN:
                return answer
            if attempt < _ATTEMPTS - 1:
                await asyncio.sleep(_delay(answer, attempt))
        return answer

    async def _think(self, least: float, most: float) -> None:
        await asyncio.sleep(self._random.uniform(least, most))


Behaviour = Callable[[Shopper], Awaitable[None]]
BEHAVIOURS: Mapping[str, Behaviour] = MappingProxyType(
    {"ordinary": Shopper.shop, "aggressive": Shopper.grab, "browsing": Shopper.browse}
)
MIXES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "load": MappingProxyType({"ordinary": 1.0}),
        "realistic": MappingProxyType({"aggressive": 0.1, "ordinary": 0.6, "browsing": 0.3}),
    }
)


def behaviours(mix: Mapping[str, float], users: int) -> list[str]:
    """Return each user's behaviour, in the mix's proportions at any time of a ramp."""
    due = dict.fromkeys(mix, 0.0)
    chosen = []
    for _ in range(users):
        for name, share in mix.items():
            due[name] += share
        name = max(due, key=lambda each: due[each])
        due[name] -= 1.0
        chosen.append(name)
    return chosen


def _delay(answer: Answer | None, attempt: int) -> float:
    try:
        asked = float(answer.headers.get("Retry-After", "")) if answer is not None else 0.0
    except ValueError:
        asked = 0.0
    own: float = 0.1 * 2**attempt
    return min(_MOST_RETRY_SECONDS, max(asked, own))
