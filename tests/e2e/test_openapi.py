"""The OpenAPI document and the gateway agree: schemathesis asks what the document allows, and more, and gets no 5xx."""

import sys
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from tests.support.programs import run

EXAMPLES = 8
FUZZING_SECONDS = 240
SEED = 4242
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def test_document_is_valid(rest):
    document = (await rest.get("/openapi.json")).body
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)


async def test_docs_page_needs_nothing_from_elsewhere(cluster, rest):
    async with rest.stream("/docs") as response:
        page = await response.text()
    assert response.status == 200
    assert "openapi.json" in page
    assert "//cdn" not in page
    assert 'src="http' not in page


@pytest.fixture
async def ids(shop, tmp_path):
    """Tells schemathesis, in its directory, of a sale, an item and a reservation that are there: it gets deeper."""
    sale = await shop.open_sale(a=1000)
    reservation = (await shop.reserve(sale, "c-1", a=1)).name.rpartition("/")[2]
    known = {"sale": sale.removeprefix("sales/"), "item": "a", "reservation": reservation}
    lines = [f'"path.{name}" = "{value}"\n' for name, value in known.items()]
    (tmp_path / "schemathesis.toml").write_text("[parameters]\n" + "".join(lines))
    return sale


@pytest.mark.timeout(FUZZING_SECONDS + 60)
@pytest.mark.parametrize("mode", ["positive", "negative"])
async def test_fuzzing_finds_no_fault_of_ours(cluster, shop, ids, tmp_path, mode):
    """Answers are of a status, a media type and a schema that the document tells."""
    bounds = ["--max-examples", EXAMPLES, "--seed", SEED, "--mode", mode, "--no-shrink", "--request-timeout", 20]
    # A watch that is sound does not end, and a sale that is cancelled takes nothing more.
    only = ["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--exclude-path-regex", ":(watch|cancel)$"]
    fuzzing = await run(
        *(Path(sys.executable).with_name("st"), "run", f"{cluster.url}/openapi.json", *bounds, *only),
        within=FUZZING_SECONDS,
        cwd=tmp_path,
    )
    assert fuzzing.status == 0, fuzzing.output[-8000:]
    await shop.check_ledger(ids)
