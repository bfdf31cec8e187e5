"""Labels and notes are kept as texts that are the same for the same meaning."""

import json

from holdfast_inventory.domain.labels import has_labels, labels_of, labels_text, notes_text


def test_labels_are_the_same_text_in_any_order_and_read_again():
    text = labels_text({"season": "autumn", "channel": "web", "empty": ""})
    assert (
        text == labels_text({"empty": "", "channel": "web", "season": "autumn"}) == "channel=web,empty=,season=autumn"
    )
    assert labels_of(text) == {"channel": "web", "season": "autumn", "empty": ""}
    assert labels_of("") == {}


def test_a_sale_is_found_only_by_whole_labels():
    text = labels_text({"season": "autumn", "channel": "web"})
    assert has_labels(text, ["season=autumn", "channel=web"])
    assert not has_labels(text, ["season=aut"])
    assert not has_labels("", ["season=autumn"])
    assert has_labels("", [])


def test_notes_have_only_what_is_noted_in_one_order():
    assert notes_text("", {}, {}) is None
    assert json.loads(notes_text("", {"b": "1", "a": "2"}, {}) or "") == {"labels": {"a": "2", "b": "1"}}
    assert notes_text("x", {"b": "1", "a": "2"}, {}) == notes_text("x", {"a": "2", "b": "1"}, {})
