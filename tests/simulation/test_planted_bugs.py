"""The simulation can fail: it finds each planted bug within a bounded number of seeds."""

import asyncio
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from itertools import count, islice
from uuid import UUID

import pytest

from holdfast_inventory.domain import decide
from holdfast_inventory.domain.commands import Adjust, Confirm, Create, Extend, Release, Return
from holdfast_inventory.domain.errors import CustomerLimitReached, ExtensionLimitReached, InsufficientStock, Shortage
from holdfast_inventory.domain.sale import Sale, SaleState
from holdfast_inventory.ports import InDoubt, NotApplied
from holdfast_inventory.postgres import catalog, database, sale_store
from holdfast_inventory.postgres.database import Database
from holdfast_inventory.postgres.statements import load, parameters_of
from holdfast_inventory.stock import group_commit
from holdfast_inventory.stock.group_commit import GroupCommit
from holdfast_inventory.stock.sold_out import SoldOut
from holdfast_inventory.stock.stock_ledger import StockLedger
from lab.simulation import statements
from lab.simulation.plan import plan_of
from lab.simulation.run import run

pytestmark = pytest.mark.timeout(240)

MOST_SEEDS = 1_000
HALF_A_SECOND = timedelta(seconds=0.5)


def find(fits):
    """Return what is wrong with the first seed that fails."""
    for seed in islice(filter(fits, count()), MOST_SEEDS):
        result = run(seed)
        if not result.passed:
            return "\n".join(result.faults)
    return ""


def infer_failure_from_absence(monkeypatch):
    """Treat a lost COMMIT as one that did nothing."""
    real = database.classify

    def classify(error, *, committing):
        fault = real(error, committing=committing)
        return NotApplied(str(fault)) if isinstance(fault, InDoubt) else fault

    monkeypatch.setattr(database, "classify", classify)


def answer_before_the_commit(monkeypatch):
    """Send the COMMIT without waiting for it, and use the connection again when it is done."""
    release, tasks = Database._release_writer, set()

    async def commit(_database, connection, sql, arguments):
        start(connection.execute(sql, *arguments))
        return True

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
    real, ids = GroupCommit._run, count(1)

    async def run_once(self, lane, waiting):
        refusal = await real(self, lane, waiting)
        for one in waiting if refusal else ():
            if isinstance(one.command, Create):
                one.command = one.command._replace(reservation_id=UUID(int=next(ids)))
        return refusal

    monkeypatch.setattr(GroupCommit, "_run", run_once)


def leave_due_holds(monkeypatch):
    monkeypatch.setattr(decide._Batch, "end_due_holds", lambda _: None)


def count_use_as_it_was(monkeypatch):
    """Check a customer's limit with what was read for the batch before."""
    real, before = sale_store.read, {}

    async def read(connection, sale_id, commands, *arguments, **options):
        snapshot = await real(connection, sale_id, commands, *arguments, **options)
        salt, fresh = snapshot.state.sale.salt, snapshot.state.used
        customers = {command.customer for command in commands if isinstance(command, Create)}
        used = {customer: before.get((salt, customer), {}) for customer in customers}
        before.update({(salt, customer): fresh.get(customer, {}) for customer in customers})
        return replace(snapshot, state=replace(snapshot.state, used=used))

    monkeypatch.setattr(sale_store, "read", read)


def cancel_a_slow_commit(monkeypatch):
    async def commit(_database, connection, sql, arguments):
        try:
            async with asyncio.timeout(0.05):
                return await connection.fetchval(sql, *arguments)
        except TimeoutError:
            connection.terminate()
            raise database.asyncpg.SerializationError("cancelled") from None

    monkeypatch.setattr(Database, "_commit", commit)


def acknowledge_replays_without_a_commit(monkeypatch):
    monkeypatch.setattr(group_commit, "_is_refusal", lambda _answer: True)


NEED_TO_GIVE_UP_A_STANDBY = {acknowledge_replays_without_a_commit}
"""A symptom needs a commit that is visible and not on the standby yet: in one of a thousand seeds of all kinds."""


def gives_up_a_standby(seed):
    return any(event == "standby is given up" for _, event in plan_of(seed).events)


def any_seed(_seed):
    return True


def ignore_warnings(monkeypatch):
    """Trust a server that no longer waits for its standby."""
    monkeypatch.setattr(Database, "_heed", lambda _self, _connection, _message: None)


def remember_sold_out_for_ever(monkeypatch):
    real = SoldOut.__init__
    monkeypatch.setattr(SoldOut, "__init__", lambda self, _seconds: real(self, float("inf")))


def refuse_replays_from_memory(monkeypatch):
    monkeypatch.setattr(StockLedger, "_refuse", lambda _self, _sale_id, _command, _deadline, refusal: refusal)


def take_every_replay_after_a_lost_commit_for_ours(monkeypatch):
    """Restore the first bug that was found: a replay whose COMMIT was lost is answered as the first execution."""

    def doubt(waiting, answers):
        for one, answer in zip(waiting, answers, strict=True):
            one.doubts += (answer,)

    def as_first(answer, doubts):
        return answer._replace(replayed=False) if doubts and hasattr(answer, "replayed") else answer

    monkeypatch.setattr(group_commit, "_doubt", doubt)
    monkeypatch.setattr(group_commit, "_as_first", as_first)


def open_late(monkeypatch):
    """Let a clock that is half a second behind decide when a sale opens."""
    lie_about_the_state(monkeypatch, SaleState.SCHEDULED, lambda sale, now: now - HALF_A_SECOND < sale.open_at)


def close_early(monkeypatch):
    lie_about_the_state(
        monkeypatch, SaleState.CLOSED, lambda sale, now: sale.close_at and sale.close_at <= now + HALF_A_SECOND
    )


def sell_in_paused_sales(monkeypatch):
    lie_about_the_state(monkeypatch, SaleState.OPEN, lambda sale, _: sale.paused)


def lie_about_the_state(monkeypatch, state, when):
    real = Sale.state_at
    monkeypatch.setattr(Sale, "state_at", lambda sale, now, early=False: state if when(sale, now) else real(sale, now))


def refuse_for_ever_what_was_paused_once(monkeypatch):
    real, paused = sale_store.read, set()

    async def read(*arguments, **options):
        snapshot = await real(*arguments, **options)
        sale = snapshot.state.sale
        if sale.paused:
            paused.add(sale.salt)
        sale = replace(sale, paused=sale.salt in paused)
        return replace(snapshot, state=replace(snapshot.state, sale=sale))

    monkeypatch.setattr(sale_store, "read", read)


def refuse_replays_when_a_sale_is_over(monkeypatch):
    """Check the refusals before the replay."""

    def create(batch, command):
        batch.check_open()
        return decide._Batch.create(batch, command)

    monkeypatch.setitem(decide._HANDLERS, Create, create)


def refuse_late_confirmations_of_closed_sales(monkeypatch):
    """Check the sale's state as for a new hold, although only a cancelled sale refuses."""
    real = decide._Batch.check_late_confirmation

    def check_late_confirmation(batch, reservation):
        batch.check_open()
        real(batch, reservation)

    monkeypatch.setattr(decide._Batch, "check_late_confirmation", check_late_confirmation)


def count_due_holds_as_use(monkeypatch):
    """Refuse a customer because of due holds."""
    real = statements._used

    def used(view, sale, customers, now):
        return real(view, sale, customers, now - timedelta(seconds=2))

    monkeypatch.setattr(statements, "_used", used)


def append_without_the_condition(monkeypatch):
    """Append without the condition."""
    real, revision_at = statements.append, parameters_of(load("batch")["append"]).index("revision")

    def append(view, now, *arguments):
        sale = statements._sale(view, arguments[1])
        arguments = [*arguments]
        arguments[revision_at] = sale and sale["revision"]
        return real(view, now, *arguments)

    monkeypatch.setitem(statements.STATEMENTS, "append", append)


def write_rules_without_counting(monkeypatch):
    count_all_but(monkeypatch, "updated_at")


def append_without_counting(monkeypatch):
    count_all_but(monkeypatch, "sequence")


def count_all_but(monkeypatch, column):
    """Let writes of this column of a sale keep the revision."""
    real = statements._change_sale

    def change_sale(view, sale_id, **changes):
        if column in changes:
            changes["revision"] = statements._sale(view, sale_id)["revision"]
        return real(view, sale_id, **changes)

    monkeypatch.setattr(statements, "_change_sale", change_sale)


def allow_one_less(monkeypatch):
    """Refuse a customer with correct facts, but without need."""
    real = decide._Batch.check_limits

    def check_limits(working, customer, lines):
        real(working, customer, lines)
        limit, used = working.state.sale.per_customer_limit, sum(working.used.get(customer, {}).values())
        if limit and used + sum(line.quantity for line in lines) == limit:
            raise CustomerLimitReached(limit, used)

    monkeypatch.setattr(decide._Batch, "check_limits", check_limits)


def extend_no_further_than_a_hold_time(monkeypatch):
    def extend(working, command):
        done = decide._Batch.extend(working, command)
        latest = done.reservation.created_at + 2 * working.state.sale.hold_time
        if command.expires_at > latest:
            raise ExtensionLimitReached(latest)
        return done

    monkeypatch.setitem(decide._HANDLERS, Extend, extend)


def forget_that_units_were_returned(monkeypatch):
    """Return the same units again and again."""

    def take_back(working, command):
        done = decide._Batch.take_back(working, command)
        if not done.replayed:
            working.change(done.reservation._replace(returned=()))
        return done

    monkeypatch.setitem(decide._HANDLERS, Return, take_back)


def return_again_what_is_sent_again(monkeypatch):
    def take_back(working, command):
        working.stock_changes.pop(command.change_id, None)
        return decide._Batch.take_back(working, command)

    monkeypatch.setitem(decide._HANDLERS, Return, take_back)


def count_returned_units_as_use(monkeypatch):
    real = statements._used

    def used(view, sale, customers, now):
        return real(_WithoutReturns(view), sale, customers, now)

    monkeypatch.setattr(statements, "_used", used)


class _WithoutReturns:
    def __init__(self, view):
        self._view = view

    def rows(self, table, sale_id):
        return [row | {"returned": None} for row in self._view.rows(table, sale_id)]


def ask_before_the_rest(*questions):
    """Change the precedence of refusals: these checks of a new create come first."""

    def plant(monkeypatch):
        def create(working, command):
            if command.reservation_id not in working.reservations:
                for question in questions:
                    question(working, command)
            return decide._Batch.create(working, command)

        monkeypatch.setitem(decide._HANDLERS, Create, create)

    plant.__name__ = "ask_first_whether_" + "_and_".join(question.__name__ for question in questions)
    return plant


def is_open(working, _command):
    working.check_open()


def hold_time_is_allowed(working, command):
    working.hold_time_of(command)


def items_are_there(working, command):
    for line in command.lines:
        working.item(line.item_id)


def limit_is_kept(working, command):
    if not command.allow_partial:
        working.check_limits(command.customer, [line for line in command.lines if line.item_id in working.items])


def units_are_there(working, command):
    levels = [(working.items.get(line.item_id), line) for line in command.lines]
    short = [
        Shortage(line.item_id, line.quantity, level.available)
        for level, line in levels
        if level is not None and level.available < line.quantity
    ]
    if short and not command.allow_partial:
        raise working.insufficient(tuple(short))


def ask_for_the_state_before_the_meaning(monkeypatch):
    """Do not report a reused request id after the sale is closed."""

    def create(working, command):
        known = working.reservations.get(command.reservation_id)
        if known is not None and known.fingerprint != command.fingerprint:
            working.check_open()
        return decide._Batch.create(working, command)

    monkeypatch.setitem(decide._HANDLERS, Create, create)


def remember_sold_out_where_customers_are_limited(monkeypatch):
    real = SoldOut.on_read

    def on_read(memory, began, sale, *rest):
        real(memory, began, replace(sale, limits_customers=False), *rest)

    monkeypatch.setattr(SoldOut, "on_read", on_read)


def tell_that_what_is_sold_may_come_back(monkeypatch):
    tell_of_a_retry_after(monkeypatch, lambda seconds: seconds or 1.0)


def tell_that_what_is_held_is_gone(monkeypatch):
    tell_of_a_retry_after(monkeypatch, lambda _seconds: None)


def tell_of_a_retry_at_once(monkeypatch):
    tell_of_a_retry_after(monkeypatch, lambda seconds: seconds and 0.1)


def tell_of_a_retry_after(monkeypatch, seconds):
    real = decide._Batch.insufficient

    def insufficient(working, shortages, **options):
        refusal = real(working, shortages, **options)
        return InsufficientStock(refusal.shortages, seconds(refusal.retry_after_seconds))

    monkeypatch.setattr(decide._Batch, "insufficient", insufficient)


def wait_for_the_last_hold(monkeypatch):
    real = statements._running
    monkeypatch.setattr(statements, "_running", lambda *arguments: real(*arguments)[::-1])


def never_check_waiting_commands(monkeypatch):
    monkeypatch.setattr(GroupCommit, "_look_after", lambda _self, _lane: None)


def answer_and_forget(monkeypatch, kind, when=lambda _working, _command: True):
    """Answer with something else than what is appended."""
    real = decide._HANDLERS[kind]
    monkeypatch.setitem(
        decide._HANDLERS,
        kind,
        lambda working, command: real(deepcopy(working) if when(working, command) else working, command),
    )


def forget_extensions(monkeypatch):
    answer_and_forget(monkeypatch, Extend)


def forget_confirmations(monkeypatch):
    answer_and_forget(monkeypatch, Confirm)


def forget_releases(monkeypatch):
    answer_and_forget(monkeypatch, Release)


def forget_adjustments(monkeypatch):
    answer_and_forget(monkeypatch, Adjust)


def forget_all_but_a_batchs_first_command_for_a_reservation(monkeypatch):
    def comes_second(working, command):
        return command.reservation_id in working.changed or command.reservation_id in working.created

    for kind in (Extend, Confirm, Release):
        answer_and_forget(monkeypatch, kind, comes_second)


def put_up_sales_that_are_over(monkeypatch):
    real = catalog.insert_sale

    async def insert_sale(connection, new, salt):
        return await real(connection, replace(new, close_at=None), salt)

    monkeypatch.setattr(catalog, "insert_sale", insert_sale)


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (infer_failure_from_absence, ("was not requested", "are told that they were the first")),
        (answer_before_the_commit, ("before it was durable", "was never committed", "is not there")),
        (forget_doubts, ("was not requested", "are told that they were the first")),
        (retry_under_a_new_id, ("is not there", "differs from", "was not requested")),
        (leave_due_holds, ("had to get", "hold units", "are refused")),
        (count_use_as_it_was, ("has ", "refused with CustomerLimitReached")),
        (cancel_a_slow_commit, ("was not requested", "are told that they were the first")),
        (acknowledge_replays_without_a_commit, ("before it was durable", "is not there", "was shortened")),
        (ignore_warnings, ("before it was durable", "was never committed", "is not there")),
        (remember_sold_out_for_ever, ("had to get", "are refused")),
        (refuse_replays_from_memory, ("granted before",)),
        (open_late, ("refused with SaleNotOpen",)),
        (close_early, ("refused with SaleClosed",)),
        (sell_in_paused_sales, ("while the sale was paused", "had to get SalePaused")),
        (refuse_for_ever_what_was_paused_once, ("SalePaused(retry_after_seconds=5.0), and had to get",)),
        (refuse_replays_when_a_sale_is_over, ("granted before",)),
        (refuse_late_confirmations_of_closed_sales, ("(Confirm) was refused with Sale",)),
        (count_due_holds_as_use, ("refused with CustomerLimitReached",)),
        (append_without_the_condition, ("has gaps", "was answered Internal")),
        (write_rules_without_counting, ("while", "or SalePaused")),
        (append_without_counting, ("has gaps", "was answered Internal")),
        (allow_one_less, ("refused with CustomerLimitReached",)),
        (extend_no_further_than_a_hold_time, ("refused with ExtensionLimitReached",)),
        (
            ask_before_the_rest(units_are_there),
            ("to get SaleClosed", "to get SalePaused", "to get SaleNotOpen", "to get CustomerLimit"),
        ),
        (ask_before_the_rest(hold_time_is_allowed), ("InvalidRequest",)),
        (ask_before_the_rest(items_are_there), ("NotFound",)),
        (ask_before_the_rest(is_open, items_are_there), ("had to get InvalidRequest",)),
        (ask_before_the_rest(is_open, units_are_there), ("had to get InvalidRequest", "had to get CustomerLimit")),
        (ask_before_the_rest(is_open, limit_is_kept), ("had to get InvalidRequest", "had to get NotFound")),
        (ask_before_the_rest(is_open, hold_time_is_allowed, limit_is_kept), ("had to get NotFound",)),
        (
            ask_before_the_rest(is_open, hold_time_is_allowed, items_are_there, units_are_there),
            ("to get CustomerLimit",),
        ),
        (ask_for_the_state_before_the_meaning, ("had to get RequestIdReused",)),
        (remember_sold_out_where_customers_are_limited, ("had to get CustomerLimitReached",)),
        (tell_that_what_is_sold_may_come_back, ("had to get InsufficientStock",)),
        (tell_that_what_is_held_is_gone, ("had to get InsufficientStock",)),
        (tell_of_a_retry_at_once, ("had to get InsufficientStock",)),
        (wait_for_the_last_hold, ("had to get InsufficientStock",)),
        (never_check_waiting_commands, ("late that its deadline has passed",)),
        (forget_extensions, ("(Extend) was never committed", "was shortened")),
        (forget_confirmations, ("(Confirm) was never committed", "ended twice")),
        (forget_releases, ("(Release) was never committed", "ended twice")),
        (forget_adjustments, ("(Adjust) was never committed",)),
        (forget_all_but_a_batchs_first_command_for_a_reservation, ("was never committed", "was shortened", "ended tw")),
        (forget_that_units_were_returned, ("came back", "more of")),
        (return_again_what_is_sent_again, ("answered Internal", "made twice", "more of")),
        (count_returned_units_as_use, ("refused with CustomerLimitReached",)),
        (put_up_sales_that_are_over, ("a sale is put up that is over",)),
        (
            take_every_replay_after_a_lost_commit_for_ours,
            ("answered before it was made", "are told that they were the first"),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_bug_is_found(monkeypatch, plant, words):
    plant(monkeypatch)
    faults = find(gives_up_a_standby if plant in NEED_TO_GIVE_UP_A_STANDBY else any_seed)
    assert any(word in faults for word in words), faults
