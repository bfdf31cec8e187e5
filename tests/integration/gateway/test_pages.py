"""The gateway's own pages, and the origins to which browsers may give answers."""

import openapi_spec_validator
import pytest


async def test_health_in_full(gateway):
    status, document, _ = await gateway.send("GET", "/health")
    assert status == 200
    assert document["services_status"] == {"app": "UP", "inventory": "UP", "database": "UP", "redis": "DOWN"}
    assert document["checks"]["inventory"]["latency_ms"] > 0
    assert document["version"] == "test-version"
    assert document["memory"]["resident_bytes"] > 1_000_000
    assert document["uptime_seconds"] >= 0
    assert document["tasks"] >= 1
    assert document["timestamp"].endswith("+00:00")


async def test_a_name_that_inventory_does_not_tell_of_is_unknown(gateway, inventory):
    del inventory.health["redis"]
    _, document, _ = await gateway.send("GET", "/health")
    assert document["services_status"]["redis"] == "UNKNOWN"


async def test_metrics_count_by_template(gateway):
    await gateway.send("GET", "/v1/sales/s/items/i")
    await gateway.send("GET", "/v1/nothing")
    async with gateway.session.get(gateway.url + "/metrics") as response:
        text = await response.text()
    assert 'http_requests_total{method="GET",path="/v1/{name=sales/*/items/*}",status="200"} 1.0' in text
    assert 'http_requests_total{method="GET",path="(unknown)",status="404"} 1.0' in text
    assert 'holdfast_lifecycle_phase{phase="serving"} 1.0' in text


async def test_metrics_are_on_their_own_port_too(gateway):
    url = f"http://127.0.0.1:{gateway.app.metrics.bound_port}/metrics"
    async with gateway.session.get(url) as response:
        assert "holdfast_submits_in_flight" in await response.text()


async def test_the_openapi_document_is_valid_and_tells_all_routes(gateway):
    _, document, _ = await gateway.send("GET", "/openapi.json")
    openapi_spec_validator.validate(document)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    ids = {operation["operationId"] for operation in operations}
    assert {"CreateReservation", "Submit", "UpdateSale", "WatchStock", "DeleteSaleSchedule"} <= ids
    assert all(operation["summary"] for operation in operations)
    create = document["paths"]["/v1/sales/{sale}/reservations"]["post"]
    assert "429" in create["responses"]


async def test_the_documentation_needs_nothing_from_elsewhere(gateway):
    async with gateway.session.get(gateway.url + "/docs") as response:
        page = await response.text()
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "https://" not in page.replace("https://inventory.holdfast.dev", "")
    assert "openapi.json" in page


async def test_every_answer_tells_the_build(gateway):
    for path in ("/health/live", "/v1/sales/s/items/i", "/v1/nothing"):
        _, _, headers = await gateway.send("GET", path)
        assert headers["X-Deployment-Version"] == "test-version"


@pytest.mark.parametrize("given", ["bad id", "x" * 129, 'a"b'])
async def test_a_request_id_that_is_not_fit_for_a_log_is_replaced(gateway, given):
    _, _, headers = await gateway.send("GET", "/v1/sales/s/items/i", headers={"X-Request-Id": given})
    assert headers["X-Request-Id"] != given


async def test_only_exact_origins_may_call(start_gateway):
    gateway = await start_gateway(cors_origins=("https://shop.example",))
    path = "/v1/sales/s/items/i"
    _, _, allowed = await gateway.send("GET", path, headers={"Origin": "https://shop.example"})
    _, _, refused = await gateway.send("GET", path, headers={"Origin": "https://shop.example.evil"})
    assert allowed["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "Access-Control-Allow-Origin" not in refused
    assert allowed["Vary"] == refused["Vary"] == "Origin"


async def test_a_preflight_tells_methods_and_headers(start_gateway):
    gateway = await start_gateway(cors_origins=("https://shop.example",))
    headers = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    status, _, answered = await gateway.send("OPTIONS", "/v1/sales/s/reservations", headers=headers)
    assert status == 204
    assert "POST" in answered["Access-Control-Allow-Methods"]
    assert {"Authorization", "Idempotency-Key"} <= set(answered["Access-Control-Allow-Headers"].split(", "))


async def test_a_refusal_can_be_read_across_origins(start_gateway):
    gateway = await start_gateway(cors_origins=("https://shop.example",))
    status, _, headers = await gateway.send("GET", "/v1/nothing", headers={"Origin": "https://shop.example"})
    assert status == 404
    assert {"Retry-After", "RateLimit", "WWW-Authenticate"} <= set(headers["Access-Control-Expose-Headers"].split(", "))
    assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
