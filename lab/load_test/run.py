"""A run: a sale of its own, the crowd in some processes, and what the service has in the end."""

import asyncio
import multiprocessing
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from holdfast_chassis.clock import SYSTEM_CLOCK
from lab.kit.rest_client import Answer, RestClient
from lab.load_test import crowd
from lab.load_test.crowd import Part
from lab.load_test.shoppers import MIXES, Aim, behaviours
from lab.load_test.tally import Acknowledged, Tally
from lab.load_test.verdict import Shelf, Thresholds, faults

_LATE_SECONDS = 120.0
_HOLD_SECONDS = 3600


class RunError(Exception):
    """The run was not possible; the message says why."""


@dataclass(frozen=True)
class Plan:
    """What is run against `url`. `credential` is sent with every request, if it is not empty."""

    url: str
    mix: str = "realistic"
    users: int = 500
    ramp_seconds: float = 10.0
    seconds: float = 30.0
    processes: int = 2
    items: int = 3
    units: int = 5_000
    per_customer_limit: int = 2
    credential: str = field(default="", repr=False)
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass
class Moment:
    """The counts of half a second, that long after the begin."""

    second: float
    tally: Tally


@dataclass
class Result:
    """All of a run."""

    plan: Plan
    moments: list[Moment]
    total: Tally
    told: list[Acknowledged]
    shelf: Shelf

    @property
    def faults(self) -> list[str]:
        return faults(self.shelf, self.told, self.total, self.plan.thresholds)


Watch = Callable[[Plan, Moment, Tally], None]
"""Is told each moment, and the counts since the begin."""


def run(plan: Plan, watch: Watch) -> Result:
    """Run it. Raises RunError if the sale cannot be created or read."""
    headers = {"Authorization": f"Bearer {plan.credential}"} if plan.credential else {}
    aim = Aim(
        f"sales/load-test-{uuid.uuid4().hex[:12]}",
        tuple(f"item-{number}" for number in range(plan.items)),
        plan.per_customer_limit,
        headers,
    )
    asyncio.run(_create(plan, aim))
    try:
        moments, total, told = _crowd(plan, aim, watch)
        shelf = asyncio.run(_shelf(plan, aim))
    finally:
        asyncio.run(_end(plan, aim))
    return Result(plan, moments, total, told, shelf)


def _crowd(plan: Plan, aim: Aim, watch: Watch) -> tuple[list[Moment], Tally, list[Acknowledged]]:
    users = list(enumerate(behaviours(MIXES[plan.mix], plan.users)))
    parts = [
        Part(plan.url, aim, users[number :: plan.processes], plan.users, plan.ramp_seconds, plan.seconds)
        for number in range(plan.processes)
    ]
    moments: list[Moment] = []
    total, told = Tally(), []
    present: Counter[Connection] = Counter()
    begun = SYSTEM_CLOCK.monotonic()
    with _processes(parts) as connections:
        for connection, message in _messages(connections, plan.ramp_seconds + plan.seconds + _LATE_SECONDS):
            if isinstance(message, list):
                told += message
                continue
            present[connection] = message.users
            total.add(message)
            message.users = total.users = present.total()
            moment = Moment(SYSTEM_CLOCK.monotonic() - begun, message)
            moments.append(moment)
            watch(plan, moment, total)
    return moments, total, told


@contextmanager
def _processes(parts: list[Part]) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in parts]
    started = [
        context.Process(target=crowd.run, args=(part, child), daemon=True)
        for part, (_, child) in zip(parts, pipes, strict=True)
    ]
    for process, (_, child) in zip(started, pipes, strict=True):
        process.start()
        child.close()  # So that the end of the process ends the connection.
    try:
        yield [parent for parent, _ in pipes]
    finally:
        for process, (parent, _) in zip(started, pipes, strict=True):
            parent.close()
            process.terminate()
            process.join()


def _messages(connections: list[Connection], within_seconds: float) -> Iterator[tuple[Connection, Any]]:
    open_connections = list(connections)
    deadline = SYSTEM_CLOCK.monotonic() + within_seconds
    while open_connections:
        ready = wait(open_connections, deadline - SYSTEM_CLOCK.monotonic())
        if not ready:
            raise RunError("the shoppers did not end in time")
        for connection in ready:
            assert isinstance(connection, Connection)
            try:
                yield connection, connection.recv()
            except EOFError:
                open_connections.remove(connection)


async def _create(plan: Plan, aim: Aim) -> None:
    units = _first_stock(plan)
    items = [{"item": item, "onHand": count} for item, count in zip(aim.items, units, strict=True)]
    rules = {"perCustomerLimit": plan.per_customer_limit, "holdTime": f"{_HOLD_SECONDS}s"}
    async with RestClient(plan.url) as client:
        path = f"/v1/sales?sale_id={aim.sale.removeprefix('sales/')}"
        await _asked(
            client, "POST", path, aim.headers, json={**rules, "maxHoldTime": rules["holdTime"], "items": items}
        )


def _first_stock(plan: Plan) -> list[int]:
    each, rest = divmod(plan.units, plan.items)
    return [each + (number < rest) for number in range(plan.items)]


async def _shelf(plan: Plan, aim: Aim) -> Shelf:
    async with RestClient(plan.url) as client:
        items = await _all(client, f"/v1/{aim.sale}/items", "items", aim.headers)
        reservations = await _all(client, f"/v1/{aim.sale}/reservations", "reservations", aim.headers)
        verified = await _asked(client, "GET", f"/v1/{aim.sale}:verify", aim.headers)
    return Shelf(
        plan.units,
        plan.per_customer_limit,
        sum(item.get("held", 0) for item in items),
        sum(item.get("sold", 0) for item in items),
        {each["name"]: each["state"] for each in reservations},
        verified.body.get("consistent", False),
    )


async def _end(plan: Plan, aim: Aim) -> None:
    """Cancel the sale, which ends its open holds."""
    async with RestClient(plan.url) as client:
        await _asked(client, "POST", f"/v1/{aim.sale}:cancel", aim.headers, json={})


async def _all(client: RestClient, path: str, field_name: str, headers: Mapping[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        page = await _asked(client, "GET", path, headers, params={"pageSize": "1000", "pageToken": token})
        found += page.body.get(field_name, [])
        token = page.body.get("nextPageToken", "")
        if not token:
            return found


async def _asked(client: RestClient, method: str, path: str, headers: Mapping[str, str], **options: Any) -> Answer:
    try:
        answer = await client.send(method, path, headers=dict(headers), **options)
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(f"{method} {client.url}{path} got no answer: {error}") from error
    if answer.status != 200:
        raise RunError(f"{method} {client.url}{path} was refused: {answer.status} {answer.body}")
    return answer
