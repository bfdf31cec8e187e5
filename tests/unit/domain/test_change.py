"""What a change reports as changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from holdfast_inventory.domain.change import FieldChange, differences
from holdfast_inventory.domain.sale import Sale

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SALE = Sale(
    sale_id="drop-1",
    open_at=NOON,
    close_at=None,
    per_customer_limit=2,
    hold_time=timedelta(seconds=90),
    max_hold_time=timedelta(seconds=900),
    paused=False,
    cancelled_at=None,
    created_at=NOON,
    updated_at=NOON,
    schedule_id=None,
    sequence=7,
    salt=b"secret",
    limits_customers=True,
)


def test_fields_that_differ_are_reported_by_their_names_in_the_contract():
    later = replace(SALE, close_at=NOON, per_customer_limit=3, hold_time=timedelta(seconds=1.5), paused=True)
    assert differences(SALE, later) == (
        FieldChange("close_time", "", "2026-06-01T12:00:00+00:00"),
        FieldChange("per_customer_limit", "2", "3"),
        FieldChange("hold_time", "90s", "1.5s"),
        FieldChange("paused", "false", "true"),
    )


def test_what_is_no_rule_is_no_change():
    assert differences(SALE, replace(SALE, sequence=8, updated_at=NOON + timedelta(1), limits_customers=False)) == ()


def test_a_new_sale_tells_its_rules_and_not_its_secret():
    told = differences(None, SALE)
    assert [change.field for change in told] == [
        "open_time",
        "per_customer_limit",
        "hold_time",
        "max_hold_time",
        "paused",
        "shop_confirms",
        "admission_required",
        "early_access",
    ]
    assert all(change.old_value == "" for change in told)
