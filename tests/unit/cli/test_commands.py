"""The commands' help, examples and exit codes."""

import re
from pathlib import Path

import grpc
import pytest
import typer
from rich.console import Console

from holdfast.inventory.v1.sale_pb2 import Item, Sale
from holdfast_chassis.contract import REASONS
from holdfast_cli import output
from holdfast_cli.app import app
from holdfast_cli.problems import Exit, advice, as_document, exit_of
from holdfast_client import Refusal, Unanswered
from holdfast_client.statuses import _CODES

ROOT = typer.main.get_command(app)
COMMANDS = {
    f"{group_name} {name}": command
    for group_name, group in ROOT.commands.items()
    if hasattr(group, "commands")
    for name, command in group.commands.items()
}
DOCUMENT = (Path(__file__).parents[3] / "docs/command-line.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_that_it_accepts(name):
    example = re.search(r"Example: `holdfast (.+)`", COMMANDS[name].help)[1]
    assert example.startswith(name)
    words = example.removeprefix(name).split()
    words = ["/dev/null" if word.endswith(".csv") else word for word in words]
    COMMANDS[name].make_context(name, words)


def test_every_command_that_cannot_be_undone_asks():
    asking = {name for name, command in COMMANDS.items() if any(each.name == "dry_run" for each in command.params)}
    ending = {
        name for name in COMMANDS if name.split()[1] in ("cancel", "delete", "return", "release", "rotate", "erase")
    }
    assert asking == ending


def test_the_document_names_every_command():
    assert [name for name in COMMANDS if f"`{name}" not in DOCUMENT] == []


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_an_exit_code_and_what_can_be_repeated_has_advice(reason):
    rules = REASONS[reason]
    refusal = Refusal(reason, "", _CODES[rules.code], retryable=rules.retryable, retry_after_seconds=2.0)
    assert exit_of(refusal) in Exit
    assert bool(advice(refusal, "here")) >= rules.retryable
    assert as_document(refusal)["reason"] == reason


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.FAILED_PRECONDITION, 3),
        (grpc.StatusCode.NOT_FOUND, 4),
        (grpc.StatusCode.PERMISSION_DENIED, 5),
        (grpc.StatusCode.UNAVAILABLE, 6),
        (grpc.StatusCode.INTERNAL, 1),
    ],
)
def test_exit_codes_are_as_documented(code, expected):
    assert exit_of(Unanswered("", code)) == expected
    assert f"| {expected} |" in DOCUMENT


def printed(table):
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_a_table_leaves_out_what_all_rows_leave_empty():
    items = [Item(item="cap", available=3, on_hand=5, held=2), Item(item="mug")]
    text = printed(output.table_of(items))
    assert text.splitlines()[0].split() == ["item", "available", "held", "sold", "on", "hand"]
    assert text.splitlines()[2].split() == ["mug", "0", "0", "0", "0"]


def test_a_sale_shows_its_state_by_name_and_its_durations_in_words():
    sale = Sale(name="sales/drop-1", state=Sale.OPEN)
    sale.hold_time.FromSeconds(90)
    assert printed(output.table_of([sale])).splitlines()[1].split() == ["sales/drop-1", "OPEN", "1m30s"]
