"""The simulation can fail: bugs that are planted in the product are found, each within a bounded number of seeds."""

import asyncio
from dataclasses import replace
from itertools import count
from uuid import UUID

import pytest

from holdfast_inventory.domain import decide
from holdfast_inventory.domain.commands import Create
from holdfast_inventory.ledger import batch, database, group_commit
from holdfast_inventory.ledger.database import Database
from holdfast_inventory.ledger.faults import InDoubt, NotApplied
from holdfast_inventory.ledger.group_commit import GroupCommit
from holdfast_inventory.ledger.sold_out import SoldOut
from holdfast_inventory.ledger.stock_ledger import StockLedger
from simulation.run import run

pytestmark = pytest.mark.timeout(240)

MOST_SEEDS = 400


def find():
    """What is wrong with the first seed that fails."""
    for seed in range(MOST_SEEDS):
        result = run(seed)
        if not result.passed:
            return "\n".join(result.faults)
    return ""


def infer_failure_from_absence(monkeypatch):
    """A lost COMMIT is taken for one that did nothing."""
    real = database.classify

    def classify(error, *, committing):
        fault = real(error, committing=committing)
        return NotApplied(str(fault)) if isinstance(fault, InDoubt) else fault

    monkeypatch.setattr(database, "classify", classify)


def answer_before_the_commit(monkeypatch):
    """The COMMIT is sent, and the connection used again once it is done; but nobody waits for that."""
    release, tasks = Database._release_writer, set()

    async def commit(_database, connection):
        start(connection.execute(database._COMMIT))

    def release_later(self, connection, *, reusable):
        async def wait():
            while connection.is_asked:  # noqa: ASYNC110 -- it has no event
                await asyncio.sleep(0.001)
            release(self, connection, reusable=reusable)

        start(wait())

    def start(work):
        task = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(lambda done: tasks.discard(done) or done.cancelled() or done.exception())

    monkeypatch.setattr(Database, "_commit", commit)
    monkeypatch.setattr(Database, "_release_writer", release_later)


def forget_doubts(monkeypatch):
    monkeypatch.setattr(group_commit, "_doubt", lambda _batch, _answers: None)


def retry_under_a_new_id(monkeypatch):
    real, ids = GroupCommit._still_patient, count(1)

    def still_patient(self, waiting, refusal):
        patient = real(self, waiting, refusal)
        for one in patient:
            if isinstance(one.command, Create):
                one.command = replace(one.command, reservation_id=UUID(int=next(ids)))
        return patient

    monkeypatch.setattr(GroupCommit, "_still_patient", still_patient)


def leave_due_holds(monkeypatch):
    monkeypatch.setattr(decide._Batch, "end_due_holds", lambda _: None)


def count_use_as_it_was(monkeypatch):
    """A customer's limit is checked against what was read for the batch before."""
    real, read = batch._read_used, {}

    async def read_used(connection, sale, customers, now):
        used = await real(connection, sale, customers, now)
        before = {customer: read.get((sale.salt, customer), {}) for customer in customers}
        read.update({(sale.salt, customer): used.get(customer, {}) for customer in customers})
        return before

    monkeypatch.setattr(batch, "_read_used", read_used)


def cancel_a_slow_commit(monkeypatch):
    async def commit(_database, connection):
        try:
            async with asyncio.timeout(0.05):
                await connection.execute(database._COMMIT)
        except TimeoutError:
            connection.terminate()
            raise database.asyncpg.SerializationError("cancelled") from None

    monkeypatch.setattr(Database, "_commit", commit)


def acknowledge_replays_without_a_commit(monkeypatch):
    monkeypatch.setattr(group_commit, "_is_refusal", lambda _answer: True)


def ignore_warnings(monkeypatch):
    """A server that no longer waits for its standby is believed."""
    monkeypatch.setattr(Database, "_heed", lambda _self, _connection, _message: None)


def remember_sold_out_for_ever(monkeypatch):
    real = SoldOut.__init__
    monkeypatch.setattr(SoldOut, "__init__", lambda self, _seconds: real(self, float("inf")))


def refuse_replays_from_memory(monkeypatch):
    monkeypatch.setattr(StockLedger, "_refuse", lambda _self, _sale_id, _command, _deadline, refusal: refusal)


def take_every_replay_after_a_lost_commit_for_ours(monkeypatch):
    """The first find: a replay whose COMMIT was lost was told that it was the first."""

    def doubt(waiting, _answers):
        for one in waiting:
            one.doubtful = True

    def as_first(answer, doubtful):
        return answer._replace(replayed=False) if doubtful and hasattr(answer, "replayed") else answer

    monkeypatch.setattr(group_commit, "_doubt", doubt)
    monkeypatch.setattr(group_commit, "_as_first", as_first)


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (infer_failure_from_absence, ("asked for by nobody", "are told that they created")),
        (answer_before_the_commit, ("before it was durable", "was never committed", "is not there")),
        (forget_doubts, ("asked for by nobody", "are told that they created")),
        (retry_under_a_new_id, ("is not there", "differs from", "asked for by nobody")),
        (leave_due_holds, ("never true", "hold units", "are refused")),
        (count_use_as_it_was, ("has ",)),
        (cancel_a_slow_commit, ("asked for by nobody", "are told that they created")),
        (acknowledge_replays_without_a_commit, ("before it was durable", "is not there", "was shortened")),
        (ignore_warnings, ("before it was durable", "was never committed", "is not there")),
        (remember_sold_out_for_ever, ("never true", "are refused")),
        (refuse_replays_from_memory, ("granted before",)),
        (take_every_replay_after_a_lost_commit_for_ours, ("answered before it was made", "are told that they created")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_bug_is_found(monkeypatch, plant, words):
    plant(monkeypatch)
    faults = find()
    assert any(word in faults for word in words), faults
