"""The suites: what each runs against a server under test, and what it says of every case."""

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from lab.conformance.processes import host_command, output_of, served

_CONNECT_CONFIGURATION = Path(__file__).with_name("connect.yaml")
_CONNECT_SECONDS = 600
_ALONE_SECONDS = 60
_CONNECT_PARALLEL = 6
_H2SPEC_SECONDS = 1200
_H2SPEC_CASE_SECONDS = 4
_INTEROP_SECONDS = 60
_INTEROP_CASES = (
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
)


@dataclass
class Told:
    """What a suite says: how many cases there are, and why which of them failed."""

    cases: int
    failures: dict[str, str] = field(default_factory=dict)


async def connect(transport, known):
    """connectrpc.com/conformance, gRPC over HTTP/2.

    A case that is known to fail may spoil its connection for others or never end, so it is run alone.
    """
    told = await _connect(transport, [argument for case in known for argument in ("--skip", case)], _CONNECT_SECONDS)
    for case in known:
        alone = await _connect(transport, ["--run", case], _ALONE_SECONDS)
        told.cases += alone.cases
        told.failures |= dict.fromkeys([case] if alone.failures else [], next(iter(alone.failures.values()), ""))
    return told


async def _connect(transport, arguments, seconds):
    options = ["--conf", _CONNECT_CONFIGURATION, "--mode", "server", "-p", _CONNECT_PARALLEL, *arguments]
    code, output = await output_of(
        "connectconformance", *options, "--", *host_command("connect", transport), seconds=seconds
    )
    total = re.search(r"^Total cases: (\d+)$", output, re.MULTILINE)
    if total is None:
        raise AssertionError(f"connectconformance ended with {code}:\n{output}")
    failures = dict(re.findall(r"^FAILED: (\S.*):\n((?:\t.*\n)*)", output, re.MULTILINE))
    return Told(int(total[1]), failures if failures or code == 0 else {"the run": output})


async def interop(transport, _known):
    """grpc-go's interop client."""
    told = Told(len(_INTEROP_CASES))
    async with served("interop", transport) as (host, port):
        for case in _INTEROP_CASES:
            options = ["--server_host", host, "--server_port", port, "--test_case", case]
            try:
                code, output = await output_of("grpc_interop_client", *options, seconds=_INTEROP_SECONDS)
            except TimeoutError:
                code, output = 1, "it does not end"
            if code:
                told.failures[case] = output
    return told


async def h2spec(transport, _known):
    """h2spec, HTTP/2 and HPACK."""
    with tempfile.NamedTemporaryFile() as report:
        async with served("interop", transport) as (host, port):
            options = ["-h", host, "-p", port, "-o", _H2SPEC_CASE_SECONDS, "-j", report.name]
            code, output = await output_of("h2spec", *options, seconds=_H2SPEC_SECONDS)
        document = report.read().decode(errors="replace")
    if not document:
        raise AssertionError(f"h2spec ended with {code}:\n{output}")
    return told_by_h2spec(document)


def told_by_h2spec(document):
    """Read h2spec's report. A failure has what was expected and, in its last line, what was received."""
    # What a server has sent stands in it as it came.
    cases = ET.fromstring(re.sub(r"[^\t\n\x20-\x7e]", "?", document)).iter("testcase")
    run = {f"{case.get('package')} {case.get('classname')}": case for case in cases if case.find("skipped") is None}
    failures = {name: case.findtext("error") or case.findtext("failure") for name, case in run.items()}
    return Told(len(run), {name: text for name, text in failures.items() if text is not None})


ALL = {"connect": connect, "interop": interop, "h2spec": h2spec}
