"""The required answer to a command at a moment: an independent implementation of the contract and its precedence."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from holdfast_inventory.domain.commands import Confirm, Create, Return
from holdfast_inventory.domain.errors import (
    CustomerLimitReached,
    InsufficientStock,
    InvalidRequest,
    NotFound,
    NotReturnable,
    RequestIdReused,
    ReservationHeld,
    SaleClosed,
    SaleNotOpen,
    SalePaused,
)
from lab.simulation.record import CONFIRM, EXPIRE, HOLD, RELEASE, RETURN, Entry, entries_in, state_of
from lab.simulation.server import Commit

if TYPE_CHECKING:
    from lab.simulation.tables import Row

Refusal = tuple[Any, ...]
"""The type of a refusal, and its facts."""


class SaleThen:
    """A sale at one moment of its log: its rules, its stock and its reservations."""

    def __init__(self, sale_id: str) -> None:
        self.sale_id = sale_id
        self.rules: Any = None
        self._items: dict[str, Row] = {}
        self._on_hand: defaultdict[str, int] = defaultdict(int)
        self._reservations: dict[Any, Row] = {}
        self._kinds: dict[Any, int] = {}
        self._taken: dict[tuple[Any, str], tuple[int, bool]] = {}

    # Applying the log

    def learn(self, commit: Commit) -> list[Entry]:
        """Add the reservations of a commit. Return its movements, which are not applied yet."""
        entries: list[Entry] = []
        for (table, of, _), row in commit.writes.items():
            if of != self.sale_id or row is None:
                continue
            if table == "reservations":
                self._reservations[row["reservation_id"]] = row
            elif table == "ledger":
                entries += entries_in(row)
        return entries

    def move(self, entry: Entry) -> None:
        place = (entry.reservation_id, entry.item_id)
        self._on_hand[entry.item_id] += entry.on_hand
        if entry.reservation_id is not None:
            self._kinds[entry.reservation_id] = entry.kind
        if entry.kind in (HOLD, CONFIRM):
            self._taken[place] = (abs(entry.held or entry.on_hand), entry.kind == CONFIRM)
        elif entry.kind in (RELEASE, EXPIRE):
            self._taken.pop(place, None)
        elif entry.kind == RETURN:
            self._taken[place] = (self._taken[place][0] + entry.sold, True)

    def keep(self, commit: Commit) -> None:
        """Apply the rules and items of a commit. Within its batch, the previous ones are valid."""
        for (table, of, key), row in commit.writes.items():
            if of != self.sale_id or row is None:
                continue
            if table == "sales":
                self.rules = row
            elif table == "items":
                self._items[key] = row

    # Queries

    def turns(self) -> set[datetime | None]:
        """Return the times at which its state may change without a commit: it opens or closes, or a hold expires."""
        hours = () if self.rules is None else (self.rules["open_at"], self.rules["close_at"])
        return {*hours, *(self._reservations[reservation_id]["expires_at"] for reservation_id, _ in self._taken)}

    def refusal(self, command: object, now: datetime) -> Refusal | None:
        """Return the type of the refusal that `command` must get, with its facts; None if it must be granted."""
        if isinstance(command, Create):
            return self._of_create(command, now)
        if isinstance(command, Confirm) and command.allow_late:
            return self._of_late_confirm(command, now)
        if isinstance(command, Return):
            return self._of_return(command, now)
        return None

    def _of_create(self, command: Create, now: datetime) -> Refusal | None:
        if self.rules is None:
            return NotFound, f"sales/{self.sale_id}"
        if command.reservation_id in self._kinds:
            known = self._reservations[command.reservation_id]
            return None if known["fingerprint"] == command.fingerprint else (RequestIdReused,)
        match state_of(self.rules, now):
            case "scheduled":
                return SaleNotOpen, self.rules["open_at"], now
            case "paused":
                return (SalePaused,)
            case "closed" | "cancelled":
                return (SaleClosed,)
        if (command.hold_time or self.rules["hold_time"]) > self.rules["max_hold_time"]:
            return InvalidRequest, "hold_time"
        for item_id, _ in command.lines:
            if item_id not in self._items:
                return NotFound, f"sales/{self.sale_id}/items/{item_id}"
        return self._of_units(command.customer, command.lines, now, takes_less=command.allow_partial)

    def _of_late_confirm(self, command: Confirm, now: datetime) -> Refusal | None:
        kind = self._kinds.get(command.reservation_id)
        if kind is None:
            return None
        row = self._reservations[command.reservation_id]
        if kind != EXPIRE and not (kind == HOLD and row["expires_at"] <= now):
            return None
        if self.rules["cancelled_at"] is not None:
            return (SaleClosed,)
        lines = tuple(zip(row["item_ids"], row["quantities"], strict=True))
        return self._of_units(row["customer"], lines, now, takes_less=False)

    def _of_return(self, command: Return, now: datetime) -> Refusal | None:
        kind = self._kinds.get(command.reservation_id)
        if kind is None:
            return None
        row = self._reservations[command.reservation_id]
        if kind == HOLD:
            return (ReservationHeld,) if row["expires_at"] > now and self.rules["cancelled_at"] is None else None
        if kind not in (CONFIRM, RETURN):
            return None
        taken = [self._taken.get((command.reservation_id, item_id)) for item_id in row["item_ids"]]
        if None in taken:  # between the movements of its lines
            return None
        left = {item_id: line[0] for item_id, line in zip(row["item_ids"], taken, strict=True) if line}
        if not command.lines and any(left.values()):
            return None
        for item_id, units in command.lines or zip(row["item_ids"], row["quantities"], strict=True):
            if units > left.get(item_id, 0):
                return NotReturnable, item_id, units, left.get(item_id, 0)
        return None

    def _of_units(
        self, customer: str, lines: Iterable[tuple[str, int]], now: datetime, *, takes_less: bool
    ) -> Refusal | None:
        """Return the refusal by the customer's limits first, then by the stock."""
        left = {item_id: self._on_hand[item_id] - self._held(item_id, now) for item_id, _ in lines}
        wanted = {item_id: min(units, left[item_id]) if takes_less else units for item_id, units in lines}
        if limit := self._limit_reached(customer, wanted, now):
            return CustomerLimitReached, *limit
        if any(wanted.values()) if takes_less else all(left[item_id] >= units for item_id, units in lines):
            return None
        short = {item_id: 1 if takes_less else units for item_id, units in lines if left[item_id] < units}
        ends = [self._first_end(item_id, now) for item_id, units in short.items() if self._on_hand[item_id] >= units]
        can_pass = ends if takes_less else len(ends) == len(short)
        return InsufficientStock, (min if takes_less else max)(ends) if can_pass else None

    def _limit_reached(self, customer: str, wanted: Mapping[str, int], now: datetime) -> Refusal | None:
        used = self._used(customer, now)
        for item_id, units in wanted.items():
            limit = self._items[item_id]["per_customer_limit"]
            if units and 0 < limit < used[item_id] + units:
                return limit, used[item_id], item_id
        limit, total = self.rules["per_customer_limit"], sum(used.values())
        return (limit, total, None) if 0 < limit < total + sum(wanted.values()) else None

    def _used(self, customer: str, now: datetime) -> dict[str, int]:
        """Return the units that a customer has bought and holds, by item. Due holds do not count."""
        used: defaultdict[str, int] = defaultdict(int)
        for (reservation_id, item_id), (units, is_sold) in self._taken.items():
            row = self._reservations[reservation_id]
            if row["customer"] == customer and (is_sold or row["expires_at"] > now):
                used[item_id] += units
        return used

    def _held(self, item_id: str, now: datetime) -> int:
        return sum(units for units, _ in self._holds(item_id, now))

    def _first_end(self, item_id: str, now: datetime) -> datetime:
        return min(expires_at for _, expires_at in self._holds(item_id, now))

    def _holds(self, item_id: str, now: datetime) -> Iterator[tuple[int, datetime]]:
        """Return the units and the expiry of each hold on an item that is not due."""
        for (reservation_id, of), (units, is_sold) in self._taken.items():
            expires_at = self._reservations[reservation_id]["expires_at"]
            if of == item_id and not is_sold and expires_at > now:
                yield units, expires_at
