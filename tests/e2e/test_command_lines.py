"""The command lines of both services, as operators and container health checks use them."""

import json
import re
import sys

import pytest

from tests.support.programs import run, succeed

INVENTORY = [sys.executable, "-m", "holdfast_inventory"]
GATEWAY = [sys.executable, "-m", "holdfast_gateway"]


async def test_migrate_tells_before_it_does_and_then_has_nothing_to_do(empty_database_url):
    database = {"DATABASE_URL": empty_database_url}
    planned = await succeed(*INVENTORY, "migrate", "--dry-run", **database)
    assert "would run" in planned
    done = await succeed(*INVENTORY, "migrate", **database)
    assert [line.removeprefix("ran ") for line in done.splitlines() if line.startswith("ran ")] == [
        line.removeprefix("would run ") for line in planned.splitlines() if line.startswith("would run ")
    ]
    assert "nothing to do" in await succeed(*INVENTORY, "migrate", **database)


async def test_migrate_goes_down_again(empty_database_url):
    database = {"DATABASE_URL": empty_database_url}
    await succeed(*INVENTORY, "migrate", **database)
    assert "ran " in await succeed(*INVENTORY, "migrate", "--to", "0", **database)
    assert "ran " in await succeed(*INVENTORY, "migrate", **database)


async def test_health_answers_by_exit_code(cluster, free_port):
    settings = {"DATABASE_URL": cluster.database_url, "HOLDFAST_METRICS_HOST": "127.0.0.1"}
    settings |= {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    port = cluster.inventories[0].metrics_port
    assert "SERVING" in await succeed(*INVENTORY, "health", HOLDFAST_METRICS_PORT=port, **settings)
    refused = await run(*INVENTORY, "health", HOLDFAST_METRICS_PORT=str(free_port()), **settings)
    assert refused.status == 1


async def test_gateway_health_answers_by_exit_code(cluster, free_port):
    settings = {"HOLDFAST_METRICS_HOST": "127.0.0.1"}
    port = cluster.gateway.metrics_port
    assert '"UP"' in await succeed(*GATEWAY, "health", HOLDFAST_GATEWAY_METRICS_PORT=port, **settings)
    refused = await run(*GATEWAY, "health", HOLDFAST_GATEWAY_METRICS_PORT=str(free_port()), **settings)
    assert refused.status == 1


async def test_secret_comes_from_a_file_and_the_rest_from_another(cluster, tmp_path):
    (tmp_path / "url").write_text(cluster.database_url + "\n")
    port = int(cluster.inventories[1].metrics_port)
    (tmp_path / "settings.json").write_text(json.dumps({"metrics_port": port, "metrics_host": "127.0.0.1"}))
    options = ["health", "--config", tmp_path / "settings.json"]
    assert "SERVING" in await succeed(*INVENTORY, *options, DATABASE_URL_FILE=str(tmp_path / "url"))


@pytest.mark.parametrize("service", ["inventory", "gateway", "edge"])
async def test_faults_of_traces_are_reported_with_those_of_the_settings(service):
    faulty = {
        "HOLDFAST_LOG_LEVEL": "loud",
        "DATABASE_URL": "postgresql://shop@db/shop",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
    }
    refused = await run(sys.executable, "-m", f"holdfast_{service}", "serve", **faulty)
    assert refused.status == 2
    assert refused.output.splitlines() == [
        "the settings cannot be used:",
        "  OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json', not grpc or http/protobuf",
        "  OTEL_EXPORTER_OTLP_ENDPOINT is not http://host:port or https://host:port",
        "  HOLDFAST_LOG_LEVEL: Input should be 'debug', 'info', 'warning' or 'error'",
    ]


async def test_unusable_urls_are_reported_with_all_other_faults_and_without_their_text():
    faulty = {
        "HOLDFAST_LOG_LEVEL": "loud",
        "DATABASE_URL": "postgresql://shop:a#s3cret/s3cret@db/shop?sslmode=requir",
        "REDIS_URL": "redis://:s3cret/s3cret@cache/0",
    }
    for command in ("serve", "migrate"):
        refused = await run(*INVENTORY, command, **faulty)
        assert refused.status == 2
        assert {line.split(":")[0].strip() for line in refused.output.splitlines()[1:]} == set(faulty)
        assert "s3c" not in refused.output


LOOPBACK = {"HOLDFAST_GRPC_HOST": "127.0.0.1", "HOLDFAST_METRICS_PORT": "0"}


async def test_a_database_that_is_not_there_is_waited_for_and_told_with_the_reason(free_port):
    url = f"postgresql://shop:s3cret@127.0.0.1:{free_port()}/shop"
    for command in ("serve", "migrate"):
        refused = await run(*INVENTORY, command, DATABASE_URL=url, HOLDFAST_DATABASE_WAIT_SECONDS="0.5", **LOOPBACK)
        assert refused.status == 1
        assert re.search(r"waiting for the database.*Connection refused", refused.output)
        assert re.search(r"no database within 0\.5 s: .*Connection refused", refused.output)
        assert "Traceback" not in refused.output
        assert "s3cret" not in refused.output


async def test_a_database_that_refuses_us_is_not_waited_for(empty_database_url):
    url = re.sub(r":[^:@]*@", ":s3cret@", empty_database_url)
    for command in ("serve", "migrate"):
        refused = await run(*INVENTORY, command, DATABASE_URL=url, HOLDFAST_DATABASE_WAIT_SECONDS="3600", **LOOPBACK)
        assert refused.status == 1
        assert "the database refuses the user or its password" in refused.output
        assert "Traceback" not in refused.output
        assert "s3cret" not in refused.output


@pytest.mark.parametrize("service", [INVENTORY, GATEWAY], ids=["inventory", "gateway"])
async def test_all_faulty_settings_are_reported_at_once_and_no_secret(service):
    faulty = {
        "HOLDFAST_DRAIN_MIN_SECONDS": "soon",
        "HOLDFAST_METRICS_HOTS": "x",
        "HOLDFAST_LOG_LEVEL": "loud",
        "DATABASE_URL": "postgresql://holdfast:s3cret@127.0.0.1/holdfast",
    }
    refused = await run(*service, "serve", **faulty)
    assert refused.status == 2
    for name in ("HOLDFAST_DRAIN_MIN_SECONDS", "HOLDFAST_METRICS_HOTS", "HOLDFAST_METRICS_HOST", "HOLDFAST_LOG_LEVEL"):
        assert name in refused.output
    assert "s3cret" not in refused.output
