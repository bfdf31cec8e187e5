"""Runs programs of other projects, with a time limit."""

import asyncio
import os
import signal
from typing import NamedTuple

RUN_SECONDS = 60


class Finished(NamedTuple):
    status: int
    output: str


async def run(*command, path=None, within=RUN_SECONDS, cwd=None, **environment):
    """Run a program to its end, with `path` before the PATH. Return its exit status and output."""
    paths = f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        env=os.environ | {"PATH": paths} | environment,
        cwd=cwd,
        start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(within):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # And its children.
            await process.communicate()
    return Finished(process.returncode, output.decode())


async def shell(command, path):
    """Run a bash command that must succeed. Return its output."""
    return await succeed("bash", "-euo", "pipefail", "-c", command, path=path)


async def succeed(*command, **options):
    """Run a program that must succeed, and return its output."""
    finished = await run(*command, **options)
    assert finished.status == 0, f"{command} ended with {finished.status}:\n{finished.output}"
    return finished.output
