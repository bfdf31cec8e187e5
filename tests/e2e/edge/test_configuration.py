"""The configuration is valid for Envoy, and its limits fit those of the services behind it."""

import json
import re
import resource
import subprocess
import sys

import pytest
from pydantic import ValidationError

from holdfast.inventory.v1 import reservation_service_pb2, sale_service_pb2
from holdfast_chassis.concurrency import SHARES
from holdfast_chassis.contract import METHODS, Kind
from holdfast_edge.configuration import render
from holdfast_edge.envoy import command, configuration_file
from holdfast_edge.settings import EdgeSettings
from holdfast_gateway.cors import Cors
from holdfast_gateway.settings import GatewaySettings
from holdfast_inventory.settings import InventorySettings
from tests.support.certificates import write_certificate

CLUSTERS = ("gateways", "gateways_looks", "inventories", "inventories_looks")


def rendered(**settings):
    return json.loads(render(EdgeSettings(**settings), "1.2.3"))


def manager():
    listener = next(each for each in rendered()["static_resources"]["listeners"] if each["name"] == "plain")
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def routes():
    return {route["name"]: route for route in manager()["route_config"]["virtual_hosts"][0]["routes"]}


def cluster(name):
    return next(each for each in rendered()["static_resources"]["clusters"] if each["name"] == name)


def seconds(text):
    return float(text.removesuffix("s"))


def validate(environment):
    return subprocess.run(
        [sys.executable, "-m", "holdfast_edge", "validate"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )


def test_envoy_accepts_it_without_a_warning():
    result = validate({})
    assert result.returncode == 0, result.stdout
    assert not re.search('"level":"(warning|error|critical)"', result.stdout), result.stdout


def test_envoy_accepts_it_with_tls_and_several_upstreams(tmp_path):
    write_certificate(tmp_path)
    result = validate(
        {
            "HOLDFAST_EDGE_TLS_DIR": str(tmp_path),
            "HOLDFAST_EDGE_GATEWAYS": "10.0.0.1:80,[::1]:81",
            "HOLDFAST_EDGE_INVENTORIES": "inventory-0.inventory:50051, inventory-1.inventory:50051",
            "HOLDFAST_CORS_ORIGINS": "https://a.example,https://b.example",
        }
    )
    assert result.returncode == 0, result.stdout


def test_it_may_be_longer_than_an_argument_of_a_process():
    limit = 32 * resource.getpagesize()
    origins = ",".join(f"https://{number}.shop.example" for number in range(limit // 20))
    configuration = render(EdgeSettings(cors_origins=origins), "1.2.3")
    assert len(configuration) > limit
    with configuration_file(configuration) as file:
        result = subprocess.run([*command(file), "--mode", "validate"], pass_fds=[file], timeout=30, check=False)
    assert result.returncode == 0


def test_all_faults_of_the_settings_are_told_together(tmp_path):
    result = validate(
        {
            "HOLDFAST_EDGE_GATEWAYS": "gateway",
            "HOLDFAST_EDGE_THREDS": "2",
            "HOLDFAST_EDGE_HTTP_PORT": "0",
            "HOLDFAST_HTTP_PORT": "8080",
        }
    )
    assert result.returncode == 2
    assert [line.split(":")[0].strip() for line in result.stdout.splitlines()[1:]] == [
        "HOLDFAST_EDGE_THREDS",
        "HOLDFAST_EDGE_GATEWAYS",
        "HOLDFAST_EDGE_HTTP_PORT",
    ]


def test_a_value_cannot_break_out_of_its_place():
    origin = 'https://a.example"}]\nadmin: {}'
    assert cors_policy(cors_origins=[origin])["allow_origin_string_match"] == [{"exact": origin}]


def test_a_browser_may_send_to_the_edge_and_read_from_it_what_it_may_at_a_gateway():
    origin = "https://shop.example"
    gateway, edge = Cors([origin]), cors_policy(cors_origins=[origin])
    told = dict(gateway.headers(origin) + gateway.preflight(origin, []))
    for at_gateway, at_edge in (
        ("access-control-allow-headers", "allow_headers"),
        ("access-control-expose-headers", "expose_headers"),
    ):
        assert set(told[at_gateway].split(", ")) <= set(edge[at_edge].split(", "))


def cors_policy(**settings):
    hosts = manager_of(rendered(**settings))["route_config"]["virtual_hosts"]
    return hosts[0]["typed_per_filter_config"]["envoy.filters.http.cors"]


def manager_of(document):
    listener = next(each for each in document["static_resources"]["listeners"] if each["name"] == "plain")
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


@pytest.mark.parametrize("address", ["gateway", "gateway:0", "gateway:70000", ":80", "a b:80", ""])
def test_an_upstream_must_be_host_and_port(address):
    with pytest.raises(ValidationError):
        EdgeSettings(edge_gateways=address)


def test_an_answer_is_waited_for_longer_than_the_gateway_may_take():
    settings = GatewaySettings()
    longest = settings.request_timeout_max_seconds
    assert all(seconds(routes()[name]["route"]["timeout"]) > longest for name in ("rest", "rest_read", "grpc"))
    assert EdgeSettings().edge_finish_seconds >= seconds(routes()["rest"]["route"]["timeout"])


def test_a_watch_may_be_silent_for_longer_than_its_heartbeats():
    over_grpc = InventorySettings(database_url="postgresql://not-asked").watch_heartbeat_seconds
    heartbeats = {"rest_watch": GatewaySettings().stream_heartbeat_seconds}
    heartbeats |= dict.fromkeys(("grpc_watch", "grpc_health_watch"), over_grpc)
    for name, heartbeat in heartbeats.items():
        assert seconds(routes()[name]["route"]["idle_timeout"]) >= 3 * heartbeat
        assert routes()[name]["route"]["timeout"] == "0s"


def test_an_idle_connection_to_a_gateway_is_closed_before_the_gateway_does():
    for name in ("gateways", "gateways_looks"):
        options = cluster(name)["typed_extension_protocol_options"]
        idle = options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["common_http_protocol_options"]
        assert 2 * seconds(idle["idle_timeout"]) <= GatewaySettings().header_timeout_seconds


def test_what_the_edge_lets_through_the_gateway_takes():
    settings = GatewaySettings()
    assert manager()["max_request_headers_kb"] * 1024 + 2048 <= settings.header_limit_bytes
    buffer = next(each for each in manager()["http_filters"] if each["name"].endswith(".buffer"))
    assert buffer["typed_config"]["max_request_bytes"] == settings.body_limit_bytes


def test_a_drain_of_a_service_outlasts_its_discovery():
    for name in CLUSTERS:
        check = cluster(name)["health_checks"][0]
        noticed = seconds(check["interval"]) + seconds(check["interval_jitter"]) + seconds(check["timeout"])
        assert noticed < GatewaySettings().drain_min_seconds


def test_only_what_may_be_sent_twice_is_retried_after_it_was_sent():
    for route in routes().values():
        reads = route["name"] in ("rest_watch", "rest_read", "pages")
        retried = route.get("route", {}).get("retry_policy", {"retry_on": ""})["retry_on"].split(",")
        assert ("reset" in retried) == reads
        assert set(retried) <= {"connect-failure", "refused-stream", "reset-before-request", "reset", ""}


def pattern_of(name):
    return re.compile(routes()[name]["match"]["safe_regex"]["regex"])


@pytest.mark.parametrize(
    ("protocol", "kind", "name"),
    [
        ("grpc", Kind.WATCH, "grpc_watch"),
        ("grpc", Kind.READ, "grpc_read"),
        ("grpc", Kind.FINISH, "grpc_end"),
        ("rest", Kind.WATCH, "rest_watch"),
        ("rest", Kind.FINISH, "rest_end"),
    ],
)
def test_each_kind_of_request_finds_its_route(protocol, kind, name):
    """Each has a limit of its own; watches have none in time."""
    pattern = pattern_of(name)
    for method in METHODS:
        for path in paths_of(method, protocol):
            assert bool(pattern.fullmatch(path)) == (method.kind is kind), path


def paths_of(method, protocol):
    if protocol == "grpc":
        return [method.path]
    return [re.sub(r"\{[\w.]+=?([^{}]*)\}", r"\1", each.template).replace("*", "x") for each in method.bindings]


def test_a_verb_is_found_however_its_colon_is_written():
    paths = [f"/v1/sales/drop-1/reservations/r{colon}confirm" for colon in (":", "%3A", "%3a")]
    assert all(map(pattern_of("rest_end").fullmatch, paths))


def test_a_sales_rate_counts_what_begins_purchases_with_any_query():
    rates = next(each for each in manager()["http_filters"] if each["name"].endswith(".local_ratelimit"))
    actions = rates["typed_config"]["rate_limits"][1]["actions"]
    begin = re.compile(actions[0]["header_value_match"]["headers"][1]["string_match"]["safe_regex"]["regex"])
    for method in METHODS:
        for path in paths_of(method, "rest"):
            counted = {bool(begin.fullmatch(path)), bool(begin.fullmatch(path + "?x=y"))}
            # A list has the path of what it lists, and another HTTP method.
            expected = method.kind is Kind.BEGIN or method.name == "ListReservations"
            assert counted == {expected}, path


def test_a_message_begins_with_its_sale():
    """sale.lua relies on this."""
    for file in (reservation_service_pb2, sale_service_pb2):
        for name, message in file.DESCRIPTOR.message_types_by_name.items():
            fields = message.fields_by_name
            for field in ("parent", "name"):
                if name.endswith("Request") and field in fields:
                    assert fields[field].number == 1, name


def test_what_ends_a_purchase_has_places_of_its_own():
    for name in ("rest_end", "grpc_end"):
        assert routes()[name]["route"]["priority"] == "HIGH"
    for name in ("rest", "grpc"):
        assert routes()[name]["route"]["priority"] == "DEFAULT"


def test_the_edge_lets_no_more_through_than_a_service_takes():
    limits = {
        (name, threshold["priority"]): threshold["max_requests"]
        for name in CLUSTERS
        for threshold in cluster(name)["circuit_breakers"]["thresholds"]
    }
    begin, read = limits["inventories", "DEFAULT"], limits["inventories_looks", "HIGH"]
    assert begin + read <= SHARES[Kind.BEGIN] * InventorySettings.model_fields["call_limit"].default


def test_no_replica_is_used_that_is_not_healthy():
    for name in CLUSTERS:
        assert cluster(name)["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}
        assert cluster(name)["ignore_health_on_host_removal"]
