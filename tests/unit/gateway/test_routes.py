"""Routes come from the protos alone."""

import pytest

from holdfast_chassis.contract import SERVICES
from holdfast_gateway.coalescer import command_field
from holdfast_gateway.problems import ProblemError
from holdfast_gateway.routes import RouteTable, Variable, parse_template, routes_of

ROUTES = routes_of(SERVICES)
TABLE = RouteTable(ROUTES)


def find(method, path):
    found = TABLE.find(path)
    return found[0].get(method) if found else None


def test_every_method_has_a_route():
    methods = {rpc.full_name for service in SERVICES for rpc in service.methods}
    assert {route.rpc.full_name for route in ROUTES} == methods


def example(route):
    """Return a path that the route takes."""
    return "/" + "/".join("x" if s == "*" else s for s in route.segments) + (f":{route.verb}" if route.verb else "")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.rpc.name)
def test_a_path_leads_to_its_route(route):
    assert find(route.http_method, example(route)) is route


@pytest.mark.parametrize(
    "path",
    ["", "/", "/v1", "/v1/", "/v1/sales/", "/v1/sales/a/", "/v1/sales/a:", "/v2/sales", "/v1/sales/a/items/b/c"],
)
def test_other_paths_lead_nowhere(path):
    found = TABLE.find(path)
    assert found is None or path == "/v1/sales/a:"


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/v1/sales/drop%2D1", ["v1", "sales", "drop-1"]),
        ("/v1/%73ales/a", ["v1", "sales", "a"]),
        ("/v1/sales/caf%C3%A9", ["v1", "sales", "caf\u00e9"]),
        ("/v1/sales/a%2525", ["v1", "sales", "a%25"]),
        ("/v1/./sales/x/../a", ["v1", "sales", "a"]),
        ("/v1/sales/%2e%2E/sales/a", ["v1", "sales", "a"]),
        ("/../../v1/sales/a", ["v1", "sales", "a"]),
        ("/v1/sales/.a", ["v1", "sales", ".a"]),
        ("/v1\\sales/a", ["v1", "sales", "a"]),
    ],
)
def test_a_path_is_decoded_once_and_segment_by_segment(path, segments):
    assert TABLE.find(path)[1] == segments


@pytest.mark.parametrize("path", ["/v1//sales/a", "/v1/sales/a/..", "/v1/sales/."])
def test_an_empty_segment_is_a_segment(path):
    assert TABLE.find(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "/v1/sales/drop-1%2Fitems%2Fx",
        "/v1/sales/drop-1%2fitems/x",
        "/v1%2Fsales",
        "/v1/sales/a%5Cb",
        "/v1/sales/%ff",
        "/v1/sales/a%00",
        "/v1/sales/\xe9",
    ],
)
def test_a_path_that_can_be_read_two_ways_is_refused(path):
    with pytest.raises(ProblemError) as refused:
        TABLE.find(path)
    assert refused.value.problem.reason.http_status == 400


def test_a_template_is_taken_apart():
    assert parse_template("/v1/{sale.name=sales/*}/items/{item}:go") == (
        ("v1", "sales", "*", "items", "*"),
        "go",
        (Variable(("sale", "name"), 1, 3), Variable(("item",), 4, 5)),
    )


@pytest.mark.parametrize("template", ["v1/x", "/v1/{name=**}", "/v1/{name", "/v1/{a=b/{c}}"])
def test_a_template_that_is_not_understood_stops_the_start(template):
    with pytest.raises(ValueError, match="cannot route"):
        parse_template(template)


def test_two_methods_for_one_path_stop_the_start():
    with pytest.raises(ValueError, match="two methods"):
        RouteTable([*ROUTES, ROUTES[0]])


def test_what_submit_can_carry_is_found_by_its_shape():
    carried = {route.rpc.name: command_field(route) for route in ROUTES if command_field(route)}
    assert carried == {
        "CreateReservation": "create",
        "ConfirmReservation": "confirm",
        "ReleaseReservation": "release",
        "ExtendReservation": "extend",
    }
