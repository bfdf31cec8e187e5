"""The load of the drill: shoppers with different clients, each at a constant rate that two cores can carry."""

import asyncio
import itertools
import random

from holdfast_chassis.waiting import first_of
from lab.drill.clients import Command, GrpcClient, Lost, Refused, RestClient, dripping
from lab.drill.orchestrator import EDGE, GATEWAY, INVENTORY
from lab.drill.request_ledger import Outcome
from lab.drill.watchers import Watcher

RETRY_SECONDS = 20.0
_SLOW_BODY_SECONDS = 1.5
# What a shopper does repeatedly: `confirm` and `release` are about the hold before.
_ROUND = ("hold", "confirm", "buy", "hold", "release")


class Shopper:
    """Sends `per_second` commands."""

    def __init__(self, name, client, book, sale, per_second, *, retries, body=None):
        self.name, self._client, self._book, self._sale = name, client, book, sale
        self._pause_seconds = 1 / per_second
        self._retries = retries
        self._options = {} if body is None else {"body": body}

    async def run(self, leave):
        """Shop until told to stop, and finish what has begun."""
        held = None
        for number in itertools.count():
            operation = _ROUND[number % len(_ROUND)]
            if operation in ("hold", "buy"):
                held = await self.do(operation, f"{self.name}-{number}")
            elif held is not None:
                await self.do(operation, f"{self.name}-{number}", held)
            if await first_of(leave, timeout_seconds=self._pause_seconds * random.uniform(0.5, 1.5)):
                return

    async def do(self, operation, request_id, reservation=""):
        """Send one request until its final answer. Return the reservation's name, or None."""
        return await send(
            self._client,
            self._book,
            (operation, request_id, self._sale, reservation),
            self.name,
            self._retries,
            self._options,
        )


async def send(client, book, command, client_name="", retries=False, options=None):
    """Send a command and record it in the book. Return the reservation's name, or None."""
    command = Command(*command)
    entry = book.begin(command.id, client_name, command.operation, command.reservation)
    deadline = asyncio.get_running_loop().time() + RETRY_SECONDS
    while True:
        entry.attempts += 1
        try:
            entry.reservation = await client.shop(command, **(options or {}))
        except (Refused, Lost) as error:
            if retries and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(random.uniform(0.05, 0.25) * min(entry.attempts, 5))
                continue
            book.end(entry, Outcome.REFUSED if isinstance(error, Refused) else Outcome.FAILED, str(error))
            return None
        book.end(entry, Outcome.ANSWERED)
        return entry.reservation


class Load:
    """All shoppers and watchers. `pace` multiplies their rates."""

    def __init__(self, orchestrator, book, sale, follower, pace=1.0):
        """`follower`: what receives a webhook. It is closed with the load."""
        self._follower = follower
        self._orchestrator, self._book, self._sale, self._pace = orchestrator, book, sale, pace
        self._leave = asyncio.Event()
        self._clients, self._tasks = [], []
        self.shoppers = self._all_shoppers()
        self.watchers = self._all_watchers()

    def start(self):
        self._tasks = [asyncio.create_task(shopper.run(self._leave)) for shopper in self.shoppers]
        self._tasks += [asyncio.create_task(watcher.run()) for watcher in self.watchers]

    async def finish_shopping(self):
        """Start no more requests, and wait for the answers of those in progress."""
        self._leave.set()
        await asyncio.gather(*self._tasks[: len(self.shoppers)])

    async def close(self):
        self._leave.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in (*self._clients, self._follower):
            await client.close()

    def rest(self, name, **options):
        """Return a new REST client, which is closed with the load."""
        self._clients.append(RestClient(self._orchestrator, name, **options))
        return self._clients[-1]

    def grpc(self, name):
        """Return a new gRPC client. It checks the health of inventories; the edge does that by itself."""
        self._clients.append(GrpcClient(self._orchestrator.target(name), health_checked=name == INVENTORY))
        return self._clients[-1]

    def _all_shoppers(self):
        return [
            *self._shoppers(5, "rest-edge", lambda: self.rest(EDGE), 5),
            *self._shoppers(2, "rest-edge-retries", lambda: self.rest(EDGE), 5, retries=True),
            *self._shoppers(4, "rest-gateway", lambda: self.rest(GATEWAY), 5),
            *self._shoppers(1, "rest-gateway-retries", lambda: self.rest(GATEWAY), 5, retries=True),
            *self._shoppers(1, "fresh-edge", lambda: self.rest(EDGE, keep_alive=False), 5),
            *self._shoppers(1, "fresh-gateway", lambda: self.rest(GATEWAY, keep_alive=False), 10),
            *self._shoppers(2, "grpc-edge", lambda: self.grpc(EDGE), 8),
            *self._shoppers(1, "grpc-edge-retries", lambda: self.grpc(EDGE), 8, retries=True),
            *self._shoppers(2, "grpc-inventory", lambda: self.grpc(INVENTORY), 8),
            *self._shoppers(1, "grpc-inventory-retries", lambda: self.grpc(INVENTORY), 8, retries=True),
            *self._shoppers(2, "slow-edge", lambda: self.rest(EDGE), 1, body=dripping(_SLOW_BODY_SECONDS)),
            *self._shoppers(2, "slow-gateway", lambda: self.rest(GATEWAY), 1, body=dripping(_SLOW_BODY_SECONDS)),
        ]

    def _shoppers(self, count, name, client, per_second, *, retries=False, body=None):
        pace = per_second * self._pace
        return [
            Shopper(f"{name}-{n}", client(), self._book, self._sale, pace, retries=retries, body=body)
            for n in range(count)
        ]

    def _all_watchers(self):
        sale = self._sale
        return [
            Watcher("movements by gRPC, edge", self.grpc(EDGE), sale),
            Watcher("movements by gRPC", self.grpc(INVENTORY), sale),
            Watcher("stock by gRPC, edge", self.grpc(EDGE), sale, stock=True),
            Watcher("movements by SSE, edge", self.rest(EDGE), sale),
            Watcher("stock by SSE", self.rest(GATEWAY), sale, stock=True),
            Watcher("movements by SSE, slow reader", self.rest(EDGE), sale, slow_seconds=0.02),
            Watcher("movements by gRPC, slow reader", self.grpc(INVENTORY), sale, slow_seconds=0.02),
            self._follower,
        ]
