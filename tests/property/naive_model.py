"""The simplest model of a sale: the units that were received, and a list of reservations.

It is written from the contract, not from `decide`. It has no levels, no counters and no ledger: every value is
computed from the reservations, and a hold has ended when its time has passed.
One command at a time; answers are plain tuples that `plain_answers` can compare with those of `decide`.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
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
from holdfast_inventory.domain.sale import Sale

MOST_UNITS = 2_147_483_647


class Refused(Exception):
    """The reason and its facts."""


@dataclass
class Booking:
    """A reservation. `ended_as` is set by commands; expiry and cancellation are derived."""

    reservation_id: UUID
    meaning: tuple
    customer: str
    units: dict[str, int]
    created_at: datetime
    expires_at: datetime
    ended_as: str | None = None
    order: str = ""
    returned: dict[str, int] = field(default_factory=dict)

    def left(self, item_id: str) -> int:
        """Units that did not come back."""
        return self.units.get(item_id, 0) - self.returned.get(item_id, 0)


@dataclass
class NaiveSale:
    """Takes commands whose lines need not be merged. `rules` may be replaced between commands."""

    rules: Sale
    limits: dict[str, int]
    received: dict[str, int]
    bookings: dict[UUID, Booking] = field(default_factory=dict)
    changes: dict[UUID, tuple] = field(default_factory=dict)
    # The version of each item as its caller has read it; gone as soon as the item changes.
    versions: dict[str, int] = field(default_factory=dict)

    # Queries

    def state(self, booking: Booking, now: datetime) -> str:
        cancelled_at = self.rules.cancelled_at
        if booking.ended_as:
            return booking.ended_as
        if cancelled_at is not None and cancelled_at < booking.expires_at:
            return "RELEASED"
        return "EXPIRED" if booking.expires_at <= now else "HELD"

    def units(self, item_id: str, now: datetime, states: set[str], customer: str | None = None) -> int:
        return sum(
            booking.left(item_id)
            for booking in self.bookings.values()
            if self.state(booking, now) in states and customer in (None, booking.customer)
        )

    def level(self, item_id: str, now: datetime) -> tuple[int, int, int]:
        """Units on hand, held and sold."""
        sold = self.units(item_id, now, {"CONFIRMED"})
        return self.received[item_id] - sold, self.units(item_id, now, {"HELD"}), sold

    def available(self, item_id: str, now: datetime) -> int:
        if item_id not in self.received:
            raise Refused("NOT_FOUND", f"sales/{self.rules.sale_id}/items/{item_id}")
        on_hand, held, _ = self.level(item_id, now)
        return on_hand - held

    def view(self, booking: Booking, now: datetime) -> tuple:
        """Return a reservation as its caller sees it."""
        return (
            booking.reservation_id,
            booking.customer,
            tuple(sorted(booking.units.items())),
            self.state(booking, now),
            booking.created_at,
            booking.expires_at,
            booking.order,
            tuple(sorted(booking.returned.items())),
        )

    # Commands

    def answer(self, command: Command, now: datetime) -> tuple:
        actions = {
            Create: self.create,
            Confirm: self.confirm,
            Release: self.release,
            Extend: self.extend,
            Return: self.take_back,
            Adjust: self.adjust,
            Sweep: lambda _command, _now: ("swept",),
        }
        try:
            return actions[type(command)](command, now)
        except Refused as refused:
            return ("refused", *refused.args)

    def create(self, command: Create, now: datetime) -> tuple:
        wanted: dict[str, int] = {}
        for line in command.lines:
            wanted[line.item_id] = wanted.get(line.item_id, 0) + line.quantity
        meaning = (
            command.customer,
            sorted(wanted.items()),
            command.hold_time,
            command.allow_partial,
            command.confirm,
            command.order,
        )
        if command.reservation_id in self.bookings:
            booking = self.bookings[command.reservation_id]
            if booking.meaning != meaning:
                raise Refused("REQUEST_ID_REUSED")
            return ("done", self.view(booking, now), True)
        if command.confirm:
            self.require_may_confirm(command)
        if self.rules.admission_required and command.admission.name not in ("VALID", "EARLY"):
            raise Refused("ADMISSION_REQUIRED")
        self.require_open(now, early=command.admission.name == "EARLY")
        hold_time = self.rules.hold_time if command.hold_time is None else command.hold_time
        if hold_time > self.rules.max_hold_time:
            raise Refused("INVALID_REQUEST", "hold_time")
        granted = self.grant(command.customer, wanted, now, partial=command.allow_partial)
        booking = Booking(command.reservation_id, meaning, command.customer, granted, now, now + hold_time)
        if command.confirm:
            booking.ended_as, booking.order, booking.expires_at = "CONFIRMED", command.order, now
        self.bookings[booking.reservation_id] = booking
        self.forget_versions(granted)
        return ("done", self.view(booking, now), False)

    def grant(self, customer: str, wanted: dict[str, int], now: datetime, *, partial: bool) -> dict[str, int]:
        available = {item_id: self.available(item_id, now) for item_id in sorted(wanted)}
        there = {item_id: min(units, available[item_id]) for item_id, units in wanted.items() if available[item_id]}
        granted = there if partial else wanted
        self.require_within_limits(customer, granted, now)
        if not granted or any(units > available[item_id] for item_id, units in granted.items()):
            short = [(item_id, wanted[item_id], left) for item_id, left in available.items() if wanted[item_id] > left]
            come_back = [self.may_come_back(item_id, 1 if partial else units, now) for item_id, units, _ in short]
            raise Refused("INSUFFICIENT_STOCK", any(come_back) if partial else all(come_back), *short)
        return granted

    def require_available(self, item_id: str, quantity: int, now: datetime) -> None:
        available = self.available(item_id, now)
        if available < quantity:
            short = (item_id, quantity, available)
            raise Refused("INSUFFICIENT_STOCK", self.may_come_back(item_id, quantity, now), short)

    def may_come_back(self, item_id: str, quantity: int, now: datetime) -> bool:
        """Return whether there would be enough units if every hold on the item ended."""
        on_hand, _, _ = self.level(item_id, now)
        return on_hand >= quantity

    def require_may_confirm(self, command: Create | Confirm) -> None:
        if self.rules.shop_confirms and command.by_buyer:
            raise Refused("PERMISSION_DENIED", "reservations.write")

    def require_open(self, now: datetime, *, early: bool) -> None:
        rules = self.rules
        opens_at = rules.open_at - (rules.early_access if early else timedelta())
        if rules.cancelled_at is not None or (rules.close_at is not None and now >= rules.close_at):
            raise Refused("SALE_CLOSED")
        if now < opens_at:
            raise Refused("SALE_NOT_OPEN", opens_at)
        if rules.paused:
            raise Refused("SALE_PAUSED")

    def require_within_limits(self, customer: str, units: dict[str, int], now: datetime) -> None:
        used = {item_id: self.units(item_id, now, {"HELD", "CONFIRMED"}, customer) for item_id in self.received}
        for item_id in sorted(units):
            limit = self.limits[item_id]
            if limit and used[item_id] + units[item_id] > limit:
                raise Refused("CUSTOMER_LIMIT_REACHED", limit, used[item_id], item_id)
        limit = self.rules.per_customer_limit
        if limit and sum(used.values()) + sum(units.values()) > limit:
            raise Refused("CUSTOMER_LIMIT_REACHED", limit, sum(used.values()), None)

    def find(self, command: Confirm | Release | Extend | Return) -> Booking:
        booking = self.bookings.get(command.reservation_id)
        if booking is None or command.customer not in ("", booking.customer):
            raise Refused("NOT_FOUND", f"sales/{self.rules.sale_id}/reservations/{command.reservation_id}")
        return booking

    def require_held(self, booking: Booking, now: datetime) -> None:
        state = self.state(booking, now)
        if state != "HELD":
            facts = {"CONFIRMED": [booking.order], "RELEASED": [], "EXPIRED": [booking.expires_at]}[state]
            raise Refused(f"RESERVATION_{state}", *facts)

    def confirm(self, command: Confirm, now: datetime) -> tuple:
        booking = self.find(command)
        state = self.state(booking, now)
        if state == "CONFIRMED" and command.order in ("", booking.order):
            return ("done", self.view(booking, now), True)
        self.require_may_confirm(command)
        if state == "EXPIRED" and command.allow_late:
            if self.rules.cancelled_at is not None:
                raise Refused("SALE_CLOSED")
            self.grant(booking.customer, booking.units, now, partial=False)
        else:
            self.require_held(booking, now)
        booking.ended_as, booking.order = "CONFIRMED", command.order
        self.forget_versions(booking.units)
        return ("done", self.view(booking, now), False)

    def release(self, command: Release, now: datetime) -> tuple:
        booking = self.find(command)
        if self.state(booking, now) == "RELEASED":
            return ("done", self.view(booking, now), True)
        self.require_held(booking, now)
        booking.ended_as = "RELEASED"
        self.forget_versions(booking.units)
        return ("done", self.view(booking, now), False)

    def extend(self, command: Extend, now: datetime) -> tuple:
        booking = self.find(command)
        self.require_held(booking, now)
        latest = booking.created_at + self.rules.max_hold_time
        is_later = command.expires_at > booking.expires_at
        if is_later and command.expires_at > latest:
            raise Refused("EXTENSION_LIMIT_REACHED", latest)
        if is_later:
            booking.expires_at = command.expires_at
        return ("done", self.view(booking, now), not is_later)

    def take_back(self, command: Return, now: datetime) -> tuple:
        booking = self.find(command)
        meaning = (command.reservation_id, command.lines, command.restock, command.reason)
        if self.is_known_change(command.change_id, meaning):
            return ("done", self.view(booking, now), True)
        if self.state(booking, now) == "HELD":
            raise Refused("RESERVATION_HELD")
        if self.state(booking, now) != "CONFIRMED":
            self.require_held(booking, now)
        wanted = dict(command.lines) or {item_id: booking.left(item_id) for item_id in sorted(booking.units)}
        if not any(wanted.values()):
            wanted = dict(sorted(booking.units.items()))
        for item_id, units in wanted.items():
            if units > booking.left(item_id):
                raise Refused("NOT_RETURNABLE", item_id, units, booking.left(item_id))
        self.changes[command.change_id] = meaning
        for item_id, units in wanted.items():
            if units:
                booking.returned[item_id] = booking.returned.get(item_id, 0) + units
                self.received[item_id] -= 0 if command.restock else units
                self.forget_versions({item_id: units})
        return ("done", self.view(booking, now), False)

    def adjust(self, command: Adjust, now: datetime) -> tuple:
        available = self.available(command.item_id, now)
        meaning = (command.item_id, command.delta, command.reason, command.expected_version)
        if self.is_known_change(command.change_id, meaning):
            return ("adjusted", *self.level(command.item_id, now), True)
        if command.expected_version is not None and command.expected_version != self.versions.get(command.item_id):
            raise Refused("STOCK_CHANGED")
        if command.delta < 0 and available + command.delta < 0:
            raise Refused("BELOW_HELD", *self.level(command.item_id, now)[:2])
        self.receive(command.item_id, command.delta, "delta")
        self.changes[command.change_id] = meaning
        return ("adjusted", *self.level(command.item_id, now), False)

    def is_known_change(self, change_id: UUID, meaning: tuple) -> bool:
        if self.changes.get(change_id, meaning) != meaning:
            raise Refused("REQUEST_ID_REUSED")
        return change_id in self.changes

    def receive(self, item_id: str, units: int, field_name: str) -> None:
        if self.received[item_id] + units > MOST_UNITS:
            raise Refused("INVALID_REQUEST", field_name)
        self.received[item_id] += units
        self.forget_versions({item_id: units})

    def forget_versions(self, units: dict[str, int]) -> None:
        for item_id in units:
            self.versions.pop(item_id, None)


def transfer(source: NaiveSale, destination: NaiveSale, command: Transfer, now: datetime) -> tuple:
    """Move available units from one sale to another, or neither."""
    meaning = (command.source_item_id, command.destination_sale_id, command.destination_item_id, command.quantity)
    try:
        replayed = source.is_known_change(command.change_id, meaning)
        if not replayed:
            source.require_available(command.source_item_id, command.quantity, now)
            destination.available(command.destination_item_id, now)
            destination.receive(command.destination_item_id, command.quantity, "quantity")
            source.receive(command.source_item_id, -command.quantity, "quantity")
            source.changes[command.change_id] = meaning
    except Refused as refused:
        return ("refused", *refused.args)
    levels = (source.level(command.source_item_id, now), destination.level(command.destination_item_id, now))
    return ("transferred", *levels, replayed)
