"""Ids that are bound to request ids, and fingerprints of a request's meaning."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_inventory.domain import identity
from holdfast_inventory.domain.movement import AdjustReason
from holdfast_inventory.domain.reservation import Line, merge_lines

SALT = b"s" * identity.SALT_BYTES
LINES = (Line("shoe", 1), Line("sock", 2))


PLAIN = "011c7f21031269b7670c235a52bfa288e5"


def fingerprint(**changes: object) -> bytes:
    meaning = {
        "customer": "ann",
        "lines": LINES,
        "hold_time": None,
        "allow_partial": False,
        "confirm": False,
        "order": "",
    }
    return identity.create_fingerprint(**(meaning | changes))


def test_a_reservations_id_never_changes_from_release_to_release():
    """Otherwise a request that is repeated across a deployment would take effect twice."""
    assert UUID("949db2ff-544b-0d89-0c71-dc9e3b14be0a") == identity.reservation_id(SALT, "ann", "r-1")


def test_an_id_depends_on_salt_customer_and_request():
    ids = {
        identity.reservation_id(SALT, "ann", "r-1"),
        identity.reservation_id(SALT, "bob", "r-1"),
        identity.reservation_id(SALT, "ann", "r-2"),
        identity.reservation_id(b"t" * identity.SALT_BYTES, "ann", "r-1"),
        identity.stock_change_id(SALT, "r-1"),
    }
    assert len(ids) == 5


@given(st.tuples(st.text("a1:", max_size=3), st.text("a1:", max_size=3)), st.data())
def test_no_two_pairs_of_customer_and_request_share_an_id(pair, data):
    other = data.draw(st.tuples(st.text("a1:", max_size=3), st.text("a1:", max_size=3)))

    same = identity.reservation_id(SALT, *pair) == identity.reservation_id(SALT, *other)

    assert same == (pair == other)


@pytest.mark.parametrize(
    "change",
    [
        {"customer": "bob"},
        {"lines": LINES[:1]},
        {"lines": (Line("shoe", 1), Line("sock", 3))},
        {"lines": (Line("shoe1", 1), Line("sock", 2))},
        {"hold_time": timedelta(seconds=60)},
        {"allow_partial": True},
        {"confirm": True},
        {"order": "o-1"},
    ],
)
def test_every_part_of_a_create_is_part_of_its_meaning(change):
    assert fingerprint() != fingerprint(**change)


def test_a_hold_time_of_a_microsecond_more_is_another_meaning():
    shorter, longer = timedelta(days=30), timedelta(days=30, microseconds=1)

    assert fingerprint(hold_time=shorter) != fingerprint(hold_time=longer)


def test_what_moves_from_one_field_to_the_next_changes_the_meaning():
    assert fingerprint(customer="ann", order="1") != fingerprint(customer="ann1", order="")


@given(st.permutations([Line("shoe", 1), Line("sock", 2), Line("shoe", 3), Line("boot", 1)]))
def test_lines_mean_the_same_in_any_order_and_split_in_any_way(lines):
    assert (Line("boot", 1), Line("shoe", 4), Line("sock", 2)) == merge_lines(lines)


def test_every_part_of_an_adjustment_is_part_of_its_meaning():
    meanings = [
        ("shoe", 1, AdjustReason.FOUND, None),
        ("sock", 1, AdjustReason.FOUND, None),
        ("shoe", -1, AdjustReason.FOUND, None),
        ("shoe", 1, AdjustReason.COUNTED, None),
        ("shoe", 1, AdjustReason.FOUND, 0),
    ]
    assert len(meanings) == len({identity.adjust_fingerprint(*meaning) for meaning in meanings})


def test_every_part_of_a_transfer_is_part_of_its_meaning():
    meanings = [
        ("shoe", "outlet", "shoe", 1),
        ("sock", "outlet", "shoe", 1),
        ("shoe", "attic", "shoe", 1),
        ("shoe", "outlet", "sock", 1),
        ("shoe", "outlet", "shoe", 2),
    ]
    assert len(meanings) == len({identity.transfer_fingerprint(*meaning) for meaning in meanings})


def test_an_adjustment_is_never_taken_for_a_transfer():
    adjustment = identity.adjust_fingerprint("shoe", 1, AdjustReason.FOUND, None)

    assert adjustment != identity.transfer_fingerprint("shoe", "outlet", "shoe", 1)


def test_a_fingerprint_tells_by_which_rules_it_was_made():
    made = [
        fingerprint(),
        identity.adjust_fingerprint("shoe", 1, AdjustReason.FOUND, None),
        identity.transfer_fingerprint("shoe", "outlet", "shoe", 1),
    ]
    assert {each[:1] for each in made} == {b"\x01"}


def test_stored_meanings_stay_what_they_are():
    """Fingerprints of old requests: if a release changed them, it would refuse replays across a deploy."""
    plain = identity.create_fingerprint("ann", (Line("shoe", 1),), None, allow_partial=False, confirm=False, order="")
    assert plain.hex() == PLAIN
