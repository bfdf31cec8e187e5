"""The times of faults depend on the seed alone, and a long run has all of them."""

from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

from lab.chaos.faults import FAULTS
from lab.chaos.schedule import brief_schedule, schedule

SECONDS = 150.0


def topology():
    inventories = [SimpleNamespace(name=f"inventory-{number}") for number in (1, 2, 3)]
    gateways = [SimpleNamespace(name=f"gateway-{number}") for number in (1, 2)]
    links = {f"client -> {service.name}": None for service in (*inventories, *gateways)}
    return SimpleNamespace(
        inventories=inventories, gateways=gateways, services=[*inventories, *gateways], links=links | {"a -> b": None}
    )


def of(seed, faults=tuple(FAULTS)):
    return schedule(seed, topology(), SECONDS, faults)


def test_a_seed_gives_the_same_schedule_again():
    assert of(7) == of(7)
    assert of(7) != of(8)
    assert brief_schedule(7, topology()) == brief_schedule(7, topology())


def test_every_fault_strikes_in_a_long_run_and_none_far_more_than_another():
    times = Counter(injection.fault for injection in of(7))
    assert times.keys() == FAULTS.keys()
    assert max(times.values()) - min(times.values()) <= 1


def test_strikes_overlap_and_leave_healthy_moments():
    injections = of(7)
    begins = [injection.at for injection in injections]
    assert begins == sorted(begins)
    assert any(later.at < injection.at + injection.seconds for injection, later in pairwise(injections))
    assert max(later - earlier for earlier, later in pairwise(begins)) > 2.0


def test_only_the_chosen_faults_are_injected():
    assert {injection.fault for injection in of(7, ("kill", "cut-link"))} == {"kill", "cut-link"}


def test_half_a_minute_has_all_that_a_run_must_have_met():
    faults = [injection.fault for injection in brief_schedule(7, topology())]
    assert faults.count("kill-in-commit") >= 2
    assert {"promote-standby", "kill-primary", "rolling-restart", "garble-valkey"} <= set(faults)
