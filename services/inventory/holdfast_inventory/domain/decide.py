"""The decisions of the stock core: the effect of a batch of commands on a sale. Pure functions.

Commands are decided in the given order, each on the stock that the commands before it left. With 5 units and requests
for 3, 3, 1, 2 and 1, the answers are yes, no, yes, no, yes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

from holdfast_inventory.domain.commands import (
    Adjust,
    Admission,
    Command,
    Confirm,
    Create,
    Extend,
    Release,
    Return,
    Sweep,
    Transfer,
)
from holdfast_inventory.domain.errors import (
    AdmissionRequired,
    BelowHeld,
    CustomerLimitReached,
    DomainError,
    ExtensionLimitReached,
    FieldViolation,
    InsufficientStock,
    InvalidRequest,
    NotFound,
    NotReturnable,
    PermissionDenied,
    RequestIdReused,
    ReservationConfirmed,
    ReservationExpired,
    ReservationHeld,
    ReservationReleased,
    SaleClosed,
    SaleNotOpen,
    SalePaused,
    Shortage,
    StockChanged,
)
from holdfast_inventory.domain.item import MAX_UNITS, Item, ItemChanges
from holdfast_inventory.domain.movement import AdjustReason, Movement, MovementKind
from holdfast_inventory.domain.reservation import Line, Reservation, ReservationState, merge_lines
from holdfast_inventory.domain.sale import Sale, SaleState

SHOP_SCOPE = "reservations.write"
"""The scope of a caller that may confirm where only the shop confirms."""

_TOO_MANY_UNITS = f"the item cannot count more than {MAX_UNITS} units"

MIN_RETRY_SECONDS = 1.0
"""The shortest retry delay of a refusal for lack of stock."""


class StockChange(NamedTuple):
    """An adjustment, transfer or return to remember by its id."""

    change_id: UUID
    fingerprint: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class State:
    """Everything that the commands of a batch touch, as it was read from the store.

    `used` has, for each customer and item, the units confirmed or held and not due at `now`; it may be empty if
    the sale does not limit customers. `due` are open holds that have run out (in a cancelled sale, all open holds);
    `more_due`: there are more of them than were read. `stock_changes` has those of the batch that were made before,
    by their ids. `holds_end_at` has, for each held item that may be short in this batch, when its first
    open hold that is not due runs out, or an earlier time.
    """

    sale: Sale
    now: datetime
    items: Mapping[str, Item]
    reservations: Mapping[UUID, Reservation]
    used: Mapping[str, Mapping[str, int]]
    due: Sequence[Reservation]
    more_due: bool
    stock_changes: Mapping[UUID, StockChange]
    holds_end_at: Mapping[str, datetime]


class Done(NamedTuple):
    """A reservation after its command. `replayed`: the command had been executed before.

    `executed_at`: when that was, if it was recorded; otherwise the time of this execution.
    """

    reservation: Reservation
    replayed: bool
    executed_at: datetime | None = None


class Adjusted(NamedTuple):
    """An item after its adjustment. `replayed`: it had been made before, and the item is in its present state.

    `executed_at`: when it was made.
    """

    item: Item
    replayed: bool
    executed_at: datetime


class Swept(NamedTuple):
    """How many due holds the batch ended."""

    ended: int


Reply = Done | Adjusted | Swept
Answer = Reply | DomainError


@dataclass(frozen=True, slots=True)
class Decision:
    """The answers, and what to append before they are sent.

    `answers` has one per command. `starved`: a command was refused for lack of stock or because of a limit while more
    holds are due than were read; first decide and append a `Sweep`, then read and decide again. `holds_end_at` is that
    of the state, with the holds that were created.
    """

    answers: list[Answer]
    sequence: int
    items: list[Item]
    created: list[Reservation]
    changed: list[Reservation]
    movements: list[Movement]
    stock_changes: list[StockChange]
    starved: bool
    holds_end_at: Mapping[str, datetime]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to append."""
        return not (self.movements or self.created or self.changed or self.stock_changes)


class Transferred(NamedTuple):
    """Both items after a transfer, or in their present state if it had been made before. `executed_at`: when."""

    source: Item
    destination: Item
    replayed: bool
    executed_at: datetime


def decide(state: State, commands: Iterable[Command]) -> Decision:
    """Return the decision on `commands`, in order. A refused command changes nothing; its answer is the refusal."""
    batch = _Batch(state)
    batch.end_due_holds()
    return batch.decision([batch.answer(command) for command in commands])


def decide_transfer(source: State, destination: State, command: Transfer) -> tuple[Transferred, Decision, Decision]:
    """Decide a transfer under both sales' locks. Return the answer and what to append to source and destination.

    Raises `NotFound`, `RequestIdReused` and `InsufficientStock`, and `InvalidRequest` if the destination would exceed
    `MAX_UNITS`. Due holds of both sales are ended first; a shortage is not final while `source.more_due`.
    """
    taken, given = _Batch(source), _Batch(destination)
    taken.end_due_holds()
    given.end_due_holds()
    made = taken.stock_change(command.change_id, command.fingerprint)
    replayed = made is not None
    if made is None:
        available = taken.item(command.source_item_id).available
        if available < command.quantity:
            raise taken.insufficient((Shortage(command.source_item_id, command.quantity, available),))
        made = taken.remember(command.change_id, command.fingerprint)
        taken.move_by_hand(MovementKind.TRANSFER, command.source_item_id, -command.quantity, None, command.actor)
        given.move_by_hand(MovementKind.TRANSFER, command.destination_item_id, command.quantity, None, command.actor)
    answer = Transferred(
        taken.item(command.source_item_id), given.item(command.destination_item_id), replayed, made.created_at
    )
    return answer, taken.decision([]), given.decision([])


def decide_first_stock(state: State, units: Mapping[str, int], actor: str) -> Decision:
    """Return the decision that gives new, empty items their first units, as received. Zero units make no movement."""
    batch = _Batch(state)
    for item_id, quantity in units.items():
        if quantity:
            batch.move_by_hand(MovementKind.ADJUST, item_id, quantity, AdjustReason.RECEIVED, actor)
    return batch.decision([])


def decide_item_update(state: State, item_id: str, changes: ItemChanges, actor: str) -> tuple[Item, Decision]:
    """Decide a change of an item under the sale's lock. Return the item after it, and what to append.

    Due holds are ended first. Raises `NotFound`, `StockChanged`, `BelowHeld` and `InvalidRequest`.
    """
    batch = _Batch(state)
    batch.end_due_holds()
    item = batch.item(item_id)
    if changes.expected_version not in {None, item.version}:
        raise StockChanged(item.version)
    if changes.on_hand is not None and changes.on_hand != item.on_hand:
        if changes.on_hand < item.held:
            raise BelowHeld(item.on_hand, item.held)
        if changes.on_hand + item.sold > MAX_UNITS:
            raise InvalidRequest((FieldViolation("item.on_hand", _TOO_MANY_UNITS),))
        batch.move_by_hand(MovementKind.ADJUST, item_id, changes.on_hand - item.on_hand, changes.reason, actor)
    return changes.applied_to(batch.items[item_id]), batch.decision([])


def decide_draw(source: State, destination: State, most: Mapping[str, int], actor: str) -> tuple[Decision, Decision]:
    """Move the available units, up to `most` of each item, to the destination's items of the same ids.

    The caller holds both sales' locks. Due holds of the source are ended first. Items that the source does not have
    are skipped, and so are units that would exceed `MAX_UNITS` in the destination.
    """
    taken, given = _Batch(source), _Batch(destination)
    taken.end_due_holds()
    for item_id, wanted in most.items():
        if item_id not in taken.items:
            continue
        level = given.item(item_id)
        units = min(wanted, taken.item(item_id).available, MAX_UNITS - level.on_hand - level.sold)
        if units > 0:
            taken.move_by_hand(MovementKind.TRANSFER, item_id, -units, None, actor)
            given.move_by_hand(MovementKind.TRANSFER, item_id, units, None, actor)
    return taken.decision([]), given.decision([])


@dataclass(slots=True)
class _Batch:
    """A working copy of a state, and what has been appended to it so far."""

    state: State
    sequence: int = field(init=False)
    items: dict[str, Item] = field(init=False)
    reservations: dict[UUID, Reservation] = field(init=False)
    used: dict[str, dict[str, int]] = field(init=False)
    stock_changes: dict[UUID, StockChange] = field(init=False)
    holds_end_at: dict[str, datetime] = field(init=False)
    new_stock_changes: list[StockChange] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    created: dict[UUID, None] = field(default_factory=dict)
    changed: dict[UUID, None] = field(default_factory=dict)
    moved_items: dict[str, None] = field(default_factory=dict)
    ended: int = 0
    starved: bool = False

    def __post_init__(self) -> None:
        self.sequence = self.state.sale.sequence
        self.items = dict(self.state.items)
        self.reservations = dict(self.state.reservations)
        self.used = {customer: dict(items) for customer, items in self.state.used.items()}
        self.stock_changes = dict(self.state.stock_changes)
        self.holds_end_at = dict(self.state.holds_end_at)

    def decision(self, answers: list[Answer]) -> Decision:
        return Decision(
            answers=answers,
            sequence=self.sequence,
            items=[self.items[item_id] for item_id in self.moved_items],
            created=[self.reservations[reservation_id] for reservation_id in self.created],
            changed=[self.reservations[reservation_id] for reservation_id in self.changed],
            movements=self.movements,
            stock_changes=self.new_stock_changes,
            starved=self.starved,
            holds_end_at=self.holds_end_at,
        )

    def answer(self, command: Command) -> Answer:
        try:
            return _HANDLERS[type(command)](self, command)
        except DomainError as refusal:
            return refusal.with_traceback(None)

    # Reservations

    def create(self, command: Create) -> Done:
        known = self.reservations.get(command.reservation_id)
        if known is not None:
            if known.fingerprint != command.fingerprint:
                raise RequestIdReused
            return Done(self.settled(known), replayed=True, executed_at=known.created_at)
        if command.confirm:
            self.check_may_confirm(command)
        self.check_admission(command.admission)
        self.check_open(early=command.admission is Admission.EARLY)
        hold_time = self.hold_time_of(command)
        lines = self.granted_lines(command)
        now = self.state.now
        reservation = Reservation(
            reservation_id=command.reservation_id,
            customer=command.customer,
            lines=lines,
            returned=(),
            state=ReservationState.CONFIRMED if command.confirm else ReservationState.HELD,
            created_at=now,
            expires_at=now if command.confirm else now + hold_time,
            ended_at=now if command.confirm else None,
            order=command.order if command.confirm else "",
            fingerprint=command.fingerprint,
            notes=command.notes,
        )
        self.reservations[reservation.reservation_id] = reservation
        self.created[reservation.reservation_id] = None
        self.count_use(reservation.customer, lines)
        if command.confirm:
            self.sell(reservation, command.actor, was_held=False)
        else:
            self.hold(reservation, command.actor)
        return Done(reservation, replayed=False, executed_at=now)

    def confirm(self, command: Confirm) -> Done:
        reservation = self.reservation(command.reservation_id, command.customer)
        if reservation.state is ReservationState.CONFIRMED and command.order in {"", reservation.order}:
            return Done(reservation, replayed=True, executed_at=reservation.ended_at)
        self.check_may_confirm(command)
        match reservation.state:
            case ReservationState.HELD:
                was_held = True
            case ReservationState.EXPIRED if command.allow_late:
                self.check_late_confirmation(reservation)
                was_held = False
            case _:
                _refuse_ended(reservation)
        confirmed = self.end(reservation, ReservationState.CONFIRMED, command.order)
        self.sell(confirmed, command.actor, was_held=was_held)
        return Done(confirmed, replayed=False, executed_at=confirmed.ended_at)

    def release(self, command: Release) -> Done:
        reservation = self.reservation(command.reservation_id, command.customer)
        if reservation.state is ReservationState.RELEASED:
            return Done(reservation, replayed=True, executed_at=reservation.ended_at)
        if reservation.state is not ReservationState.HELD:
            _refuse_ended(reservation)
        released = self.give_back(reservation, ReservationState.RELEASED, command.actor)
        return Done(released, replayed=False, executed_at=released.ended_at)

    def extend(self, command: Extend) -> Done:
        reservation = self.reservation(command.reservation_id, command.customer)
        if reservation.state is not ReservationState.HELD:
            _refuse_ended(reservation)
        latest = reservation.created_at + self.state.sale.max_hold_time
        if command.expires_at <= reservation.expires_at:
            return Done(reservation, replayed=True)
        if command.expires_at > latest:
            raise ExtensionLimitReached(latest)
        return Done(self.change(reservation._replace(expires_at=command.expires_at)), replayed=False)

    def take_back(self, command: Return) -> Done:
        reservation = self.reservation(command.reservation_id, command.customer)
        if made := self.stock_change(command.change_id, command.fingerprint):
            return Done(reservation, replayed=True, executed_at=made.created_at)
        if reservation.state is ReservationState.HELD:
            raise ReservationHeld
        if reservation.state is not ReservationState.CONFIRMED:
            _refuse_ended(reservation)
        lines = _returned_lines(reservation, command.lines)
        self.remember(command.change_id, command.fingerprint)
        for item_id, quantity in lines:
            self.move(
                MovementKind.RETURN,
                item_id,
                on_hand=quantity if command.restock else 0,
                sold=-quantity,
                reservation=reservation,
                reason=command.reason,
                actor=command.actor,
            )
        self.count_use(reservation.customer, lines, sign=-1)
        returned = merge_lines((*reservation.returned, *lines))
        changed = self.change(reservation._replace(returned=returned))
        return Done(changed, replayed=False, executed_at=self.state.now)

    def sweep(self, _: Sweep) -> Swept:
        return Swept(self.ended)

    def check_may_confirm(self, command: Create | Confirm) -> None:
        if command.by_buyer and self.state.sale.shop_confirms:
            raise PermissionDenied("in this sale only the shop confirms", SHOP_SCOPE)

    def check_admission(self, admission: Admission) -> None:
        if self.state.sale.admission_required and not admission.is_valid:
            is_expired = admission is Admission.EXPIRED
            raise AdmissionRequired(f"the admission token {'has expired' if is_expired else 'is missing'}")

    def check_open(self, *, early: bool = False) -> None:
        sale, now = self.state.sale, self.state.now
        match sale.state_at(now, early=early):
            case SaleState.SCHEDULED:
                opens_at = sale.opens_at(early=early)
                raise SaleNotOpen(opens_at, (opens_at - now).total_seconds())
            case SaleState.PAUSED:
                raise SalePaused
            case SaleState.CLOSED | SaleState.CANCELLED:
                raise SaleClosed

    def hold_time_of(self, command: Create) -> timedelta:
        sale = self.state.sale
        hold_time = command.hold_time or sale.hold_time
        if hold_time > sale.max_hold_time:
            rule = f"must be at most the sale's max_hold_time, {sale.max_hold_time.total_seconds():g} s"
            raise InvalidRequest((FieldViolation("hold_time", rule),))
        return hold_time

    def granted_lines(self, command: Create) -> tuple[Line, ...]:
        lines, shortages = command.lines, self.shortages(command.lines)
        if command.allow_partial and shortages:
            # A due hold that was not read may keep units that a partial grant should get: read it first.
            self.starved |= self.state.more_due
            available = {short.item_id: short.available for short in shortages}
            granted = [Line(item_id, available.get(item_id, quantity)) for item_id, quantity in lines]
            lines = tuple([line for line in granted if line.quantity > 0])
            shortages = () if lines else shortages
        # The limit comes first: its refusal is final, but a shortage may be temporary.
        self.check_limits(command.customer, lines)
        if shortages:
            raise self.insufficient(shortages, partly=command.allow_partial)
        return lines

    def shortages(self, lines: tuple[Line, ...]) -> tuple[Shortage, ...]:
        """Return which of the lines, one for each item, ask for more than there is. Raise `NotFound`."""
        return tuple(
            [
                Shortage(item_id, quantity, max(available, 0))
                for item_id, quantity in lines
                if (available := self.item(item_id).available) < quantity
            ]
        )

    def insufficient(self, shortages: tuple[Shortage, ...], *, partly: bool = False) -> InsufficientStock:
        """Return the refusal. A retry can help if open holds have the missing units; `partly`: one unit is enough."""
        self.starved |= self.state.more_due
        held = [short for short in shortages if self.item(short.item_id).on_hand >= (1 if partly else short.asked)]
        if not held or (len(held) < len(shortages) and not partly):
            return InsufficientStock(shortages)
        waits = [self.seconds_to_first_end(short.item_id) for short in held]
        return InsufficientStock(shortages, min(waits) if partly else max(waits))

    def seconds_to_first_end(self, item_id: str) -> float:
        """Return the seconds until the first hold on an item ends."""
        ends_at = self.holds_end_at.get(item_id, self.state.now)
        return max((ends_at - self.state.now).total_seconds(), MIN_RETRY_SECONDS)

    def check_limits(self, customer: str, lines: tuple[Line, ...]) -> None:
        sale = self.state.sale
        if not sale.limits_customers:
            return
        used = self.used.get(customer, {})
        for line in lines:
            limit = self.item(line.item_id).per_customer_limit
            if limit and used.get(line.item_id, 0) + line.quantity > limit:
                raise CustomerLimitReached(limit, used.get(line.item_id, 0), line.item_id)
        if sale.per_customer_limit:
            total = sum(used.values())
            if total + sum(line.quantity for line in lines) > sale.per_customer_limit:
                raise CustomerLimitReached(sale.per_customer_limit, total)

    def check_late_confirmation(self, reservation: Reservation) -> None:
        if self.state.sale.cancelled_at is not None:
            raise SaleClosed
        self.check_limits(reservation.customer, reservation.lines)
        if shortages := self.shortages(reservation.lines):
            raise self.insufficient(shortages)
        self.count_use(reservation.customer, reservation.lines)

    def reservation(self, reservation_id: UUID, customer: str) -> Reservation:
        known = self.reservations.get(reservation_id)
        if known is None or (customer and customer != known.customer):
            raise NotFound(f"sales/{self.state.sale.sale_id}/reservations/{reservation_id}")
        return self.settled(known)

    def settled(self, reservation: Reservation) -> Reservation:
        """Return the reservation. If it is a due hold, end it first."""
        if not self.must_end(reservation):
            return reservation
        self.ended += 1
        cancelled_at = self.state.sale.cancelled_at
        # A hold that ran out before the sale was cancelled has expired, even if it is ended later.
        released = cancelled_at is not None and cancelled_at < reservation.expires_at
        return self.give_back(reservation, ReservationState.RELEASED if released else ReservationState.EXPIRED)

    def must_end(self, reservation: Reservation) -> bool:
        if self.state.sale.cancelled_at is not None:
            return reservation.state is ReservationState.HELD
        return reservation.is_due(self.state.now)

    def end_due_holds(self) -> None:
        for reservation in self.state.due:
            known = self.reservations.setdefault(reservation.reservation_id, reservation)
            self.settled(known)

    # Stock

    def item(self, item_id: str) -> Item:
        item = self.items.get(item_id)
        if item is None:
            raise NotFound(f"sales/{self.state.sale.sale_id}/items/{item_id}")
        return item

    def adjust(self, command: Adjust) -> Adjusted:
        item = self.item(command.item_id)
        if made := self.stock_change(command.change_id, command.fingerprint):
            return Adjusted(item, replayed=True, executed_at=made.created_at)
        if command.expected_version is not None and command.expected_version != item.version:
            raise StockChanged(item.version)
        if command.delta < 0 and item.available + command.delta < 0:
            self.starved |= self.state.more_due
            raise BelowHeld(item.on_hand, item.held)
        self.move_by_hand(MovementKind.ADJUST, command.item_id, command.delta, command.reason, command.actor)
        self.remember(command.change_id, command.fingerprint)
        return Adjusted(self.items[command.item_id], replayed=False, executed_at=self.state.now)

    def stock_change(self, change_id: UUID, fingerprint: bytes) -> StockChange | None:
        known = self.stock_changes.get(change_id)
        if known is not None and known.fingerprint != fingerprint:
            raise RequestIdReused
        return known

    def remember(self, change_id: UUID, fingerprint: bytes) -> StockChange:
        made = self.stock_changes[change_id] = StockChange(change_id, fingerprint, self.state.now)
        self.new_stock_changes.append(made)
        return made

    def move_by_hand(
        self, kind: MovementKind, item_id: str, delta: int, reason: AdjustReason | None, actor: str
    ) -> None:
        item = self.item(item_id)
        # Sold units may come back by RETURNED, so the sum must not exceed the maximum.
        if item.on_hand + item.sold + delta > MAX_UNITS:
            name = "quantity" if kind is MovementKind.TRANSFER else "delta"
            raise InvalidRequest((FieldViolation(name, _TOO_MANY_UNITS),))
        self.move(kind, item_id, on_hand=delta, reason=reason, actor=actor)

    def hold(self, reservation: Reservation, actor: str) -> None:
        for line in reservation.lines:
            self.note_end(line.item_id, reservation.expires_at)
            self.move(MovementKind.HOLD, line.item_id, held=line.quantity, reservation=reservation, actor=actor)

    def note_end(self, item_id: str, ends_at: datetime) -> None:
        """Note the end of a new hold on an item. If it is not known when the other holds end, it stays unknown."""
        if not self.items[item_id].held:
            self.holds_end_at[item_id] = ends_at
        elif item_id in self.holds_end_at:
            self.holds_end_at[item_id] = min(self.holds_end_at[item_id], ends_at)

    def sell(self, reservation: Reservation, actor: str, *, was_held: bool) -> None:
        for item_id, quantity in reservation.lines:
            held = -quantity if was_held else 0
            self.move(
                MovementKind.CONFIRM,
                item_id,
                on_hand=-quantity,
                held=held,
                sold=quantity,
                reservation=reservation,
                actor=actor,
            )

    def give_back(self, reservation: Reservation, state: ReservationState, actor: str = "") -> Reservation:
        kind = MovementKind.EXPIRE if state is ReservationState.EXPIRED else MovementKind.RELEASE
        for line in reservation.lines:
            self.move(kind, line.item_id, held=-line.quantity, reservation=reservation, actor=actor)
        # A due hold is no longer part of `used`; any other is.
        if not reservation.is_due(self.state.now):
            self.count_use(reservation.customer, reservation.lines, sign=-1)
        return self.end(reservation, state, order="")

    def end(self, reservation: Reservation, state: ReservationState, order: str) -> Reservation:
        return self.change(reservation._replace(state=state, ended_at=self.state.now, order=order))

    def change(self, reservation: Reservation) -> Reservation:
        self.reservations[reservation.reservation_id] = reservation
        if reservation.reservation_id not in self.created:
            self.changed[reservation.reservation_id] = None
        return reservation

    def count_use(self, customer: str, lines: tuple[Line, ...], sign: int = 1) -> None:
        if not self.state.sale.limits_customers:
            return
        used = self.used.setdefault(customer, {})
        for item_id, quantity in lines:
            used[item_id] = used.get(item_id, 0) + sign * quantity

    def move(
        self,
        kind: MovementKind,
        item_id: str,
        *,
        on_hand: int = 0,
        held: int = 0,
        sold: int = 0,
        reservation: Reservation | None = None,
        reason: AdjustReason | None = None,
        actor: str = "",
    ) -> None:
        """Append a movement. Every change of stock is made here, so the ledger cannot differ from the stock levels."""
        self.sequence += 1
        item = self.items[item_id]
        self.items[item_id] = Item(
            item_id,
            item.on_hand + on_hand,
            item.held + held,
            item.sold + sold,
            item.per_customer_limit,
            self.sequence,
        )
        self.moved_items[item_id] = None
        reservation_id = None if reservation is None else reservation.reservation_id
        self.movements.append(
            Movement(
                self.sequence,
                kind,
                item_id,
                on_hand,
                held,
                sold,
                reservation_id,
                reason,
                actor,
                self.state.now,
            )
        )


_HANDLERS: Mapping[type[Command], Callable[[_Batch, Any], Reply]] = {
    Create: _Batch.create,
    Confirm: _Batch.confirm,
    Release: _Batch.release,
    Extend: _Batch.extend,
    Return: _Batch.take_back,
    Adjust: _Batch.adjust,
    Sweep: _Batch.sweep,
}


def _returned_lines(reservation: Reservation, asked: tuple[Line, ...]) -> tuple[Line, ...]:
    """Return the lines that come back: those asked for, or all that are left. Raise `NotReturnable`."""
    left = dict(reservation.kept)
    lines = asked or tuple([line for line in reservation.kept if line.quantity])
    for item_id, quantity in lines or reservation.lines:
        if left.get(item_id, 0) < quantity:
            raise NotReturnable(item_id, quantity, left.get(item_id, 0))
    return lines


def _refuse_ended(reservation: Reservation) -> NoReturn:
    match reservation.state:
        case ReservationState.CONFIRMED:
            raise ReservationConfirmed(reservation.order)
        case ReservationState.RELEASED:
            raise ReservationReleased
        case _:
            raise ReservationExpired(reservation.expires_at)
