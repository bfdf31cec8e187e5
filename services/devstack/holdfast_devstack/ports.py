"""TCP ports: find a free one, tell whether one is taken, and write it with its host."""

import errno
import socket
from contextlib import closing
from itertools import chain, cycle, islice

from holdfast_chassis.entropy import SYSTEM_ENTROPY

LOOPBACK = "127.0.0.1"

# Below the ephemeral range, from which systems choose ports for outgoing connections and for servers on any port.
_PORTS = range(10_000, 32_768)
# Each process starts at another port, because several processes may search at the same time.
_first = _PORTS[int.from_bytes(SYSTEM_ENTROPY.token_bytes(4)) % len(_PORTS)]
_candidates = cycle(chain(range(_first, _PORTS.stop), range(_PORTS.start, _first)))


def free_port() -> int:
    """Return a free TCP port of the loopback interface that was not returned before.

    Raises OSError if all are taken.
    """
    for port in islice(_candidates, len(_PORTS)):
        if not is_taken(port):
            return port
    raise OSError(f"no port of {_PORTS.start} to {_PORTS.stop - 1} is free")


def is_taken(port: int, host: str = LOOPBACK) -> bool:
    """Return whether another process already listens on `port`.

    Raises OSError if it is impossible to listen on `host`.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with closing(socket.socket(family)) as probe:
        # Like servers do: a port that only has connections in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return True
        return False
