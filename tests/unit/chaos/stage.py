"""A Holdfast in memory, its callers and their history, which is correct until a test falsifies it.

Each operation has three moments: its invocation, its effect and its answer. The last two may be missing. The stock
core is the real one; the test simulates networks, replicas and databases.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from holdfast_inventory.domain import identity
from holdfast_inventory.domain.commands import Adjust, Command, Confirm, Create, Extend, Release, Sweep, Transfer
from holdfast_inventory.domain.decide import Adjusted, Answer, Done, Transferred
from holdfast_inventory.domain.errors import DomainError
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.movement import AdjustReason, Movement
from holdfast_inventory.domain.reservation import Line, Reservation, merge_lines
from holdfast_inventory.domain.sale import NewItem, NewSale, Sale, SaleState
from lab.chaos.history import Event, Kind, SaleLedger
from lab.chaos.judge import Verdict, judge
from lab.chaos.judge.operations import RULE_CHANGES
from tests.property.memory_store import MemoryStore, put_up, run_transfer

BEGAN = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOLD_SECONDS = 2.0
MAX_HOLD_SECONDS = 8.0


@dataclass
class Call:
    """An operation in progress. `outcome` is its result in the service, if it arrived there."""

    number: int
    client: str
    action: str
    request: dict[str, Any]
    outcome: tuple[Kind, dict[str, Any]] | None = None


class Stage:
    """Two sales, `sales/a` and `sales/b`, and a clock that the test advances."""

    def __init__(self, stock: dict[str, int] | None = None, limit: int = 0, item_limit: int = 0) -> None:
        self.now = 0.0
        self.events: list[Event] = []
        self._numbers = count(1)
        self._randoms = count(1)
        stock = stock or {"x": 5, "y": 5}
        self.stores = {name: _store(name, stock, limit, item_limit) for name in ("a", "b")}
        self.now = 1.0

    # Time and recording

    @property
    def clock(self) -> datetime:
        return BEGAN + timedelta(seconds=round(self.now, 6))

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def record(self, kind: Kind, **fields: Any) -> None:
        self.events.append(Event(kind, self.now, BEGAN.timestamp() + self.now, **fields))

    def next_number(self) -> int:
        return next(self._numbers)

    def phase(self, name: str) -> None:
        self.record(Kind.PHASE, action=name)

    # One operation, step by step

    def invoke(self, action: str, client: str = "c1", **request: Any) -> Call:
        call = Call(self.next_number(), client, action, request)
        if action in {"adjust", "transfer"}:
            call.request = {"actor": f"op-{call.number}", **request}
        self.record(Kind.INVOKE, client=client, operation=call.number, action=action, request=call.request)
        return call

    def apply(self, call: Call) -> None:
        """Let it arrive at the service, which applies it."""
        if call.action in RULE_CHANGES:
            call.outcome = self._change_rules(call)
        elif call.action.startswith("get_"):
            call.outcome = self._read(call)
        else:
            call.outcome = self._told(call, self._run(call))

    def answer(self, call: Call) -> Call:
        assert call.outcome is not None
        kind, fields = call.outcome
        self.record(kind, client=call.client, operation=call.number, action=call.action, **fields)
        return call

    def lose(self, call: Call, reason: str = "OUTCOME_UNKNOWN") -> Call:
        """Lose its answer, so that the outcome is unknown."""
        self.record(Kind.INFO, client=call.client, operation=call.number, action=call.action, reason=reason)
        return call

    def refuse(self, call: Call, reason: str = "DATABASE_UNAVAILABLE") -> Call:
        self.record(Kind.FAIL, client=call.client, operation=call.number, action=call.action, reason=reason)
        return call

    # A whole operation

    def do(self, action: str, client: str = "c1", **request: Any) -> Call:
        """Invoke, apply and answer it, 10 ms apart."""
        call = self.invoke(action, client, **request)
        self.wait(0.01)
        self.apply(call)
        self.wait(0.01)
        self.answer(call)
        self.wait(0.01)
        return call

    def create(self, customer: str = "ann", key: str = "", sale: str = "a", lines: Any = None, **more: Any) -> str:
        """Create a reservation. Return its name, or the reason of the refusal."""
        call = self.do("create", **creation(customer, key, sale, lines, **more))
        assert call.outcome is not None
        _, fields = call.outcome
        return fields["answer"]["name"] if "answer" in fields else fields["reason"]

    # The service

    def _run(self, call: Call) -> Answer | Transferred:
        if call.action == "transfer":
            command = _transfer(self.stores, call.request)
            source, destination = (self.stores[command.source_sale_id], self.stores[command.destination_sale_id])
            return run_transfer(source, destination, command, self.clock)
        store = self.stores[sale_id_of(call.request)]
        return store.run([self._command(store.sale.salt, call)], self.clock)[0]

    def _change_rules(self, call: Call) -> tuple[Kind, dict[str, Any]]:
        store = self.stores[sale_id_of(call.request)]
        store.sale = replace(store.sale, updated_at=self.clock, **_rules(call.action, call.request))
        return Kind.OK, {"answer": sale_message(store.sale, self.clock)}

    def rests_on_stock(self, call: Call) -> bool:
        """Return whether it is a create that depends on stock alone, by what memory knows."""
        store = self.stores[sale_id_of(call.request)]
        if call.action != "create" or call.request.get("allow_partial") or store.sale.limits_customers:
            return False
        command = self._create(store.sale.salt, call.request)
        is_sound = (command.hold_time or store.sale.hold_time) <= store.sale.max_hold_time
        is_known = all(line.item_id in store.items for line in command.lines)
        is_open = store.sale.state_at(self.clock) is SaleState.OPEN
        return is_sound and is_known and is_open and command.reservation_id not in store.reservations

    def sweep(self) -> None:
        for store in self.stores.values():
            store.run([Sweep()], self.clock)

    def _command(self, salt: bytes, call: Call) -> Command:
        request = call.request
        match call.action:
            case "create":
                return self._create(salt, request)
            case "confirm":
                late = request.get("allow_late", False)
                return Confirm(_uuid(request["name"]), request.get("order", ""), late, request.get("customer", ""))
            case "release":
                return Release(_uuid(request["name"]), request.get("customer", ""))
            case "extend":
                expires_at = datetime.fromisoformat(request["expire_time"])
                return Extend(_uuid(request["name"]), expires_at, request.get("customer", ""))
            case _:
                return self._adjust(salt, request)

    def _create(self, salt: bytes, request: dict[str, Any]) -> Create:
        key, customer = request.get("request_id"), request["customer"]
        bound = UUID(int=next(self._randoms)) if not key else identity.reservation_id(salt, customer, key)
        lines = merge_lines(Line(line["item"], line["quantity"]) for line in request["lines"])
        hold_time = request.get("hold_time")
        meaning = {
            "hold_time": timedelta(seconds=float(hold_time.rstrip("s"))) if hold_time else None,
            "allow_partial": request.get("allow_partial", False),
            "confirm": request.get("confirm", False),
            "order": request.get("order", ""),
        }
        fingerprint = identity.create_fingerprint(customer, lines, **meaning)
        return Create(bound, customer, lines, fingerprint=fingerprint, **meaning)

    def _adjust(self, salt: bytes, request: dict[str, Any]) -> Adjust:
        item, delta, reason = _last(request["name"]), request["delta"], AdjustReason[request["reason"]]
        version = request.get("expected_version")
        version = None if version is None else int(version)
        key = request.get("request_id")
        change_id = identity.stock_change_id(salt, key) if key else UUID(int=next(self._randoms))
        fingerprint = identity.adjust_fingerprint(item, delta, reason, version)
        return Adjust(change_id, item, delta, reason, version, request["actor"], fingerprint)

    def _told(self, call: Call, answer: Answer | Transferred) -> tuple[Kind, dict[str, Any]]:
        match answer:
            case DomainError():
                return Kind.FAIL, {"reason": answer.reason}
            case Done(reservation, replayed, _):
                return Kind.OK, {"answer": self._reservation(reservation), "replayed": replayed}
            case Adjusted(item, replayed, _):
                return Kind.OK, {"answer": item_message(_sale_id(call.request["name"]), item), "replayed": replayed}
            case Transferred(source, destination, replayed, _):
                told = {"source": item_message("a", source), "destination": item_message("b", destination)}
                return Kind.OK, {"answer": told, "replayed": replayed}
        raise AssertionError

    def _read(self, call: Call) -> tuple[Kind, dict[str, Any]]:
        name = call.request["name"]
        store = self.stores[_sale_id(name)]
        if call.action == "get_item":
            return Kind.OK, {"answer": item_message(store.sale.sale_id, store.items[_last(name)])}
        reservation = store.reservations.get(_uuid(name))
        return (Kind.OK, {"answer": self._reservation(reservation)}) if reservation else _NOT_FOUND

    def _reservation(self, reservation: Reservation) -> dict[str, Any]:
        sales = [name for name, store in self.stores.items() if reservation.reservation_id in store.reservations]
        return reservation_message(sales[0], reservation)

    # The end

    def ledgers(self) -> dict[str, SaleLedger]:
        return {f"sales/{name}": _ledger(store, self.clock) for name, store in self.stores.items()}

    def verdict(self) -> Verdict:
        return judge(self.events, self.ledgers())


_NOT_FOUND: tuple[Kind, dict[str, Any]] = (Kind.FAIL, {"reason": "NOT_FOUND"})


def creation(customer: str = "ann", key: str = "", sale: str = "a", lines: Any = None, **more: Any) -> dict[str, Any]:
    """Return a create's request, by default for one x."""
    asked = [{"item": item, "quantity": units} for item, units in (lines or {"x": 1}).items()]
    return {"parent": f"sales/{sale}", "customer": customer, "lines": asked, "request_id": key, **more}


def adjustment(delta: int, key: str, sale: str = "a", item: str = "x", version: int | None = None) -> dict[str, Any]:
    """Return an adjustment, without an expected version unless one is given."""
    name, reason = f"sales/{sale}/items/{item}", "RECEIVED" if delta > 0 else "LOST"
    expected = {} if version is None else {"expected_version": str(version)}
    return {"name": name, "delta": delta, "reason": reason, "request_id": key, **expected}


def transfer(quantity: int, key: str, item: str = "x") -> dict[str, Any]:
    """Return a transfer from sale a to sale b."""
    names = {"source": f"sales/a/items/{item}", "destination": f"sales/b/items/{item}"}
    return {**names, "quantity": quantity, "request_id": key}


def window(sale: str = "a", **times: datetime | None) -> dict[str, Any]:
    """Return an update of `open_time` or `close_time`; None takes it away."""
    told = {name: time_message(time) for name, time in times.items() if time}
    mask = ",".join({"open_time": "openTime", "close_time": "closeTime"}[name] for name in times)
    return {"sale": {"name": f"sales/{sale}", **told}, "update_mask": mask}


# Messages of the contract


def sale_message(sale: Sale, now: datetime) -> dict[str, Any]:
    return {
        "name": f"sales/{sale.sale_id}",
        "open_time": time_message(sale.open_at),
        **({"close_time": time_message(sale.close_at)} if sale.close_at else {}),
        "per_customer_limit": sale.per_customer_limit,
        "hold_time": f"{sale.hold_time.total_seconds():.3f}s",
        "max_hold_time": f"{sale.max_hold_time.total_seconds():.3f}s",
        "state": sale.state_at(now).name,
        "update_time": time_message(sale.updated_at),
        "sequence": str(sale.sequence),
    }


def item_message(sale_id: str, item: Item) -> dict[str, Any]:
    return {
        "name": f"sales/{sale_id}/items/{item.item_id}",
        "item": item.item_id,
        "on_hand": item.on_hand,
        "held": item.held,
        "available": item.available,
        "sold": item.sold,
        "per_customer_limit": item.per_customer_limit,
        "version": str(item.version),
    }


def reservation_message(sale_id: str, reservation: Reservation) -> dict[str, Any]:
    ended_at = reservation.ended_at
    return {
        "name": f"sales/{sale_id}/reservations/{reservation.reservation_id}",
        "customer": reservation.customer,
        "lines": [{"item": item, "quantity": quantity} for item, quantity in reservation.lines],
        "state": reservation.state.name,
        "create_time": time_message(reservation.created_at),
        "expire_time": time_message(reservation.expires_at),
        **({"end_time": time_message(ended_at)} if ended_at else {}),
        "order": reservation.order,
    }


def movement_message(sale_id: str, movement: Movement) -> dict[str, Any]:
    reservation = movement.reservation_id
    return {
        "sequence": str(movement.sequence),
        "kind": movement.kind.name,
        "item": movement.item_id,
        "on_hand_delta": movement.on_hand_delta,
        "held_delta": movement.held_delta,
        "sold_delta": movement.sold_delta,
        "reservation": f"sales/{sale_id}/reservations/{reservation}" if reservation else "",
        "reason": movement.reason.name if movement.reason else "ADJUST_REASON_UNSPECIFIED",
        "actor": movement.actor,
        "create_time": time_message(movement.created_at),
    }


def time_message(time: datetime) -> str:
    """Return the time as protobuf prints it: with 0, 3 or 6 decimal places."""
    micro = time.microsecond
    spec = "seconds" if not micro else "milliseconds" if micro % 1000 == 0 else "microseconds"
    return time.isoformat(timespec=spec).replace("+00:00", "Z")


def _ledger(store: MemoryStore, now: datetime) -> SaleLedger:
    name = store.sale.sale_id
    return SaleLedger(
        sale=sale_message(store.sale, now),
        items=[item_message(name, item) for item in store.items.values()],
        reservations=[reservation_message(name, reservation) for reservation in store.reservations.values()],
        movements=[movement_message(name, movement) for movement in store.ledger],
        verified={"consistent": True, "sequence": str(store.sale.sequence), "discrepancies": []},
    )


def _store(name: str, stock: dict[str, int], limit: int, item_limit: int) -> MemoryStore:
    items = tuple(NewItem(item, units, item_limit) for item, units in stock.items())
    holds = timedelta(seconds=HOLD_SECONDS), timedelta(seconds=MAX_HOLD_SECONDS)
    return put_up(NewSale(name, None, None, limit, *holds, items), BEGAN, name.encode() * 32)


def _rules(action: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a sale that a request changes."""
    if action != "update":
        return {"paused": action == "pause"}
    columns = {"openTime": ("open_at", "open_time"), "closeTime": ("close_at", "close_time")}
    masked = [columns[name] for name in request["update_mask"].split(",")]
    return {
        column: datetime.fromisoformat(request["sale"][name]) if name in request["sale"] else None
        for column, name in masked
    }


def _transfer(stores: dict[str, MemoryStore], request: dict[str, Any]) -> Transfer:
    source, destination = request["source"], request["destination"]
    salt = stores[_sale_id(source)].sale.salt
    facts = _last(source), _sale_id(destination), _last(destination), request["quantity"]
    return Transfer(
        change_id=identity.stock_change_id(salt, request["request_id"]),
        source_sale_id=_sale_id(source),
        source_item_id=facts[0],
        destination_sale_id=facts[1],
        destination_item_id=facts[2],
        quantity=facts[3],
        actor=request["actor"],
        fingerprint=identity.transfer_fingerprint(*facts),
    )


def sale_id_of(request: dict[str, Any]) -> str:
    """Return the sale that a request is about; of a transfer, the source."""
    about = request.get("sale", request)
    return _sale_id(about.get("parent") or about.get("source") or about["name"])


def _sale_id(name: str) -> str:
    return name.split("/")[1]


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _uuid(name: str) -> UUID:
    return UUID(_last(name))
