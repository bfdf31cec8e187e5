"""What a message has, when it is sent again, and how many are sent at once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_inventory.domain.movement import Movement, MovementKind
from holdfast_inventory.domain.webhook import (
    Concurrency,
    Delivery,
    DeliveryState,
    Message,
    Retry,
    RetryRules,
    Target,
    Webhook,
    after_failure,
    after_page,
    free_places,
    next_message,
)

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
RULES = RetryRules(SECOND, HOUR, DAY)


def movement(sequence, kind=MovementKind.HOLD):
    return Movement(sequence, kind, "cap", 0, 1, 0, None, None, "", NOW)


def test_a_message_has_the_movements_of_the_wanted_kinds_and_the_whole_range():
    page = [movement(8), movement(9, MovementKind.CONFIRM), movement(10)]
    target = Target("https://shop.example/", frozenset({MovementKind.CONFIRM}))
    assert next_message(Delivery("w", "drop-1", 7, 6), page, target) == Message("drop-1", 6, 10, [page[1]])
    assert next_message(Delivery("w", "drop-1", 7, 6), page, Target("https://shop.example/")).movements == page


def test_a_message_that_was_begun_is_made_from_the_same_movements_again():
    assert Delivery("w", "drop-1", 7, 7, through=10).next_movements == 3


def test_a_message_reaches_back_to_the_one_before_it_over_what_is_not_sent():
    delivery = Delivery("w", "drop-1", 7, 7)
    skipped = after_page(delivery, 9, sent=False)
    assert (skipped.position, skipped.sent) == (9, 7)
    message = next_message(skipped, [movement(10)], Target("https://shop.example/"))
    assert (message.after, message.through) == (7, 10)
    assert after_page(skipped, 10, sent=True) == Delivery("w", "drop-1", 10, 10)


def test_the_id_of_a_message_has_no_dot_and_is_that_of_no_other():
    ids = {
        Message(sale, after, through, ()).message_id
        for sale in ("a.b", "a-b", "a")
        for after, through in ((0, 1), (0, 11), (1, 11), (10, 11))
    }
    assert len(ids) == 12
    assert not any("." in each for each in ids)


def test_the_first_retry_follows_after_a_second_at_most_and_each_later_one_after_up_to_twice_as_long():
    delays = [
        after_failure(Delivery("w", "s", 0, 0, attempts=attempts), NOW, 1.0, RULES).delay for attempts in range(14)
    ]
    assert delays[:4] == [SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND]
    assert delays[-1] == HOUR


def test_jitter_takes_up_to_half_of_the_delay():
    assert after_failure(Delivery("w", "s", 0, 0), NOW, 0.0, RULES).delay == SECOND / 2


def test_a_receiver_that_asks_for_a_delay_gets_it_up_to_the_longest():
    asked = {minutes: timedelta(minutes=minutes) for minutes in (1, 1000)}
    assert after_failure(Delivery("w", "s", 0, 0), NOW, 1.0, RULES, asked[1]).delay == asked[1]
    assert after_failure(Delivery("w", "s", 0, 0), NOW, 1.0, RULES, asked[1000]).delay == HOUR


def test_a_delivery_is_parked_at_the_first_failure_a_day_after_the_first_one():
    failing = Delivery("w", "s", 0, 0, attempts=30, failing_since=NOW)
    assert after_failure(failing, NOW + DAY - SECOND, 1.0, RULES) == Retry(31, HOUR)
    assert after_failure(failing, NOW + DAY, 1.0, RULES) == Retry(31, None)


@given(
    st.builds(
        RetryRules,
        st.timedeltas(timedelta(milliseconds=1), HOUR),
        st.timedeltas(timedelta(milliseconds=1), DAY),
        st.timedeltas(timedelta(0), DAY),
    ),
    st.integers(0, 100_000),
    st.floats(0.0, 1.0),
)
def test_a_delay_is_never_zero_nor_over_the_longest(rules, attempts, jitter):
    delay = after_failure(Delivery("w", "s", 0, 0, attempts=attempts), NOW, jitter, rules).delay
    assert min(rules.first, rules.longest) / 2 <= delay <= rules.longest


@pytest.mark.parametrize(
    ("known", "state"),
    [
        (Delivery("w", "s", 5, 5), DeliveryState.DELIVERED),
        (Delivery("w", "s", 5, 5, due_at=NOW), DeliveryState.PENDING),
        (Delivery("w", "s", 5, 5, attempts=1, failing_since=NOW, due_at=NOW), DeliveryState.RETRYING),
        (Delivery("w", "s", 5, 5, attempts=1, failing_since=NOW, parked_at=NOW), DeliveryState.PARKED),
    ],
)
def test_a_delivery_is_in_the_state_that_its_fields_say(known, state):
    assert known.state is state


def test_the_old_secret_signs_until_it_ends():
    webhook = Webhook("w", Target("https://shop.example/"), False, b"new", b"old", NOW, NOW, NOW)
    assert webhook.secrets_at(NOW - SECOND) == (b"new", b"old")
    assert webhook.secrets_at(NOW) == (b"new",)


names = st.sampled_from("abcdef")
limits = st.builds(Concurrency, st.integers(1, 5), st.integers(1, 2), st.integers(6, 12))


@given(st.lists(names, unique=True), st.dictionaries(names, st.integers(1, 5)), st.sets(names), limits)
def test_places_keep_every_limit_and_leave_one_to_each_webhook(webhooks, in_flight, failing, limits):
    places = free_places(webhooks, in_flight, failing, limits)
    assert set(places) <= set(webhooks)
    assert all(free > 0 for free in places.values())
    for webhook in webhooks:
        most = limits.failing if webhook in failing else limits.per_webhook
        had, free = in_flight.get(webhook, 0), places.get(webhook, 0)
        assert had + free <= max(most, had)
        assert had or free
    busy = sum(in_flight.values())
    alone = sum(1 for webhook in webhooks if not in_flight.get(webhook))
    assert busy + sum(places.values()) <= max(limits.total, busy + alone)


@given(st.lists(names, unique=True), st.dictionaries(names, st.integers(1, 5)), st.sets(names), limits)
def test_no_place_stays_free_that_a_webhook_could_have(webhooks, in_flight, failing, limits):
    places = free_places(webhooks, in_flight, failing, limits)
    if sum(in_flight.values()) + sum(places.values()) < limits.total:
        for webhook in webhooks:
            most = limits.failing if webhook in failing else limits.per_webhook
            assert in_flight.get(webhook, 0) + places.get(webhook, 0) >= most
