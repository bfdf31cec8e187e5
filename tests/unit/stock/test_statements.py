import re
from importlib.resources import files

import pytest

from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.reservation import Reservation
from holdfast_inventory.postgres import columns, statements

NAMES = sorted(
    file.name.removesuffix(".sql") for file in files("holdfast_inventory.postgres").joinpath("sql").iterdir()
)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write sql/made_up.sql and load it."""
    (tmp_path / "sql").mkdir()
    monkeypatch.setattr(statements, "files", lambda _package: tmp_path)

    def write_and_load(text):
        (tmp_path / "sql" / "made_up.sql").write_text(text)
        statements.load.cache_clear()
        return statements.load("made_up")

    yield write_and_load
    statements.load.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_each_file_has_named_statements_that_say_why(name):
    for sql in statements.load(name).values():
        assert sql.startswith("-- ")


def test_statements_are_found_by_name(write):
    loaded = write("-- A file.\n\n-- name: one\n-- Why.\nSELECT 1\n\n-- name: two\n-- Why.\nSELECT 2\n")

    assert dict(loaded) == {"one": "-- Why.\nSELECT 1", "two": "-- Why.\nSELECT 2"}


@pytest.mark.parametrize("text", ["", "SELECT 1", "-- name: one\nSELECT 1\n-- name: one\nSELECT 2"])
def test_a_statement_without_a_unique_name_is_an_error(write, text):
    with pytest.raises(ValueError, match="a unique name"):
        write(text)


def test_a_statement_is_reported_by_its_name_or_its_first_word():
    assert statements.name_of(statements.load("batch")["lock_sale"]) == "lock_sale"
    assert statements.name_of(statements.load("history")["settle"]) == "settle"
    assert statements.name_of("BEGIN") == "begin"


LISTED = "-- name: made\n-- Why.\n"


def test_lists_of_columns_are_written_out(write):
    listed = write(f"{LISTED}SELECT {{stock_change}}, {{new.stock_change}}, {{known.stock_change[]}}")["made"]

    assert listed.splitlines()[-1] == (
        "SELECT change_id, fingerprint, created_at, new.change_id, new.fingerprint, new.created_at, "
        'array_agg(change_id) AS "known.change_id", array_agg(fingerprint) AS "known.fingerprint", '
        'array_agg(created_at) AS "known.created_at"'
    )


def test_arrays_in_columns_travel_as_text(write):
    sql = write(f"{LISTED}SELECT {{reservation::}} FROM unnest(:new.reservation), {{old.reservation[]}}")["made"]

    assert "string_to_array(item_ids, ','), string_to_array(quantities, ',')::integer[]," in sql
    assert "$3::text[], $4::text[], $5::text[], $6::smallint[]" in sql
    assert "array_agg(array_to_string(quantities, ',')) AS \"old.quantities\"" in sql


def test_parameters_are_numbered_as_they_come_and_once_for_each_name(write):
    sql = write(f"{LISTED}SELECT :b::text, :a, :b WHERE :new.stock_change")["made"]

    assert sql.splitlines()[-1] == "SELECT $1::text, $2, $1 WHERE $3::uuid[], $4::bytea[], $5::timestamptz[]"
    assert statements.parameters_of(sql) == ("b", "a", "new.change_id", "new.fingerprint", "new.created_at")
    values = {"a": 1, "b": 2, "new.change_id": [], "new.fingerprint": [], "new.created_at": []}
    assert statements.arguments(sql, values) == [2, 1, [], [], []]
    with pytest.raises(KeyError):
        statements.arguments(sql, {"a": 1})


def test_what_a_batch_reads_is_written_by_no_statement_that_does_not_count():
    """Or a batch would take a sale that was changed for one that is as it was read."""
    read_by_batches = r"(?:INSERT INTO|UPDATE|DELETE FROM) (?:sales|items|reservations|stock_changes)\b"
    writing = {
        f"{file}.{name}": sql
        for file in NAMES
        for name, sql in statements.load(file).items()
        if re.search(read_by_batches, sql)
    }

    assert set(writing) == {
        "batch.append",
        "catalog.store_rules",
        "catalog.delete_sale",
        "changes.remember_change",
        "erasures.erase_reservations",
        "erasures.touch_sale",
        "stocking.insert_sale",
        "stocking.insert_items",
        "stocking.set_item_rules",
    }
    # A new sale has no reader yet.
    del writing["stocking.insert_sale"]
    # The next statement of its transaction, which has the sale's lock, counts it.
    del writing["erasures.erase_reservations"]
    assert [name for name, sql in writing.items() if "revision = revision + 1" not in sql] == []


def test_columns_of_a_reservation_are_its_fields_in_order():
    """Values are matched by position."""
    named = {"item_ids": "lines", "order_id": "order"}
    fields = [named.get(column, column) for column in columns.RESERVATION if column != "quantities"]
    assert fields == list(Reservation._fields)


def test_columns_of_an_item_are_its_fields_in_order():
    """Values are matched by position."""
    assert list(columns.ITEM) == list(Item._fields)
