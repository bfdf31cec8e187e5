"""Runs inside a launched service: points at which it can be killed or frozen, and a clock that can be moved.

Orders come as datagrams to a port of the process, and are obeyed by a thread of their own, so that nothing on the
service's paths ever looks for them. The thread that armed a point learns, by a datagram, that it was reached.
"""

# ruff: noqa: PLC0415 - only what the launched service itself imports

import asyncio
import json
import os
import random
import signal
import socket
import threading
import time
from datetime import timedelta

# In the order in which a batch passes them, be it by an append that commits itself or by a transaction. IN_COMMIT: the
# commit is on the wire, its answer is not read.
BEFORE_BEGIN = "before-begin"
AFTER_READ = "after-read"
BEFORE_COMMIT = "before-commit"
IN_COMMIT = "in-commit"
BEFORE_REPLY = "before-reply"

KILL, FREEZE, LOSE = "kill", "freeze", "lose"
"""What may happen at a point: SIGKILL, SIGSTOP, or that the connection to PostgreSQL breaks."""

_ON_THE_WIRE_SECONDS = 0.003


class Orders:
    """What the process has been told. One for each process."""

    def __init__(self):
        self.armed = {}
        self.clock_offset_seconds = 0.0
        self.loop = None
        self._socket = None

    def listen(self, port):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        threading.Thread(target=self._obey, daemon=True, name="orders").start()

    def _obey(self):
        while True:
            message, sender = self._socket.recvfrom(4096)
            order = json.loads(message)
            answer = {"id": order["id"], "done": order["order"]}
            match order:
                case {"order": "arm", "point": point, "action": action}:
                    self.armed[point] = action, sender
                case {"order": "disarm"}:
                    self.armed.clear()
                case {"order": "clock", "offset_seconds": offset_seconds}:
                    self.clock_offset_seconds = offset_seconds
                case {"order": "tasks"}:
                    answer["tasks"] = 0 if self.loop is None else len(asyncio.all_tasks(self.loop))
            self._socket.sendto(json.dumps(answer).encode(), sender)

    def reached(self, point):
        """The action that was ordered for this point, which is told and forgotten; None as a rule."""
        if not self.armed or point not in self.armed:
            return None
        action, sender = self.armed.pop(point)
        self._socket.sendto(json.dumps({"reached": point, "action": action, "pid": os.getpid()}).encode(), sender)
        return action


ORDERS = Orders()


def install(port, module):
    """Begin to listen, and put the offset into the clock and the points into asyncpg. Before the service starts."""
    ORDERS.listen(port)
    _know_the_loop()
    _move_clocks()
    if module == "holdfast_inventory":
        _plant_points()


def _plant_points():
    import asyncpg

    for name in ("execute", "fetchrow", "fetchval"):
        setattr(asyncpg.Connection, name, _failing(getattr(asyncpg.Connection, name)))


def _failing(run):
    from holdfast_inventory.postgres.statements import load

    read, append = load("batch")["read"], load("batch")["append"]

    async def failing_run(self, query, *arguments, **options):
        is_alone = not self.is_in_transaction()
        if query.startswith("BEGIN") or (query == read and is_alone):
            await _pass(BEFORE_BEGIN, self)
        if query == "COMMIT" or (query == append and is_alone):
            return await failing_commit(self, query, *arguments, **options)
        result = await run(self, query, *arguments, **options)
        if query == read:
            await _pass(AFTER_READ, self)
        return result

    async def failing_commit(self, query, *arguments, **options):
        await _pass(BEFORE_COMMIT, self)
        if action := ORDERS.reached(IN_COMMIT):
            on_the_wire = asyncio.ensure_future(run(self, query, *arguments, **options))
            await asyncio.sleep(random.uniform(0, _ON_THE_WIRE_SECONDS))
            _act(action, self)
            return await on_the_wire
        result = await run(self, query, *arguments, **options)
        await _pass(BEFORE_REPLY, self)
        return result

    return failing_run


async def _pass(point, connection):
    if action := ORDERS.reached(point):
        _act(action, connection)
        if action == LOSE:
            raise ConnectionResetError(f"lost {point}")


def _act(action, connection):
    if action == LOSE:
        connection.terminate()
    else:
        os.kill(os.getpid(), signal.SIGKILL if action == KILL else signal.SIGSTOP)


def _know_the_loop():
    from holdfast_chassis.lifecycle import Lifecycle

    start = Lifecycle.start

    async def noting_start(self):
        ORDERS.loop = asyncio.get_running_loop()
        return await start(self)

    Lifecycle.start = noting_start


def _move_clocks():
    """Wall clocks only: what is monotonic stays so when a clock jumps."""
    from holdfast_chassis.clock import SystemClock

    now, unix_time = SystemClock.now, time.time
    SystemClock.now = lambda self: now(self) + timedelta(seconds=ORDERS.clock_offset_seconds)
    time.time = lambda: unix_time() + ORDERS.clock_offset_seconds
