"""Runs a program with `decide` over memory stores and, on request, with naive models."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from holdfast_inventory.domain import identity
from holdfast_inventory.domain.commands import (
    Adjust,
    Command,
    Confirm,
    Create,
    Extend,
    Release,
    Return,
    Sweep,
    Transfer,
)
from holdfast_inventory.domain.decide import Answer, Decision, State, Transferred, decide
from holdfast_inventory.domain.reservation import Line, merge_lines
from holdfast_inventory.domain.sale import NewItem, NewSale
from tests.property import naive_model
from tests.property.memory_store import ALL_DUE, MemoryStore, put_up, run_transfer
from tests.property.naive_model import NaiveSale
from tests.property.programs import (
    ITEMS,
    Again,
    Batch,
    Buy,
    CleanUp,
    GiveBack,
    Move,
    Pay,
    Program,
    Prolong,
    Recount,
    Rule,
    SendBack,
    Setup,
    Wait,
)

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOLD_TIME = timedelta(seconds=5)
MAX_HOLD_TIME = timedelta(seconds=20)


@dataclass(frozen=True)
class Sent:
    """A command, and the lines of its request before they were merged."""

    command: Command
    lines: tuple[Line, ...] = ()

    @property
    def as_requested(self) -> Command:
        return self.command._replace(lines=self.lines) if isinstance(self.command, Create) else self.command


@dataclass(frozen=True)
class Played:
    """The answers of a batch or a transfer, with those of the model."""

    sale: int
    sent: tuple[Sent, ...]
    answers: list[Answer | Transferred]
    expected: list[tuple]
    now: datetime


@dataclass
class Counter:
    """One sale of the rehearsal: its store, its model, and what its callers know."""

    store: MemoryStore
    model: NaiveSale
    reservation_ids: list[UUID] = field(default_factory=list)
    customers: dict[UUID, str] = field(default_factory=dict)
    history: list[Sent] = field(default_factory=list)
    nonce: int = 0

    def forget_refused(self) -> None:
        self.reservation_ids = [known for known in self.reservation_ids if known in self.store.reservations]

    def fresh_id(self) -> UUID:
        self.nonce += 1
        return UUID(int=self.nonce)


class Rehearsal:
    """Two sales, `sale-0` and `sale-1`. `batch_size` cuts a program's batches further; the rest is the stores'."""

    def __init__(
        self,
        program: Program,
        due_limit: int = ALL_DUE,
        batch_size: int | None = None,
        decide: Callable[[State, Sequence[Command]], Decision] = decide,
    ) -> None:
        self.now = START
        self.batch_size = batch_size
        self.acts = program.acts
        self.counters = [_opened(index, setup) for index, setup in enumerate(program.setups)]
        for counter in self.counters:
            counter.store.due_limit, counter.store.decide = due_limit, decide

    def play(self) -> Iterator[Played]:
        for act in self.acts:
            match act:
                case Wait(seconds):
                    self.now += timedelta(seconds=seconds)
                case Rule():
                    self.change_rules(act)
                case Move():
                    yield self.transfer(act)
                case Batch(sale, steps):
                    yield self.batch(sale, steps)

    # Batches

    def batch(self, sale: int, steps: tuple) -> Played:
        counter = self.counters[sale]
        counter.forget_refused()
        if any(_expects_a_version(counter, step) for step in steps):
            # A caller with an expected version has read it when no due hold was left that could change it.
            while counter.store.due(self.now):
                counter.store.sweep_once(self.now)
            counter.model.versions = {item.item_id: item.version for item in counter.store.items.values()}
        sent = tuple(self.translate(counter, step) for step in steps)
        commands = [one.command for one in sent]
        size = self.batch_size or len(commands)
        cuts = [commands[start : start + size] for start in range(0, len(commands), size)]
        answers = [answer for cut in cuts for answer in counter.store.run(cut, self.now)]
        expected = [counter.model.answer(one.as_requested, self.now) for one in sent]
        return Played(sale, sent, answers, expected, self.now)

    def translate(self, counter: Counter, step: object) -> Sent:
        if isinstance(step, Again):
            sent = counter.history[step.target % len(counter.history)] if counter.history else Sent(Sweep())
        elif isinstance(step, Buy):
            sent = self.create(counter, step)
        else:
            sent = Sent(self.command(counter, step))
        counter.history.append(sent)
        return sent

    def create(self, counter: Counter, step: Buy) -> Sent:
        lines = tuple(Line(item_id, quantity) for item_id, quantity in step.lines)
        hold_time = None if step.hold_seconds is None else timedelta(seconds=step.hold_seconds)
        policy = {"allow_partial": step.allow_partial, "confirm": step.confirm, "order": step.order}
        merged = merge_lines(lines)
        reservation_id = counter.fresh_id()
        if step.request_id is not None:
            reservation_id = identity.reservation_id(counter.store.sale.salt, step.customer, step.request_id)
        if reservation_id not in counter.reservation_ids:
            counter.reservation_ids.append(reservation_id)
        counter.customers[reservation_id] = step.customer
        fingerprint = identity.create_fingerprint(step.customer, merged, hold_time, **policy)
        command = Create(
            reservation_id,
            step.customer,
            merged,
            hold_time,
            fingerprint=fingerprint,
            by_buyer=step.by_buyer,
            admission=step.admission,
            **policy,
        )
        return Sent(command, lines)

    def command(self, counter: Counter, step: object) -> Command:
        match step:
            case Pay(target, order, allow_late, asker, by_buyer):
                reservation_id, customer = _target(counter, target, asker)
                return Confirm(reservation_id, order, allow_late, customer, by_buyer=by_buyer)
            case GiveBack(target, asker):
                return Release(*_target(counter, target, asker))
            case Prolong(target, seconds, asker):
                reservation_id, customer = _target(counter, target, asker)
                return Extend(reservation_id, self.now + timedelta(seconds=seconds), customer)
            case SendBack():
                return self.take_back(counter, step)
            case Recount():
                return self.adjust(counter, step)
            case CleanUp():
                return Sweep()
        raise AssertionError(step)

    def adjust(self, counter: Counter, step: Recount) -> Adjust:
        item = counter.store.items.get(step.item_id)
        version = None if step.version_behind is None or item is None else item.version - step.version_behind
        change_id = _change_id(counter, step.request_id)
        fingerprint = identity.adjust_fingerprint(step.item_id, step.delta, step.reason, version)
        return Adjust(change_id, step.item_id, step.delta, step.reason, version, "clerk", fingerprint)

    def take_back(self, counter: Counter, step: SendBack) -> Return:
        reservation_id, customer = _target(counter, step.target, step.asker)
        lines = merge_lines(Line(item_id, quantity) for item_id, quantity in step.lines)
        change_id = _change_id(counter, step.request_id)
        fingerprint = identity.return_fingerprint(reservation_id, lines, step.reason, restock=step.restock)
        return Return(change_id, reservation_id, lines, step.restock, step.reason, customer, "clerk", fingerprint)

    # Everything else

    def transfer(self, move: Move) -> Played:
        source, destination = self.counters[move.source], self.counters[1 - move.source]
        source_sale_id, destination_sale_id = source.store.sale.sale_id, destination.store.sale.sale_id
        fingerprint = identity.transfer_fingerprint(move.item_id, destination_sale_id, move.to_item_id, move.quantity)
        change_id = _change_id(source, move.request_id)
        places = (source_sale_id, move.item_id, destination_sale_id, move.to_item_id)
        command = Transfer(change_id, *places, move.quantity, "clerk", fingerprint)
        answer = run_transfer(source.store, destination.store, command, self.now)
        expected = naive_model.transfer(source.model, destination.model, command, self.now)
        return Played(move.source, (), [answer], [expected], self.now)

    def change_rules(self, rule: Rule) -> None:
        counter = self.counters[rule.sale]
        sale = counter.store.sale
        match rule.change:
            case "pause" | "resume":
                sale = replace(sale, paused=rule.change == "pause")
            case "close" | "reopen":
                sale = replace(sale, close_at=self.now if rule.change == "close" else None)
            case "postpone" | "open":
                sale = replace(sale, open_at=self.now + timedelta(seconds=3 if rule.change == "postpone" else 0))
            case "cancel":
                sale = replace(sale, cancelled_at=sale.cancelled_at or self.now)
            case "limit":
                sale = replace(sale, per_customer_limit=rule.value)
            case "max_hold":
                sale = replace(sale, max_hold_time=max(sale.hold_time, timedelta(seconds=rule.value)))
            case "shop_confirms" | "admission_required":
                sale = replace(sale, **{rule.change: rule.value > 0})
            case "early_access":
                sale = replace(sale, early_access=timedelta(seconds=rule.value))
        limits = any(item.per_customer_limit for item in counter.store.items.values())
        counter.store.sale = counter.model.rules = replace(sale, limits_customers=limits or sale.per_customer_limit > 0)

    def sweep_all(self) -> None:
        """End every due hold, so that the stored state is the present one."""
        for counter in self.counters:
            while counter.store.due(self.now):
                counter.store.sweep_once(self.now)


def _opened(index: int, setup: Setup) -> Counter:
    items = tuple(map(NewItem, ITEMS, setup.stock, setup.item_limits))
    new = NewSale(f"sale-{index}", None, None, setup.limit, HOLD_TIME, MAX_HOLD_TIME, items)
    store = put_up(new, START, bytes([index]) * identity.SALT_BYTES)
    limits = dict(zip(ITEMS, setup.item_limits, strict=True))
    return Counter(store, NaiveSale(store.sale, limits, dict(zip(ITEMS, setup.stock, strict=True))))


def _target(counter: Counter, target: int, asker: str) -> tuple[UUID, str]:
    """Return one of the last requested reservations, granted or not, and a customer that claims it."""
    if not counter.reservation_ids:
        return UUID(int=2**127), ""
    reservation_id = counter.reservation_ids[-1 - target % len(counter.reservation_ids)]
    claims = {"anyone": "", "owner": counter.customers[reservation_id], "stranger": "mallory"}
    return reservation_id, claims[asker]


def _expects_a_version(counter: Counter, step: object) -> bool:
    if isinstance(step, Again):
        return any(getattr(sent.command, "expected_version", None) is not None for sent in counter.history)
    return isinstance(step, Recount) and step.version_behind is not None


def _change_id(counter: Counter, request_id: str | None) -> UUID:
    if request_id is None:
        return counter.fresh_id()
    return identity.stock_change_id(counter.store.sale.salt, request_id)
