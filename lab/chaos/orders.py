"""Orders to launched services as datagrams, and their reports that a point was reached. See chaos/failpoints.py."""

import asyncio
import itertools
import json

from holdfast_devstack.ports import LOOPBACK

_ANSWER_SECONDS = 0.5


class Desk(asyncio.DatagramProtocol):
    """Sends orders. `on_reached(port, point, action)` is called when a process has reached an armed point."""

    def __init__(self):
        self.on_reached = lambda _port, _point, _action: None
        self._transport = None
        self._numbers = itertools.count()
        self._awaited = {}

    async def open(self):
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(LOOPBACK, 0))

    def close(self):
        if self._transport is not None:
            self._transport.close()

    async def send(self, port, order, **fields):
        """Send an order. Return the answer, or None if there is none: a dead or frozen process takes no orders."""
        number = next(self._numbers)
        answer = self._awaited[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "order": order, **fields}
        self._transport.sendto(json.dumps(message).encode(), (LOOPBACK, port))
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._awaited[number]

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, addr):
        told = json.loads(data)
        if "reached" in told:
            self.on_reached(addr[1], told["reached"], told["action"])
        elif (answer := self._awaited.get(told["id"])) is not None and not answer.done():
            answer.set_result(told)

    def error_received(self, exc):
        """Give up waiting: no process listens on that port."""
