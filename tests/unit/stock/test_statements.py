from importlib.resources import files

import pytest

from holdfast_inventory.postgres import statements

NAMES = sorted(
    file.name.removesuffix(".sql") for file in files("holdfast_inventory.postgres").joinpath("sql").iterdir()
)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes sql/made_up.sql and loads it."""
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
def test_a_statement_without_a_name_of_its_own_is_an_error(write, text):
    with pytest.raises(ValueError, match="a name of its own"):
        write(text)


def test_a_statement_is_told_by_its_name_or_its_first_word():
    assert statements.name_of(statements.load("batch")["lock_sale"]) == "lock_sale"
    assert statements.name_of(statements.load("history")["settle"]) == "settle"
    assert statements.name_of("BEGIN") == "begin"
