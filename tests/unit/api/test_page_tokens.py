"""A page token is valid only for the list that it came from."""

import base64

import pytest

from holdfast_inventory.api import page_tokens

BOUND_TO = ("sales", "0", "")


@pytest.mark.parametrize("cursor", ["", "drop-1", "2026-01-01T00:00:00+00:00/x", "\N{SNOWMAN}"])
def test_a_token_gives_its_cursor_back(cursor):
    assert page_tokens.decode(page_tokens.encode(cursor, *BOUND_TO), *BOUND_TO) == cursor


def test_a_token_of_other_filters_is_refused():
    token = page_tokens.encode("drop-1", *BOUND_TO)
    assert page_tokens.decode(token, "sales", "2", "") is None
    assert page_tokens.decode(token, "sales", "", "0") is None


def test_a_token_changed_in_any_character_is_refused():
    token = page_tokens.encode("drop-1", *BOUND_TO)
    changed = [token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :] for i in range(len(token))]
    assert [page_tokens.decode(each, *BOUND_TO) for each in changed] == [None] * len(token)


@pytest.mark.parametrize(
    "token", ["", "x", "====", "\N{SNOWMAN}", "A" * 100_000, base64.b64encode(b"\xff" * 20).decode()]
)
def test_garbage_is_refused(token):
    assert page_tokens.decode(token, *BOUND_TO) is None


def test_the_last_page_has_no_token():
    assert page_tokens.next_page(None, BOUND_TO) == ""
    assert page_tokens.decode(page_tokens.next_page("x", BOUND_TO), *BOUND_TO) == "x"
