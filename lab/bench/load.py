"""Load from real clients on their own core: a fixed number of requests, only to 127.0.0.1.

The number of requests is fixed instead of the time: when time is up, a client abandons calls that are still being
answered, and then its count is not what was acknowledged.
"""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from lab.kit.percentile import percentile

ROOT = Path(__file__).parents[2]
PROTOSET = ROOT / "protos/gen/holdfast/inventory/v1/descriptors.binpb"
GHZ = ROOT / ".tools/bin/ghz"
SERVICE = "holdfast.inventory.v1.ReservationService"
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]
MAX_CONNECTIONS = 16
CALL_SECONDS = 20
_START_SECONDS, _REQUEST_SECONDS = 60, 0.02
_GRPC_HEADERS = ("content-type: application/grpc", "te: trailers", f"grpc-timeout: {CALL_SECONDS}S")
_JSON_HEADERS = ("content-type: application/json",)
_OK, _NO_ANSWER = "200", "-1"
_ANSWERS = {"OK", "ResourceExhausted"}


class LoadError(Exception):
    """Requests were not answered as expected, so the measurement is invalid."""


class Call(NamedTuple):
    """One request that is sent repeatedly. `body` is JSON, or for gRPC the message."""

    port: int
    path: str
    body: bytes
    is_grpc: bool = True
    sale: str = ""
    """The sale in whose ledger it is recorded; empty for a yardstick."""
    commands: int = 1
    """The number of reservations in it."""


@dataclass(frozen=True)
class Load:
    """The clients' results of all requests, which were all answered."""

    seconds: float
    """The time from the first request to the last answer."""
    latencies_us: Sequence[float]
    refused: int = 0
    """The number of answers with an HTTP status other than 200; gRPC's status is not visible."""

    @property
    def requests(self) -> int:
        return len(self.latencies_us)

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds

    def latency_ms(self, share: float) -> float:
        """Return the latency that this share of the requests does not exceed."""
        return percentile(self.latencies_us, share) / 1000


def missing_tools() -> list[str]:
    """Return the programs that cannot be run, each with how to install it."""
    tools = []
    if shutil.which("h2load") is None:
        tools.append("h2load (Debian's nghttp2-client; `make bench` installs it)")
    if not GHZ.is_file():
        tools.append(f"{GHZ.relative_to(ROOT)} (`make tools` builds it)")
    return tools


def merged(loads: Sequence[Load]) -> Load:
    """Return concurrent loads as one: it lasts until the last one has all its answers."""
    return Load(
        seconds=max(load.seconds for load in loads),
        latencies_us=[each for load in loads for each in load.latencies_us],
        refused=sum(load.refused for load in loads),
    )


def h2load(calls: Sequence[Call], callers: int, requests: int) -> Load:
    """Send `requests` calls with `callers` in progress at a time. Raises LoadError."""
    shares = len(calls)
    with ThreadPoolExecutor(shares) as executor:
        return merged(
            list(executor.map(lambda call: _h2load(call, callers // shares, math.ceil(requests / shares)), calls))
        )


def _h2load(call: Call, callers: int, requests: int) -> Load:
    with TemporaryDirectory() as directory:
        body, log = Path(directory) / "body", Path(directory) / "log"
        body.write_bytes(grpc_frame(call.body) if call.is_grpc else call.body)
        connections = min(callers, MAX_CONNECTIONS) if call.is_grpc else callers
        headers = _GRPC_HEADERS if call.is_grpc else _JSON_HEADERS
        said = _run(
            requests,
            *("h2load", *(() if call.is_grpc else ("--h1",)), "--requests", requests, "--clients", connections),
            *("--max-concurrent-streams", callers // connections, "--data", body, "--log-file", log),
            *(word for header in headers for word in ("--header", header)),
            f"http://127.0.0.1:{call.port}{call.path}",
        )
        return parse_h2load(log.read_text(), requests, said)


def grpc_frame(message: bytes) -> bytes:
    """Return a message as gRPC frames it: not compressed, with its length before it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def parse_h2load(log: str, requests: int, said: str = "") -> Load:
    """Read h2load's log: one line for each request, with start and duration in microseconds and the status.

    Raises LoadError, with h2load's output (`said`), unless all requests were answered.
    """
    lines = [line.split("\t") for line in log.splitlines()]
    answered = sum(status != _NO_ANSWER for _, status, _ in lines)
    if answered != requests:
        raise LoadError(f"h2load: {answered} of {requests} requests were answered\n{said}")
    starts = [int(start) for start, _, _ in lines]
    latencies = [float(latency) for _, _, latency in lines]
    end = max(start + latency for start, latency in zip(starts, latencies, strict=True))
    return Load((end - min(starts)) / 1e6, latencies, sum(status != _OK for _, status, _ in lines))


def ghz(call: Call, data: dict[str, Any], callers: int, requests: int) -> Load:
    """Return the same by ghz, which makes each request from the template `data`. Raises LoadError."""
    said = _run(
        requests,
        *(GHZ, "--insecure", "--protoset", PROTOSET, "--call", call.path.removeprefix("/"), "--data", json.dumps(data)),
        *("--concurrency", callers, "--connections", min(callers, MAX_CONNECTIONS), "--total", requests),
        *("--format", "json", "--timeout", f"{CALL_SECONDS}s", f"127.0.0.1:{call.port}"),
    )
    return parse_ghz(said, requests)


def parse_ghz(said: str, requests: int) -> Load:
    """Read ghz's report. Raises LoadError unless all requests were answered; OVERLOADED is an answer, too."""
    report = json.loads(said)
    codes = report["statusCodeDistribution"]
    if not codes.keys() <= _ANSWERS or sum(codes.values()) != requests:
        raise LoadError(f"ghz: {requests} requests were answered by {codes}")
    return Load(report["total"] / 1e9, [each["latency"] / 1000 for each in report["details"]])


def _run(requests: int, *command: object) -> str:
    done = subprocess.run(
        ["taskset", "-c", str(CLIENT_CORE), *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        check=True,
        timeout=_START_SECONDS + requests * _REQUEST_SECONDS,
        text=True,
    )
    return done.stdout
