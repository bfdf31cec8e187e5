"""Exactly once: the ledger has what was acknowledged, and nothing else."""

from datetime import timedelta

import pytest

from tests.unit.chaos.lies import forget, tale_of
from tests.unit.chaos.stage import Stage, adjustment, creation, time_message, transfer


def rules(stage: Stage) -> set[str]:
    return {violation.rule for violation in stage.verdict().violations}


# Creates


def test_an_acknowledged_create_that_a_failover_lost_is_found():
    stage = Stage()
    name = stage.create(key="k")
    tale = tale_of(stage)
    forget(tale, name)
    assert tale.rules() == {"acknowledged-lost"}


def test_a_replay_that_acknowledged_what_a_failover_lost_is_found():
    """The first was never answered; the replay was answered before it was durable."""
    stage = Stage()
    first = stage.invoke("create", **creation(key="k"))
    stage.apply(first)
    stage.lose(first)
    name = stage.create(key="k")
    tale = tale_of(stage)
    forget(tale, name)
    assert tale.rules() == {"acknowledged-lost"}


def test_an_unknown_create_may_have_happened_or_not():
    happened, vanished = Stage(), Stage()
    for stage in (happened, vanished):
        call = stage.invoke("create", **creation(key="k"))
        if stage is happened:
            stage.apply(call)
        stage.lose(call)
        assert rules(stage) == set()


def test_an_unknown_create_may_happen_after_all_callers_gave_up():
    stage = Stage()
    call = stage.invoke("create", **creation(key="k"))
    stage.lose(call)
    stage.wait(3)
    stage.apply(call)
    assert rules(stage) == set()


def test_a_create_that_was_never_answered_may_have_happened():
    stage = Stage()
    stage.apply(stage.invoke("create", **creation(key="k")))
    assert rules(stage) == set()


def test_a_refused_create_that_happened_is_found():
    stage = Stage()
    call = stage.invoke("create", **creation(key="k"))
    stage.apply(call)
    stage.refuse(call)
    assert rules(stage) == {"refused-but-applied"}


def test_a_refused_create_that_happened_is_found_when_its_replay_shows_it():
    stage = Stage()
    call = stage.invoke("create", **creation(key="k"))
    stage.apply(call)
    stage.refuse(call)
    stage.wait(1)
    stage.create(key="k")
    assert rules(stage) == {"refused-but-applied"}


def test_a_create_that_was_refused_and_then_granted_is_correct():
    stage = Stage()
    stage.refuse(stage.invoke("create", **creation(key="k")))
    stage.wait(1)
    stage.create(key="k")
    assert rules(stage) == set()


def test_a_reservation_without_a_request_is_found():
    """A gateway that retries without a key creates two reservations."""
    stage = Stage()
    call = stage.invoke("create", **creation())
    stage.apply(call)
    stage.apply(call)
    stage.answer(call)
    assert rules(stage) == {"row-without-operation"}


def test_each_unknown_create_accounts_for_one_reservation():
    stage = Stage()
    for _ in range(2):
        call = stage.invoke("create", **creation())
        stage.apply(call)
        stage.lose(call)
    assert rules(stage) == set()
    stage.apply(call)
    assert rules(stage) == {"row-without-operation"}


def test_unknown_creates_are_matched_so_that_as_many_as_possible_fit():
    """A partial create may have got either of both, a complete one only its own."""
    stage = Stage()
    partial = stage.invoke("create", **creation(lines={"x": 2}, allow_partial=True))
    whole = stage.invoke("create", **creation(lines={"x": 2}))
    stage.apply(whole)
    stage.apply(partial)
    stage.lose(partial)
    stage.lose(whole)
    assert rules(stage) == set()


def test_a_reservation_that_was_there_before_it_was_asked_for_is_out_of_time():
    stage = Stage()
    early = stage.invoke("create", **creation(key="k"))
    stage.apply(early)
    stage.events.clear()
    stage.wait(1)
    stage.create(key="k")
    assert rules(stage) == {"applied-out-of-time"}


def test_fields_that_differ_from_the_answer_are_found():
    stage = Stage()
    stage.create(key="k")
    tale = tale_of(stage)
    tale.events[-1].answer["expire_time"] = time_message(stage.clock.replace(year=2030))
    assert tale.rules() == {"fields-differ"}


def test_a_partial_create_may_get_less_than_it_asked_for():
    stage = Stage()
    stage.create(key="k", lines={"x": 9}, allow_partial=True)
    assert rules(stage) == set()


def test_a_whole_create_that_got_less_differs():
    stage = Stage()
    stage.create(key="k", lines={"x": 9}, allow_partial=True)
    tale = tale_of(stage)
    tale.events[0].request["allow_partial"] = False
    assert tale.rules() == {"fields-differ"}


def test_a_create_that_sells_at_once_does_not_hold():
    stage = Stage()
    stage.create(key="k")
    tale = tale_of(stage)
    tale.events[0].request["confirm"] = True
    assert tale.rules() == {"fields-differ"}


# Confirms, releases and extensions


def test_an_acknowledged_confirm_that_was_lost_is_found():
    stage = Stage()
    name = stage.create(key="k")
    tale = tale_of(stage)
    stage.do("confirm", name=name, order="o-1")
    tale.events[:] = stage.events
    assert "acknowledged-lost" in tale.rules()


def test_a_confirm_that_was_refused_as_expired_and_happened_is_found():
    stage = Stage()
    name = stage.create(key="k")
    call = stage.invoke("confirm", name=name, order="o-1")
    stage.apply(call)
    stage.refuse(call, "RESERVATION_EXPIRED")
    assert rules(stage) == {"refused-but-applied", "needless-refusal"}


def test_a_refused_confirm_does_not_matter_when_a_late_one_sold_it():
    stage = Stage()
    name = stage.create(key="k")
    stage.wait(3)
    stage.do("confirm", name=name, order="o-1")
    stage.do("confirm", name=name, order="o-1", allow_late=True)
    assert rules(stage) == set()


def test_of_two_racing_confirms_one_sells_and_the_other_may_be_unknown():
    stage = Stage()
    name = stage.create(key="k")
    first, second = (stage.invoke("confirm", name=name, order=f"o-{number}") for number in (1, 2))
    stage.apply(second)
    stage.apply(first)
    stage.answer(first)
    stage.lose(second)
    assert rules(stage) == set()


def test_a_sale_with_an_order_of_no_request_is_found():
    stage = Stage()
    stage.do("confirm", name=stage.create(key="k"), order="o-1")
    tale = tale_of(stage)
    tale.ledgers["sales/a"].reservations[0]["order"] = "o-2"
    assert {"row-without-operation", "fields-differ"} <= tale.rules()


def test_a_release_without_a_request_is_found():
    stage = Stage()
    stage.do("release", name=stage.create(key="k"))
    tale = tale_of(stage)
    del tale.events[2:]
    assert tale.rules() == {"row-without-operation"}


def test_a_cancelled_sale_releases_by_itself():
    stage = Stage()
    stage.do("release", name=stage.create(key="k"))
    tale = tale_of(stage)
    del tale.events[2:]
    tale.ledgers["sales/a"].sale["cancel_time"] = time_message(stage.clock)
    assert tale.rules() == set()


def test_an_extension_that_was_lost_is_found():
    stage = Stage()
    name = stage.create(key="k")
    tale = tale_of(stage)
    stage.do("extend", name=name, expire_time=time_message(stage.clock + timedelta(seconds=5)))
    assert rules(stage) == set()
    tale.events[:] = stage.events
    assert tale.rules() == {"acknowledged-lost"}


def test_an_extension_that_was_granted_and_is_shorter_differs():
    stage = Stage()
    name = stage.create(key="k")
    call = stage.do("extend", name=name, expire_time=time_message(stage.clock + timedelta(seconds=1)))
    assert rules(stage) == set(), "it was held longer already"
    call.request["expire_time"] = time_message(stage.clock + timedelta(seconds=3))
    assert rules(stage) == {"fields-differ"}


# Adjustments and transfers


def test_changes_belong_to_any_operation_of_their_key():
    stage = Stage()
    first = stage.invoke("adjust", **adjustment(2, "k1"))
    stage.apply(first)
    stage.lose(first)
    stage.do("adjust", **adjustment(2, "k1"))
    stage.do("transfer", **transfer(1, "k2"))
    assert rules(stage) == set()


def test_a_change_that_happened_twice_is_found():
    stage = Stage()
    call = stage.invoke("adjust", **adjustment(2, ""))
    stage.apply(call)
    stage.apply(call)
    stage.answer(call)
    assert rules(stage) == {"applied-twice"}


def test_a_change_that_was_lost_is_found():
    stage = Stage()
    tale = tale_of(stage)
    stage.do("adjust", **adjustment(2, "k"))
    tale.events[:] = stage.events
    assert "acknowledged-lost" in tale.rules()


def test_a_change_without_a_request_is_found():
    stage = Stage()
    stage.do("adjust", **adjustment(2, "k") | {"actor": "a ghost"})
    assert rules(stage) == {"row-without-operation", "acknowledged-lost"}


def test_a_change_by_other_units_differs():
    stage = Stage()
    stage.do("adjust", **adjustment(2, "k"))
    tale = tale_of(stage)
    tale.events[0].request["delta"] = 3
    assert tale.rules() == {"fields-differ"}


def test_a_change_of_the_expected_version_is_correct():
    stage = Stage()
    stage.create(key="k1")
    version = stage.stores["a"].items["x"].version
    stage.create(key="k2", lines={"y": 1})
    stage.do("adjust", **adjustment(2, "k3", version=version))
    stage.do("adjust", **adjustment(2, "k3", version=version))
    assert rules(stage) == set()


@pytest.mark.parametrize("error", [-1, 1])
def test_a_change_of_another_version_than_it_expects_is_found(error: int):
    """As when the version is not compared under the lock."""
    stage = Stage()
    stage.create(key="k1")
    call = stage.do("adjust", **adjustment(2, "k2", version=stage.stores["a"].items["x"].version))
    call.request["expected_version"] = str(int(call.request["expected_version"]) + error)
    assert rules(stage) == {"changed-unseen"}


def test_of_two_who_expect_the_same_version_one_may_change_it():
    stage = Stage()
    version = stage.stores["a"].items["x"].version
    rivals = [stage.invoke("adjust", **adjustment(2, f"k{number}", version=version)) for number in range(2)]
    for call in rivals:
        stage.apply(call)
        stage.answer(call)
    assert rules(stage) == set()
    assert stage.events[-1].reason == "STOCK_CHANGED"


def test_half_a_transfer_is_torn():
    stage = Stage()
    stage.do("transfer", **transfer(1, "k"))
    tale = tale_of(stage)
    tale.ledgers["sales/b"].movements.pop()
    assert "transfer-torn" in tale.rules()


def test_a_refused_change_that_happened_is_found():
    stage = Stage()
    call = stage.invoke("transfer", **transfer(1, "k"))
    stage.apply(call)
    stage.refuse(call)
    assert rules(stage) == {"refused-but-applied"}


def test_the_stock_that_a_sale_begins_with_needs_no_operation():
    assert rules(Stage()) == set()
