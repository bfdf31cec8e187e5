"""The contract's messages as records. All times are Unix seconds."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

Lines = tuple[tuple[str, int], ...]


class Level(NamedTuple):
    """An item's units."""

    on_hand: int = 0
    held: int = 0
    sold: int = 0

    @property
    def available(self) -> int:
        return self.on_hand - self.held

    def moved(self, movement: "Movement") -> "Level":
        return Level(self.on_hand + movement.on_hand, self.held + movement.held, self.sold + movement.sold)


class Movement(NamedTuple):
    """`on_hand`, `held` and `sold` are changes; `time` is when its batch read the clock."""

    sequence: int
    kind: str
    item: str
    on_hand: int
    held: int
    sold: int
    reservation: str
    reason: str
    actor: str
    time: float


class Item(NamedTuple):
    name: str
    item: str
    level: Level
    available: int
    limit: int
    version: int


class Reservation(NamedTuple):
    """`end_time` is 0 while it is open."""

    name: str
    customer: str
    lines: Lines
    state: str
    create_time: float
    expire_time: float
    end_time: float
    order: str


def parsed_time(text: str) -> float:
    """Return Unix seconds; 0 for a time that is not set."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def parsed_seconds(duration: str) -> float:
    """Return the seconds of a duration in JSON: `"1.500s"`."""
    return float(duration.rstrip("s"))


def merged(lines: Iterable[Mapping[str, Any]]) -> Lines:
    """Return one line for each item, by item."""
    units: dict[str, int] = defaultdict(int)
    for line in lines:
        units[line["item"]] += line.get("quantity", 0)
    return tuple(sorted(units.items()))


def parsed_movement(message: Mapping[str, Any]) -> Movement:
    return Movement(
        int(message["sequence"]),
        message["kind"],
        message["item"],
        message.get("on_hand_delta", 0),
        message.get("held_delta", 0),
        message.get("sold_delta", 0),
        message.get("reservation", ""),
        message.get("reason", ""),
        message.get("actor", ""),
        parsed_time(message["create_time"]),
    )


def parsed_item(message: Mapping[str, Any]) -> Item:
    level = Level(message.get("on_hand", 0), message.get("held", 0), message.get("sold", 0))
    name = message.get("name", "")
    return Item(
        name,
        message.get("item") or name.rpartition("/")[2],
        level,
        message.get("available", 0),
        message.get("per_customer_limit", 0),
        int(message.get("version", 0)),
    )


def parsed_reservation(message: Mapping[str, Any]) -> Reservation:
    return Reservation(
        message["name"],
        message.get("customer", ""),
        merged(message.get("lines", ())),
        message.get("state", ""),
        parsed_time(message.get("create_time") or ""),
        parsed_time(message.get("expire_time") or ""),
        parsed_time(message.get("end_time") or ""),
        message.get("order", ""),
    )


def sale_of(name: str) -> str:
    """Return `sales/a` of the name of anything in that sale."""
    return "/".join(name.split("/")[:2])
