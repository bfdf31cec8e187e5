"""A sale's rows in memory. It reads as the database does for a batch, and refuses what its constraints refuse."""

from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

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
from holdfast_inventory.domain.decide import Answer, Decision, State, StockChange, Transferred, decide, decide_transfer
from holdfast_inventory.domain.errors import DomainError, InsufficientStock
from holdfast_inventory.domain.item import MAX_UNITS, Item
from holdfast_inventory.domain.movement import AdjustReason, Movement, MovementKind
from holdfast_inventory.domain.reservation import Reservation, ReservationState
from holdfast_inventory.domain.sale import NewSale, Sale

ALL_DUE = 1_000_000


@dataclass
class MemoryStore:
    """One sale. A read shows at most `due_limit` of the holds that are due."""

    sale: Sale
    due_limit: int = ALL_DUE
    decide: Callable[[State, Sequence[Command]], Decision] = field(default=decide, compare=False)
    items: dict[str, Item] = field(default_factory=dict)
    reservations: dict[UUID, Reservation] = field(default_factory=dict)
    stock_changes: dict[UUID, StockChange] = field(default_factory=dict)
    ledger: list[Movement] = field(default_factory=list)

    def add_item(self, item_id: str, on_hand: int, per_customer_limit: int) -> None:
        """Add an item as creating one does: its first stock is a movement."""
        version = 0
        if on_hand:
            version = self.sale.sequence + 1
            received = (MovementKind.ADJUST, item_id, on_hand, 0, 0, None, AdjustReason.RECEIVED, "")
            self.ledger.append(Movement(version, *received, self.sale.created_at))
            self.sale = replace(self.sale, sequence=version)
        self.items[item_id] = Item(item_id, on_hand, 0, 0, per_customer_limit, version)

    # Reading

    def due(self, now: datetime) -> list[Reservation]:
        is_cancelled = self.sale.cancelled_at is not None
        due = [
            reservation
            for reservation in self.reservations.values()
            if reservation.state is ReservationState.HELD and (is_cancelled or reservation.expires_at <= now)
        ]
        return sorted(due, key=lambda reservation: (reservation.expires_at, reservation.reservation_id))

    def read(self, commands: Sequence[Command | Transfer], now: datetime) -> State:
        """Return what the commands touch, and nothing else."""
        on_reservations = Create | Confirm | Release | Extend | Return
        named = {command.reservation_id for command in commands if isinstance(command, on_reservations)}
        found = {key: self.reservations[key] for key in named if key in self.reservations}
        due = self.due(now)
        shown = due[: self.due_limit]
        customers = {command.customer for command in commands if isinstance(command, Create)}
        late = [command for command in commands if isinstance(command, Confirm) and command.allow_late]
        customers |= {found[command.reservation_id].customer for command in late if command.reservation_id in found}
        items = {line.item_id for reservation in [*found.values(), *shown] for line in reservation.lines}
        asked: Tally[str] = Tally()
        for command in commands:
            asked.update(_units_asked_by(command, found))
        items |= asked.keys()
        changes = {command.change_id for command in commands if isinstance(command, Adjust | Return | Transfer)}
        return State(
            sale=self.sale,
            now=now,
            items=MappingProxyType({key: self.items[key] for key in items if key in self.items}),
            reservations=MappingProxyType(found),
            used=MappingProxyType({customer: self.used(customer, now) for customer in sorted(customers)}),
            due=tuple(shown),
            more_due=len(shown) == self.due_limit,
            stock_changes=MappingProxyType(
                {key: self.stock_changes[key] for key in changes if key in self.stock_changes}
            ),
            holds_end_at=MappingProxyType(
                {
                    item_id: ends_at
                    for item_id, ends_at in self.hold_ends(now).items()
                    if item_id in items and self.items[item_id].available < asked[item_id]
                }
            ),
        )

    def hold_ends(self, now: datetime) -> dict[str, datetime]:
        """Return when the first hold that is not due expires, for each item that has one."""
        ends: dict[str, datetime] = {}
        for reservation in self.reservations.values():
            if reservation.state is ReservationState.HELD and reservation.expires_at > now:
                for item_id, _ in reservation.lines:
                    ends[item_id] = min(ends.get(item_id, reservation.expires_at), reservation.expires_at)
        return ends

    def used(self, customer: str, now: datetime) -> Mapping[str, int]:
        used: dict[str, int] = {}
        if self.sale.limits_customers:
            for reservation in self.reservations.values():
                counts = reservation.state is ReservationState.CONFIRMED or (
                    reservation.state is ReservationState.HELD and not reservation.is_due(now)
                )
                if counts and reservation.customer == customer:
                    for item_id, quantity in reservation.kept:
                        used[item_id] = used.get(item_id, 0) + quantity
        return MappingProxyType(used)

    # Deciding and appending

    def run(self, commands: Sequence[Command], now: datetime) -> list[Answer]:
        """Decide one batch: as documented, a starved decision sweeps first and is made again."""
        decision = self.decide(self.read(commands, now), commands)
        while decision.starved:
            self.sweep_once(now)
            decision = self.decide(self.read(commands, now), commands)
        self.append(decision)
        assert len(decision.answers) == len(commands)
        return decision.answers

    def sweep_once(self, now: datetime) -> None:
        swept = self.decide(self.read([Sweep()], now), [Sweep()])
        assert swept.movements, "a sweep that ends nothing would be repeated for ever"
        self.append(swept)

    def append(self, decision: Decision) -> None:
        assert decision.sequence == self.sale.sequence + len(decision.movements)
        assert {item.item_id for item in decision.items} == {movement.item_id for movement in decision.movements}
        self.sale = replace(self.sale, sequence=decision.sequence)
        for item in decision.items:
            assert 0 <= item.held <= item.on_hand <= MAX_UNITS
            assert 0 <= item.sold <= MAX_UNITS
            self.items[item.item_id] = item
        for reservation in decision.created:
            assert reservation.reservation_id not in self.reservations
            self._put(reservation)
        for reservation in decision.changed:
            _require_lawful_change(self.reservations[reservation.reservation_id], reservation)
            self._put(reservation)
        for change in decision.stock_changes:
            assert change.change_id not in self.stock_changes
            self.stock_changes[change.change_id] = change
        self.ledger.extend(decision.movements)

    def _put(self, reservation: Reservation) -> None:
        assert reservation.lines
        assert all(line.quantity > 0 for line in reservation.lines)
        assert (reservation.state is ReservationState.HELD) == (reservation.ended_at is None)
        self.reservations[reservation.reservation_id] = reservation


def put_up(new: NewSale, now: datetime, salt: bytes) -> MemoryStore:
    """Return a sale that is created at this moment."""
    store = MemoryStore(
        Sale(
            sale_id=new.sale_id,
            open_at=new.open_at or now,
            close_at=new.close_at,
            per_customer_limit=new.per_customer_limit,
            hold_time=new.hold_time,
            max_hold_time=new.max_hold_time,
            paused=False,
            cancelled_at=None,
            created_at=now,
            updated_at=now,
            schedule_id=new.schedule_id,
            sequence=0,
            salt=salt,
            limits_customers=new.per_customer_limit > 0 or any(item.per_customer_limit > 0 for item in new.items),
            shop_confirms=new.shop_confirms,
            admission_required=new.admission_required,
            early_access=new.early_access,
        )
    )
    for item in new.items:
        store.add_item(item.item_id, item.on_hand, item.per_customer_limit)
    return store


def run_transfer(
    source: MemoryStore, destination: MemoryStore, command: Transfer, now: datetime
) -> Transferred | DomainError:
    """Make a transfer in one step. A shortage proves nothing while more holds of the source are due."""
    while True:
        state = source.read([command], now)
        try:
            answer, taken, given = decide_transfer(state, destination.read([command], now), command)
        except InsufficientStock as shortage:
            if not state.more_due:
                return shortage
            source.sweep_once(now)
        except DomainError as refusal:
            return refusal
        else:
            source.append(taken)
            destination.append(given)
            return answer


def _units_asked_by(command: Command | Transfer, found: Mapping[UUID, Reservation]) -> dict[str, int]:
    """Return what it would take, or 0, of each item that it names."""
    match command:
        case Create():
            return dict(command.lines)
        case Adjust():
            return {command.item_id: max(-command.delta, 0)}
        case Transfer():
            return {command.destination_item_id: 0, command.source_item_id: command.quantity}
        case Confirm(allow_late=True) if command.reservation_id in found:
            return dict(found[command.reservation_id].lines)
        case _:
            return {}


def _require_lawful_change(before: Reservation, after: Reservation) -> None:
    """Check that a reservation ends once, except that an expired one may be confirmed late; sold units may return."""
    assert before.state is ReservationState.HELD or (before.state, after.state) in (
        (ReservationState.EXPIRED, ReservationState.CONFIRMED),
        (ReservationState.CONFIRMED, ReservationState.CONFIRMED),
    )
    assert before.returned == after.returned or after.state is ReservationState.CONFIRMED
    assert all(units <= dict(after.returned)[item_id] for item_id, units in before.returned)
    assert all(0 <= units <= dict(after.lines)[item_id] for item_id, units in after.kept)
    assert before.expires_at <= after.expires_at
    assert (before.customer, before.lines, before.created_at) == (after.customer, after.lines, after.created_at)
    assert before.fingerprint == after.fingerprint
