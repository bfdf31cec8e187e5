"""Load from real clients, ghz and wrk, on a core of their own. Bounded in time, and only at 127.0.0.1."""

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
PROTOSET = ROOT / "protos/gen/holdfast/inventory/v1/descriptors.binpb"
SERVICE = "holdfast.inventory.v1.ReservationService"
CLIENT_CORE = 1
MAX_CONNECTIONS = 16

# A create with an idempotency key of its own for each request, and a last line that a program can read.
WRK_SCRIPT = """
local count = 0
local start = 0
function setup(thread) start = start + 1; thread:set("start", start) end
function request()
  count = count + 1
  wrk.headers["Idempotency-Key"] = RUN .. "-" .. count
  return wrk.format("POST", nil, wrk.headers, BODY)
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"requests": %%d, "micros": %%d, "p50": %%d, "p99": %%d, "failed": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
RUN = "%s"
BODY = '%s'
wrk.headers["Content-Type"] = "application/json"
"""


@dataclass(frozen=True)
class Load:
    """What clients saw: requests a second that were answered, latencies in milliseconds, requests that failed."""

    callers: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failed: int

    as_dict = asdict


def ghz(binary, port, method, request, callers, seconds):
    """Calls `method` with the same `request` from `callers` callers at a time."""
    with TemporaryDirectory() as directory:
        data = Path(directory) / "request.bin"
        data.write_bytes(request.SerializeToString())
        command = [
            *("taskset", "-c", str(CLIENT_CORE), binary, "--insecure", "--protoset", PROTOSET),
            *("--call", f"{SERVICE}.{method}", "--binary-file", data, "--format", "json", "--timeout", "20s"),
            *("--concurrency", str(callers), "--connections", str(min(callers, MAX_CONNECTIONS))),
            *("--duration", f"{seconds:g}s", "--duration-stop", "wait", f"127.0.0.1:{port}"),
        ]
        done = subprocess.run(command, capture_output=True, check=True, timeout=seconds + 60)
    report = json.loads(done.stdout)
    percentiles = {entry["percentage"]: entry["latency"] / 1e6 for entry in report["latencyDistribution"] or ()}
    codes = report["statusCodeDistribution"]
    return Load(
        callers=callers,
        requests_per_second=report["count"] / (report["total"] / 1e9),
        p50_ms=percentiles.get(50, 0.0),
        p99_ms=percentiles.get(99, 0.0),
        # A refusal is an answer.
        failed=sum(number for code, number in codes.items() if code not in {"OK", "FailedPrecondition"}),
    )


def wrk(port, path, body, run, connections, seconds):
    """POSTs `body` over keep-alive connections, each time with a key of its own."""
    with TemporaryDirectory() as directory:
        script = Path(directory) / "create.lua"
        script.write_text(WRK_SCRIPT % (run, json.dumps(body)))
        command = [
            *("taskset", "-c", str(CLIENT_CORE), "wrk", "--threads", "1", "--connections", str(connections)),
            *("--duration", f"{seconds:g}s", "--timeout", "20s", "--script", script, f"http://127.0.0.1:{port}{path}"),
        ]
        done = subprocess.run(command, capture_output=True, check=True, timeout=seconds + 60, text=True)
    report = json.loads(done.stdout.splitlines()[-1])
    return Load(
        callers=connections,
        requests_per_second=report["requests"] / (report["micros"] / 1e6),
        p50_ms=report["p50"] / 1000,
        p99_ms=report["p99"] / 1000,
        failed=report["failed"],
    )
