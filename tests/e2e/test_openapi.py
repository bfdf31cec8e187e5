"""The OpenAPI document and the gateway agree: schemathesis asks what the document allows, and more, and gets no 5xx."""

import sys
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from tests.support.programs import run

EXAMPLES = 8
FUZZING_SECONDS = 240
SEED = 4242
LONGEST_HOLD_SECONDS = 30 * 24 * 3600
# A request that is valid by the document may be refused because of the state.
ACCEPTED = '["2xx", 404, 409, 422, 429]'
# May be refused as malformed by a rule about two fields, which no schema expresses.
OF_SEVERAL_FIELDS = (
    # close_time after open_time; hold_time up to max_hold_time; no item twice, even with other values.
    "POST /v1/sales",
    # The same, for the sale after the update, even if only one of the fields is sent.
    "PATCH /v1/sales/{sale}",
    # Each text is a customer, so requests with a wrong one are right, but for a page token that no page gave.
    "GET /v1/customers/{customer}:export",
    # No item twice.
    "POST /v1/sales/{sale}/items:batchCreate",
    # The item's name in the body, if there is one, is the one in the query.
    "POST /v1/sales/{sale}/items",
    # The item's names in the body, if there are any, are those in the path; a mask names the fields of an item.
    "PATCH /v1/sales/{sale}/items/{item}",
    # An order only for what is confirmed at once.
    "POST /v1/sales/{sale}/reservations",
    # Open for at most a period; a source if the remainder returns to it; the template's rules as a sale's.
    # Either a period or a calendar, whose cron and time zone more than a pattern decides on.
    "POST /v1/saleSchedules",
    "PATCH /v1/saleSchedules/{saleSchedule}",
    # The name in the body, if there is one, is the one in the path.
    "PATCH /v1/webhooks/{webhook}",
    # Only settings tell whether a URL may be http, and which hosts.
    "POST /v1/webhooks",
    # An item of another sale than the source's.
    "POST /v1/sales:transfer",
)
# May be refused for a header that is a string but no admission token: a schema does not check signatures.
OF_A_SIGNATURE = {"POST /v1/sales/{sale}/reservations": "403,"}
CONFIGURATION = f"""
[generation]
# HTTP allows clients to send any headers.
allow-extra-parameters = false

[checks.positive_data_acceptance]
expected-statuses = {ACCEPTED}

[[operations]]
# A command that is malformed is refused in the answer of the Submit, and does not affect the others.
include-name = "POST /v1/sales/{{sale}}/reservations:submit"
checks.negative_data_rejection.enabled = false
""" + "".join(
    f"""
[[operations]]
include-name = "{name}"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, {OF_A_SIGNATURE.get(name, "")} 404, 409, 422, 429]
"""
    for name in OF_SEVERAL_FIELDS
)


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
async def ids(shop, tmp_path, mode):
    """Give schemathesis examples of an existing sale, item and reservation, so that its requests get further."""
    # With it, the sale allows every hold_time that the document allows.
    sale = await shop.open_sale(a=1000, hold_seconds=LONGEST_HOLD_SECONDS)
    reservation = (await shop.reserve(sale, "c-1", a=1)).name.rpartition("/")[2]
    known = {"sale": sale.removeprefix("sales/"), "item": "a", "reservation": reservation}
    lines = [f'"path.{name}" = "{value}"\n' for name, value in known.items()]
    if mode == "positive":
        # A caller with a very short timeout gets 504, as the document says, and that is correct.
        lines.append('"header.X-Request-Timeout" = "30"\n')
        # A page token comes from an earlier page.
        lines.append('"query.pageToken" = ""\n')
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION + "[parameters]\n" + "".join(lines))
    return sale


@pytest.mark.timeout(FUZZING_SECONDS + 60)
@pytest.mark.parametrize("mode", ["positive", "negative"])
async def test_fuzzing_finds_no_fault_of_ours(cluster, shop, ids, tmp_path, mode):
    """Answers have a status, a media type and a schema of the document."""
    bounds = ["--max-examples", EXAMPLES, "--seed", SEED, "--mode", mode, "--no-shrink", "--request-timeout", 20]
    # A valid watch does not end, and a cancelled sale accepts nothing more.
    only = ["--phases", "examples,coverage,fuzzing", "--exclude-path-regex", ":(watch|cancel)$"]
    fuzzing = await run(
        *(Path(sys.executable).with_name("st"), "run", f"{cluster.url}/openapi.json", *bounds, *only),
        within=FUZZING_SECONDS,
        cwd=tmp_path,
    )
    assert fuzzing.status == 0, fuzzing.output[-8000:]
    await shop.check_ledger(ids)
