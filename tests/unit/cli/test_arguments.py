"""What people type is understood, or refused with an example."""

from datetime import UTC, datetime

import pytest
import typer
from google.protobuf.duration_pb2 import Duration

from holdfast.inventory.v1.reservation_service_pb2 import Line
from holdfast.inventory.v1.sale_pb2 import Item
from holdfast_cli import arguments


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("2m", 120), ("1h30m", 5400), ("2d", 172_800)])
def test_durations_have_units(text, seconds):
    assert arguments.parse_duration(text) == Duration(seconds=seconds)


@pytest.mark.parametrize("text", ["", "90", "2 m", "-1m", "m", "1.5h", "٣m"])
def test_other_durations_are_refused_with_an_example(text):
    with pytest.raises(typer.BadParameter, match="such as 90s"):
        arguments.parse_duration(text)


def test_times_are_iso_8601():
    parsed = arguments.parse_time("2026-12-04T10:00:00+01:00").ToDatetime(tzinfo=UTC)
    assert parsed == datetime(2026, 12, 4, 9, tzinfo=UTC)


def test_times_can_be_relative_to_now():
    now, later = arguments.parse_time("now"), arguments.parse_time("+10m")
    assert 600 <= later.seconds - now.seconds <= 660


@pytest.mark.parametrize("text", ["tomorrow", "10:00", "", "+", "2026-13-01"])
def test_other_times_are_refused_with_an_example(text):
    with pytest.raises(typer.BadParameter, match="such as"):
        arguments.parse_time(text)


def test_items_have_stock_and_perhaps_a_limit():
    assert arguments.parse_item("cap=50") == Item(item="cap", on_hand=50)
    assert arguments.parse_item("cap=50:2") == Item(item="cap", on_hand=50, per_customer_limit=2)


@pytest.mark.parametrize("text", ["cap", "=5", "cap=", "cap=-1", "cap=5:", "cap=٣", "cap=3000000000"])
def test_other_items_are_refused(text):
    with pytest.raises(typer.BadParameter):
        arguments.parse_item(text)


def test_a_line_without_units_is_one_unit():
    assert arguments.parse_line("cap") == Line(item="cap", quantity=1)
    assert arguments.parse_line("cap=3") == Line(item="cap", quantity=3)


def test_a_reservation_is_named_in_full():
    name = "sales/drop-1/reservations/r1"
    assert arguments.parse_reservation(name) == name
    with pytest.raises(typer.BadParameter, match="holdfast reservation find"):
        arguments.parse_reservation("r1")
