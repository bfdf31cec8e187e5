"""`holdfast` against real replicas, as a sale's manager uses it."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast_cli.app import app

PROGRAM = Path(sys.executable).with_name("holdfast")


@pytest.fixture
def holdfast(cluster, tmp_path):
    """Run a command in this process against a replica; it must end with this exit code. Return what it has printed."""
    environment = {
        "HOLDFAST_ADDRESS": cluster.addresses[0],
        "HOLDFAST_PROFILES": str(tmp_path / "profiles.json"),
        "COLUMNS": "200",
    }

    def run(*words, exits=0, answer=None, stream="output"):
        finished = CliRunner().invoke(app, list(map(str, words)), input=answer, env=environment)
        assert finished.exit_code == exits, finished.output
        return getattr(finished, stream)

    return run


@pytest.fixture
def as_json(holdfast):
    return lambda *words: json.loads(holdfast(*words, "--output", "json", stream="stdout"))


@pytest.fixture
def sale():
    """The id of a sale of this test."""
    return f"drop-{uuid.uuid4().hex[:8]}"


def test_a_drop_from_its_creation_to_its_end(holdfast, as_json, sale):
    holdfast("sale", "create", sale, "--item", "cap=10", "--per-customer", 4, "--opens", "+1h")
    assert "SCHEDULED" in holdfast("sale", "show", sale)
    refused = holdfast("reservation", "create", sale, "cap=2", "--customer", "c-1", exits=3)
    assert "SALE_NOT_OPEN" in refused
    assert "`holdfast sale open SALE`" in refused
    assert "OPEN" in holdfast("sale", "open", sale)
    held = as_json("reservation", "create", sale, "cap=3", "--customer", "c-1")["name"]
    assert "CONFIRMED" in holdfast("reservation", "confirm", held, "--order", f"o-{sale}")
    assert held in holdfast("reservation", "find", "--sale", sale, "--customer", "c-1", "--state", "confirmed")
    assert [each["name"] for each in as_json("reservation", "find", "--order", f"o-{sale}")] == [held]
    assert "PAUSED" in holdfast("sale", "pause", sale)
    assert "SALE_PAUSED" in holdfast("reservation", "create", sale, "cap", "--customer", "c-2", exits=3)
    assert "OPEN" in holdfast("sale", "resume", sale)
    for _ in range(2):  # The request id makes it happen once.
        holdfast("reservation", "return", held, "cap=1", "--request-id", "rma-1", "--yes")
    assert as_json("reservation", "show", held)["returnedLines"] == [{"item": "cap", "quantity": 1}]
    holdfast("stock", "adjust", sale, "cap", "--by", -1, "--reason", "damaged")
    assert as_json("item", "show", sale, "cap")["available"] == 7
    report = holdfast("sale", "report", sale)
    assert re.search(r"customers +1\s", report)
    assert "cap" in report
    assert as_json("item", "update", sale, "cap", "--units", 20)["available"] == 20
    assert as_json("sale", "verify", sale)["consistent"] is True
    assert "PAUSE" in holdfast("sale", "changes", sale)
    assert "DAMAGED" in holdfast("sale", "movements", sale)


def test_what_cannot_be_undone_says_what_will_happen_and_asks(holdfast, as_json, sale):
    holdfast("sale", "create", sale, "--item", "cap=10")
    holdfast("reservation", "create", sale, "cap=2", "--customer", "c-1")
    assert "2 units that customers hold now are released" in holdfast("sale", "cancel", sale, "--dry-run")
    holdfast("sale", "cancel", sale, answer="n\n", exits=1)
    assert as_json("sale", "show", sale)["state"] == "OPEN"
    holdfast("sale", "cancel", sale, answer="y\n")
    assert as_json("sale", "show", sale)["state"] == "CANCELLED"


def test_support_sees_why_a_customer_got_nothing(holdfast, sale):
    holdfast("sale", "create", sale, "--item", "cap=10")
    holdfast("reservation", "create", sale, "cap=11", "--customer", "c-1", exits=3)
    assert holdfast("customer", "refusals", "c-1", "--sale", sale)


def test_what_is_stored_about_a_customer_is_exported_and_erased(holdfast, as_json, sale, tmp_path):
    customer, file = f"alice-{sale}", tmp_path / "export.jsonl"
    holdfast("sale", "create", sale, "--item", "cap=10")
    held = as_json("reservation", "create", sale, "cap=2", "--customer", customer)["name"]
    holdfast("customer", "export", customer, "--to", file)
    assert [json.loads(line)["reservation"]["name"] for line in file.read_text().splitlines()] == [held]
    assert file.stat().st_mode & 0o77 == 0
    assert "in 1 records" in holdfast("customer", "erase", customer, "--dry-run")
    assert as_json("customer", "erase", customer, "--yes")["done"] is True
    assert customer not in holdfast("reservation", "show", held)
    assert holdfast("customer", "export", customer) == ""


def test_a_sale_of_which_nothing_was_sold_can_be_deleted(holdfast, sale):
    holdfast("sale", "create", sale, "--item", "cap=10", "--opens", "+1h")
    holdfast("sale", "delete", sale, "--yes")
    holdfast("sale", "show", sale, exits=4)


def test_stock_moves_between_sales(holdfast, as_json, sale):
    holdfast("sale", "create", sale, "--item", "cap=10")
    holdfast("sale", "create", f"{sale}-2", "--item", "cap=0")
    moved = as_json("stock", "transfer", sale, "cap", "--units", 4, "--to", f"{sale}-2")
    assert (moved["source"]["available"], moved["destination"]["available"]) == (6, 4)


def test_items_come_from_a_file_and_an_import_can_be_repeated(holdfast, as_json, sale, tmp_path):
    (tmp_path / "items.csv").write_text("item,units,per_customer\ncap,5,\nmug,7,2\n")
    holdfast("sale", "create", sale, "--item", "hat=1")
    for _ in range(2):
        holdfast("item", "import", sale, tmp_path / "items.csv")
    assert [(each["item"], each["onHand"]) for each in as_json("item", "list", sale)] == [
        ("cap", 5),
        ("hat", 1),
        ("mug", 7),
    ]
    (tmp_path / "items.csv").write_text("item,units\ncap,five\n")
    assert "line 2" in holdfast("item", "import", sale, tmp_path / "items.csv", exits=2)


def test_schedules_and_webhooks(holdfast, as_json, sale):
    holdfast("schedule", "create", sale, "--every", "1h", "--item", "ticket=100", "--remainder", "carry-over")
    assert as_json("schedule", "show", sale)["remainder"] == "CARRY_OVER"
    assert as_json("schedule", "run", sale)["schedule"] == f"saleSchedules/{sale}"
    assert as_json("schedule", "pause", sale)["paused"] is True
    holdfast("schedule", "delete", sale, "--yes")
    friday = ("--cron", "0 10 * * FRI", "--time-zone", "Europe/Berlin")
    assert "0 10 * * FRI" in holdfast("schedule", "create", f"{sale}-f", *friday, "--item", "ticket=100")
    holdfast("schedule", "create", f"{sale}-g", "--item", "ticket=100", exits=2)
    holdfast("schedule", "show", sale, exits=4)
    created = as_json("webhook", "create", sale, "https://example.com/hook", "--kind", "confirm")
    assert created["secret"].startswith("whsec_")
    assert as_json("webhook", "rotate", sale, "--yes")["secret"] != created["secret"]
    assert "yes" in holdfast("webhook", "pause", sale)
    assert "PAUSE" in holdfast("webhook", "changes", sale)
    holdfast("webhook", "delete", sale, "--yes")


def test_errors_have_exit_codes_and_are_json_for_programs(holdfast, sale):
    assert "sale list" in holdfast("sale", "show", sale, exits=4)
    refused = json.loads(holdfast("sale", "show", sale, "-o", "json", exits=4))
    assert refused["error"]["reason"] == "NOT_FOUND"
    assert "sale_id" in holdfast("sale", "create", "not an id", "--item", "cap=1", exits=2)
    assert "Is Holdfast running" in holdfast("sale", "list", "--address", "127.0.0.1:9", "--timeout", 0.5, exits=6)


def test_lists_say_if_there_are_more(holdfast, as_json, sale):
    holdfast("sale", "create", sale, "--item", "a=1", "--item", "b=2", "--item", "c=3")
    assert "--limit 0 shows all" in holdfast("item", "list", sale, "--limit", 2)
    assert [each["item"] for each in as_json("item", "list", sale, "--limit", 2)] == ["a", "b"]
    assert as_json("reservation", "find", "--sale", sale) == []


def test_profiles_keep_an_address_with_its_key(holdfast, cluster, tmp_path):
    (tmp_path / "key").write_text("secret\n")
    holdfast("profile", "set", "shop", "--address", cluster.addresses[1], "--key-file", tmp_path / "key")
    assert cluster.addresses[1] in holdfast("profile", "list")
    assert "secret" not in holdfast("profile", "list")
    holdfast("sale", "list", "--profile", "shop")
    holdfast("profile", "remove", "shop")
    holdfast("sale", "list", "--profile", "shop", exits=2)


def test_a_watch_is_a_line_of_json_for_each_change_until_it_is_interrupted(holdfast, cluster, sale):
    holdfast("sale", "create", sale, "--item", "cap=10")
    words = [PROGRAM, "sale", "watch", sale, "--output", "json", "--address", cluster.addresses[0]]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as watch:
        try:
            assert json.loads(watch.stdout.readline())["snapshot"]["items"][0]["available"] == 10
            holdfast("reservation", "create", sale, "cap=2", "--customer", "c-1")
            assert json.loads(watch.stdout.readline())["change"]["items"][0]["held"] == 2
            watch.send_signal(signal.SIGINT)
            assert watch.wait(20) == 130
        finally:
            watch.kill()


def test_words_are_completed():
    environment = os.environ | {
        "_HOLDFAST_COMPLETE": "complete_bash",
        "COMP_WORDS": "holdfast sale pa",
        "COMP_CWORD": "2",
    }
    finished = subprocess.run([PROGRAM], check=True, env=environment, capture_output=True, text=True, timeout=30)
    assert finished.stdout.split() == ["pause"]
