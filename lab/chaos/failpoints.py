"""Failpoints inside a launched service, at which it can be killed or frozen, and a clock that can be moved.

Orders arrive as datagrams at a port of the process and are handled by a separate thread, so that the service's code
never looks for them. The sender of an order gets a datagram when the armed point is reached.
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

# In the order in which a batch passes them, with an append that commits by itself or with a transaction. IN_COMMIT: the
# commit has been sent, its answer is not read.
BEFORE_BEGIN = "before-begin"
AFTER_READ = "after-read"
BEFORE_COMMIT = "before-commit"
IN_COMMIT = "in-commit"
BEFORE_REPLY = "before-reply"

KILL, FREEZE, LOSE = "kill", "freeze", "lose"
"""What may happen at a point: SIGKILL, SIGSTOP, or a broken connection to PostgreSQL."""

_ON_THE_WIRE_SECONDS = 0.003


class Orders:
    """The orders that the process has got. There is one of these in each process."""

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
        """Return the action that was ordered for this point, report it as reached, and disarm it; usually None."""
        if not self.armed or point not in self.armed:
            return None
        action, sender = self.armed.pop(point)
        self._socket.sendto(json.dumps({"reached": point, "action": action, "pid": os.getpid()}).encode(), sender)
        return action


ORDERS = Orders()


def install(port, module):
    """Listen for orders, and patch the clock and asyncpg. Call it before the service starts."""
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
    """Move the wall clock only: monotonic clocks do not jump."""
    from holdfast_chassis.clock import SystemClock

    now, unix_time = SystemClock.now, time.time
    SystemClock.now = lambda self: now(self) + timedelta(seconds=ORDERS.clock_offset_seconds)
    time.time = lambda: unix_time() + ORDERS.clock_offset_seconds
