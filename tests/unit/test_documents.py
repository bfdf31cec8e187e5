"""Documents agree with the files and the code that they mention."""

import re
from collections import Counter
from pathlib import Path

import pytest

from scripts import state_diagrams

REPOSITORY = Path(__file__).parents[2]
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
DOCUMENTS = [
    path
    for path in sorted(REPOSITORY.rglob("*.md"))
    if not any(part.startswith(".") or part in ("build", "node_modules") for part in path.relative_to(REPOSITORY).parts)
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_to_files(document):
    links = _LINK.findall(document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_decisions_have_numbers_of_their_own():
    numbers = Counter(path.name[:4] for path in (REPOSITORY / "docs/adr").iterdir())
    assert [number for number, count in numbers.items() if count > 1] == []


def test_decisions_carry_their_number_in_their_title():
    for path in (REPOSITORY / "docs/adr").iterdir():
        assert path.read_text().startswith(f"# {int(path.name[:4])}. "), path.name


def test_state_diagrams_are_what_the_domain_decides():
    text = state_diagrams.DOCUMENT.read_text(encoding="utf-8")
    assert text == state_diagrams.rendered(text), "run `make generate`"


@pytest.mark.parametrize("line", ["  HELD --> RELEASED: ", "  OPEN --> PAUSED: ", "| release | NOT_FOUND | RELEASED |"])
def test_a_state_that_the_domain_does_not_have_is_noticed(line):
    text = state_diagrams.DOCUMENT.read_text(encoding="utf-8")
    assert line in text
    assert text == state_diagrams.rendered(
        text.replace(line, line.replace("RELEASED", "EXPIRED").replace("PAUSED", "CLOSED"))
    )
