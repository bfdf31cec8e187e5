import json

from lab.kit.report import columns, figure, markdown, write_json

ROWS = [("process", "MB"), ("edge", 138), ("gateway", 7.5)]


def test_what_begins_with_a_digit_is_aligned_to_the_right():
    assert columns(ROWS) == ["process  MB", "edge     138", "gateway  7.5"]


def test_rows_are_a_table_of_markdown():
    assert markdown(ROWS) == ["| process | MB |", "|---|---|", "| edge | 138 |", "| gateway | 7.5 |"]


def test_a_document_and_a_figure_are_written(tmp_path):
    write_json(tmp_path / "new" / "run.json", {"passed": True})
    with figure(tmp_path / "run.png", 2) as (upper, _):
        upper.plot([1, 2])
    assert json.loads((tmp_path / "new" / "run.json").read_text()) == {"passed": True}
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
