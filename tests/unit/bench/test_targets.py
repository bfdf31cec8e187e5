"""Each target is one number out of a run, in the units and the direction that its slug promises."""

import pytest

from lab.bench.measure import Results, Scenario
from lab.bench.service_metrics import Batches
from lab.bench.targets import Reached, delay_ms, drift, reached


def scenario(rate=1000.0, *, p50_ms=1.0, batches=None, **cpu_us):
    return Scenario(64, rate, p50_ms, 9.0, 0, 1, {kind.replace("_", "-"): us for kind, us in cpu_us.items()}, batches)


@pytest.fixture
def results():
    """A run in which every target has another value."""
    return Results(
        scenarios={
            "empty_64": scenario(4000.0),
            "empty_256": scenario(5000.0, yardstick_grpc=200.0),
            "empty_256_again": scenario(5500.0),
            "reserve_64": scenario(5200.0),
            "reserve_256": scenario(8000.0, inventory=150.0, batches=Batches(10, 900, 0.1, 21)),
            "sold_out_256": scenario(inventory=90.0),
            "submit_of_100": scenario(inventory=30.0),
            "reserve_1": scenario(p50_ms=1.5),
            "naive_rest_64": scenario(300.0),
            "rest_64": scenario(3300.0, gateway=100.0, inventory=60.0),
            "naive_rest_256": scenario(200.0),
            "rest_256": scenario(2400.0),
            "one_inventory_256": scenario(2000.0),
            "two_on_one_core_256": scenario(1800.0),
            "two_on_two_cores_256": scenario(2800.0),
            "delay_0ms_256": scenario(2000.0),
            "delay_1ms_256": scenario(1500.0),
        },
        insert_p50_ms=0.5,
        link_insert_p50_ms={1: 1.75, 0: 0.5},
        resident_mb={200: {"inventory": 99.0, "gateway": 84.0}, 100: {"inventory": 90.0, "gateway": 80.0}},
    )


EXPECTED = {
    "reserve_cpu": (0.75, 0.8, True),
    "sold_out_cpu": (0.45, 0.5, True),
    "submit_cpu": (0.15, 0.2, True),
    "rest_cpu": (0.8, 0.9, True),
    "reserve_64": (1.3, 1.2, True),
    "reserve_256": (1.6, 1.5, True),
    "rest_naive_64": (11.0, 10.0, True),
    "rest_naive_256": (12.0, 15.0, False),
    "batch_trips": (2.1, 2.0, False),
    "two_inventories_one_core": (0.9, 1.0, False),
    "two_inventories_two_cores": (1.4, 1.3, True),
    "delay_1ms": (0.75, 0.8, False),
    "lone_caller": (3.0, 2.0, False),
    "resident_inventory_mb": (99.0, 90.0, False),
    "resident_gateway_mb": (84.0, 90.0, True),
    "resident_growth": (1.1, 1.05, False),
}


def test_every_slug_is_made_of_what_it_names(results):
    found = {slug: (each.value, each.target, each.is_met) for slug, each in reached(results).items()}
    assert found.keys() == EXPECTED.keys()
    for slug, (value, target, is_met) in EXPECTED.items():
        assert found[slug][0] == pytest.approx(value), slug
        assert found[slug][1:] == (target, is_met), slug


def test_an_inventory_with_envoy_embedded_may_have_more_memory(results):
    results.has_envoy_embedded = True
    assert reached(results)["resident_inventory_mb"].target == 170.0


def test_drift_is_how_much_faster_the_machine_has_become(results):
    assert drift(results) == pytest.approx(1.1)


def test_the_delay_is_what_it_made_of_a_statement(results):
    assert delay_ms(results) == pytest.approx(1.25)


@pytest.mark.parametrize(("sign", "share"), [("<=", 2.0), (">=", 0.5)])
def test_a_share_of_one_or_more_is_a_target_met(sign, share):
    assert Reached("", 1.0, sign, 2.0).share == share
    assert Reached("", 1.0, sign, 2.0).is_met == (share >= 1)
    assert Reached("", 2.0, sign, 2.0).is_met
