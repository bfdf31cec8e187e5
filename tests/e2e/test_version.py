"""Every command says which version it is."""

import sys
from pathlib import Path

import pytest

from tests.support.programs import succeed


@pytest.mark.parametrize("command", ["holdfast", "holdfast-inventory", "holdfast-gateway", "holdfast-edge"])
async def test_a_command_tells_its_version(command):
    program = Path(sys.executable).with_name(command)
    assert await succeed(program, "--version", HOLDFAST_VERSION="1.2.3") == f"{command} 1.2.3\n"
