"""A DNS server that has one A record for each ready replica, as an orchestrator has for a headless service.

Every replica has its own address of the loopback network, as a pod has, and all of a kind have the same port. So edge,
gateways and gRPC clients find replicas by name, and notice changes with the same delay as in production: the edge asks
every 2 s, gRPC asks when a connection ends.
"""

import asyncio
import ipaddress
import os
import struct

DOMAIN = "drill.test"
LOCALHOST = "127.0.0.1"

_A, _INTERNET, _TTL_SECONDS = 1, 1, 0
_ANSWER, _NO_SUCH_NAME = 0x8580, 3
_HEADER_BYTES = 12


class Addresses:
    """127.x.y.1, 127.x.y.2, and so on; x.y depends on the process, so that concurrent drills do not collide."""

    def __init__(self):
        pid = os.getpid()
        self._network = f"127.{64 + pid // 256 % 128}.{pid % 256}"
        self._taken = 0

    def take(self):
        self._taken += 1
        if self._taken > 250:
            raise RuntimeError("all addresses of this drill are used")
        return f"{self._network}.{self._taken}"


class NameServer(asyncio.DatagramProtocol):
    """Answers with `records`: names without the domain, to lists of addresses."""

    def __init__(self):
        self.records = {}
        self.port = 0
        self._transport = None

    @classmethod
    async def start(cls):
        loop = asyncio.get_running_loop()
        _, server = await loop.create_datagram_endpoint(cls, local_addr=(LOCALHOST, 0))
        return server

    def stop(self):
        self._transport.close()

    def target(self, name, port):
        """Return the target by which a gRPC client finds the replicas of `name`."""
        return f"dns://{LOCALHOST}:{self.port}/{name}.{DOMAIN}:{port}"

    def connection_made(self, transport):
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, query, client):
        try:
            name, end = _question(query)
            kind, _ = struct.unpack_from(">HH", query, end)
        except (IndexError, struct.error, UnicodeDecodeError):
            return
        name = name.removesuffix("." + DOMAIN)
        addresses = self.records.get(name, []) if kind == _A else []
        flags = _ANSWER | (0 if name in self.records else _NO_SUCH_NAME)
        header = query[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
        self._transport.sendto(header + query[_HEADER_BYTES : end + 4] + b"".join(map(_record, addresses)), client)


def _question(query):
    """Return the name in a query, and the offset of its end."""
    labels, at = [], _HEADER_BYTES
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
    return ".".join(labels), at + 1


def _record(address):
    pointer_to_question = b"\xc0\x0c"
    return (
        pointer_to_question
        + struct.pack(">HHIH", _A, _INTERNET, _TTL_SECONDS, 4)
        + ipaddress.ip_address(address).packed
    )
