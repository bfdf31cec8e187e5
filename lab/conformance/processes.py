"""The processes of a run: a server under test, and a suite's client."""

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from lab.conformance.connect_service import messages
from lab.kit.service import environment

TOOLS = Path(__file__).parents[2] / ".tools/bin"
_SIZE_BYTES = 4
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


def host_command(service, transport):
    """Return the command of a server under test."""
    return [sys.executable, "-m", "lab.conformance.host", service, transport]


@asynccontextmanager
async def served(service, transport):
    """Serve a suite's service; gives host and port."""
    process = await asyncio.create_subprocess_exec(
        *host_command(service, transport), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment({})
    )
    try:
        request = messages.ServerCompatRequest().SerializeToString()
        process.stdin.write(len(request).to_bytes(_SIZE_BYTES) + request)
        async with asyncio.timeout(_START_SECONDS):
            size = int.from_bytes(await process.stdout.readexactly(_SIZE_BYTES))
            answer = messages.ServerCompatResponse.FromString(await process.stdout.readexactly(size))
        yield answer.host, answer.port
    finally:
        await _end(process)


async def output_of(name, *arguments, seconds):
    """Run a client; its exit code and its output. Raises TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        TOOLS / name,
        *map(str, arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment({}),
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
    finally:
        await _end(process)
    return process.returncode, output.decode(errors="replace")


async def _end(process):
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
