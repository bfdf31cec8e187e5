"""The examples of docs/python-client.md, as printed there, against real replicas."""

import asyncio
import sys
import uuid
from pathlib import Path

import pytest

from tests.support.programs import run

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLES = {path.stem: path.read_text() for path in (DOCS / "examples/python").glob("*.py")}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_prints_the_example(name):
    assert f"```python\n{EXAMPLES[name]}```\n" in (DOCS / "python-client.md").read_text()


@pytest.fixture
def example(cluster, tmp_path):
    """Write an example with the cluster's address and a sale of this test, and return its path."""
    sale_id = f"example-{uuid.uuid4().hex[:8]}"

    def write(name):
        path = tmp_path / f"{name}.py"
        path.write_text(EXAMPLES[name].replace("localhost:50051", cluster.addresses[0]).replace("drop-1", sale_id))
        return path

    return write


async def test_the_examples_do_what_they_say(example):
    for sold in ("sold 1 of sneaker-42", "sold 1 of sneaker-42", "c-1 has 2 of 2 already"):
        bought = await run(sys.executable, example("buy"))
        assert (bought.status, bought.output.startswith(sold)) == (0, True), bought.output
    rush = await run(sys.executable, example("rush"))
    assert rush.output.splitlines() == ["INSUFFICIENT_STOCK 152", "sold 48"]
    assert len(await _lines_of(example("follow"), 50)) == 50
    assert "0 are left: all are sold" in (await run(sys.executable, _for("c-2", example("buy")))).output


def _for(customer, path):
    path.write_text(path.read_text().replace("c-1", customer))
    return path


async def _lines_of(program, count):
    """Return the first lines that an endless program prints."""
    following = await asyncio.create_subprocess_exec(sys.executable, "-u", program, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(30):
            return [await following.stdout.readline() for _ in range(count)]
    finally:
        following.kill()
        await following.wait()
