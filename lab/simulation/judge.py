"""Judges whether a run kept the promises, by the history and the server's log, never by the product.

It is written naively from the promises: it knows nothing of batches, memory or retries. Each function checks one rule
and yields what is wrong.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from holdfast_inventory.domain.commands import Adjust, Confirm, Create, Extend, Release, Return, Transfer
from holdfast_inventory.domain.errors import Internal
from holdfast_inventory.domain.reservation import Reservation
from lab.simulation.history import Call, History
from lab.simulation.record import (
    CONFIRM,
    CONFIRMED,
    EXPIRE,
    EXPIRED,
    HELD,
    HOLD,
    RELEASE,
    RELEASED,
    RETURN,
    TRANSFER,
    Entry,
    SaleRecord,
    records_of,
    state_of,
)
from lab.simulation.refusals import false_refusals, late_refusals
from lab.simulation.returns import bad_returns
from lab.simulation.server import Server
from lab.simulation.tables import Row

Held = dict[tuple[Any, str], tuple[str, int, bool, Any]]
"""Customer, units, whether they are sold, and the end of the hold, by reservation and item."""


def judge(history: History, server: Server) -> list[str]:
    """Return what is wrong, as text; empty if nothing is."""
    records = {record.sale_id: record for record in records_of(server)}
    faults = list(late_refusals(history.calls, server.loop))
    calls = [call for call in history.calls if call.command is not None]
    faults += [
        f"call {call.number} was answered {call.answer!r}" for call in calls if isinstance(call.answer, Internal)
    ]
    faults += _unbalanced_transfers(records.values())
    faults += _out_of_order(records, calls)
    clocks_agree = not server.skew_seconds
    for record in records.values():
        own = [call for call in calls if call.sale_id == record.sale_id]
        faults += _gaps(record)
        faults += _bad_sums(record)
        faults += _bad_holds(record)
        faults += _bad_stories(record, own)
        faults += _unasked_changes(record, calls)
        faults += bad_returns(record, own)
        faults += _broken_promises(record, own)
        faults += _false_firsts(own)
        faults += _untimely(record)
        if clocks_agree:
            faults += _over_limits(record)
        if clocks_agree and not server.lost:
            faults += false_refusals(record, own, server)
    return faults


# The ledger alone


def _bad_sums(record: SaleRecord) -> Iterator[str]:
    """Check that the sale is never oversold at any prefix, and that the sums are the stock levels."""
    where = record.sale_id
    levels = {item_id: [0, 0, 0, 0] for item_id in record.items}
    for entry in record.entries:
        level = levels.setdefault(entry.item_id, [0, 0, 0, 0])
        level[0] += entry.on_hand
        level[1] += entry.held
        level[2] += entry.sold
        level[3] = entry.sequence
        on_hand, held, sold, _ = level
        if not (0 <= held <= on_hand and sold >= 0):
            yield f"{where}: {entry.item_id} is oversold at {entry.sequence}: {level[:3]}"
    for item_id, level in levels.items():
        row = record.items.get(item_id)
        stored = row and [row[name] for name in ("on_hand", "held", "sold", "version")]
        if stored != level:
            yield f"{where}: {item_id} is stored as {stored}, and its movements sum up to {level}"


def _gaps(record: SaleRecord) -> list[str]:
    found, expected = [entry.sequence for entry in record.entries], range(1, record.sale["sequence"] + 1)
    return [] if found == list(expected) else [f"{record.sale_id}: the sequence has gaps: {found}"]


def _bad_holds(record: SaleRecord) -> Iterator[str]:
    """Check that held units are exactly those of open reservations."""
    open_units: defaultdict[str, int] = defaultdict(int)
    for row in record.reservations.values():
        if row["state"] == HELD:
            for item_id, units in zip(row["item_ids"], row["quantities"], strict=True):
                open_units[item_id] += units
    for item_id, row in record.items.items():
        if row["held"] != open_units[item_id]:
            held = row["held"]
            yield f"{record.sale_id}: {held} of {item_id} are held, and reservations hold {open_units[item_id]}"


def _bad_stories(record: SaleRecord, calls: Iterable[Call]) -> Iterator[str]:
    """Check that each reservation begins and ends once, by a request or by its expiry."""
    by_id: defaultdict[Any, list[Call]] = defaultdict(list)
    for call in calls:
        if isinstance(call.command, Create | Confirm | Release | Extend):
            by_id[call.command.reservation_id].append(call)
    stories: defaultdict[Any, list[Entry]] = defaultdict(list)
    for entry in record.entries:
        if entry.kind <= EXPIRE:
            stories[entry.reservation_id].append(entry)
    for reservation_id in stories.keys() | record.reservations.keys():
        row = record.reservations.get(reservation_id)
        name = f"{record.sale_id}/{str(reservation_id)[:8]}"
        if row is None:
            yield f"{name} has movements and is not there"
            continue
        yield from (
            f"{name} {fault}" for fault in _bad_story(record, row, stories[reservation_id], by_id[reservation_id])
        )


_LAWFUL: dict[tuple[int, ...], int] = {
    (HOLD,): HELD,
    (CONFIRM,): CONFIRMED,
    (HOLD, CONFIRM): CONFIRMED,
    (HOLD, RELEASE): RELEASED,
    (HOLD, EXPIRE): EXPIRED,
    (HOLD, EXPIRE, CONFIRM): CONFIRMED,
}


def _bad_story(record: SaleRecord, row: Row, entries: Sequence[Entry], calls: Iterable[Call]) -> Iterator[str]:
    lines = dict(zip(row["item_ids"], row["quantities"], strict=True))
    steps = [(kind, dict(moved)) for kind, moved in _steps(entries)]
    kinds = tuple(kind for kind, _ in steps)
    if _LAWFUL.get(kinds) != row["state"]:
        yield f"went through {kinds} and is in state {row['state']}"
    if any(moved != lines for _, moved in steps):
        yield f"is for {lines} and moved {[moved for _, moved in steps]}"
    able = [call.command for call in calls if call.may_be_done]
    creates = [command for command in able if isinstance(command, Create)]
    if not any(_is_meant(command, row, lines) for command in creates):
        yield f"was not requested: {row}"
    yield from _bad_end(record, row, entries, kinds, able)


def _bad_end(
    record: SaleRecord, row: Row, entries: Iterable[Entry], kinds: tuple[int, ...], able: Sequence[object]
) -> Iterator[str]:
    ended_at = row["ended_at"]
    if CONFIRM in kinds and kinds != (CONFIRM,):
        late = EXPIRE in kinds
        confirms = [command for command in able if isinstance(command, Confirm)]
        if not any(c.order == row["order_id"] and (c.allow_late or not late) for c in confirms):
            yield "was confirmed without a request"
        if not late and ended_at >= row["expires_at"]:
            yield "was confirmed after its end"
    if RELEASE in kinds and not any(isinstance(command, Release) for command in able):
        cancelled_at = record.sale["cancelled_at"]
        if cancelled_at is None or ended_at < cancelled_at:
            yield "was released without a request"
    if EXPIRE in kinds:
        [expired_at] = {entry.at for entry in entries if entry.kind == EXPIRE}
        if expired_at < row["expires_at"]:
            yield f"expired at {expired_at}, before its end {row['expires_at']}"


def _steps(entries: Iterable[Entry]) -> list[tuple[int, dict[str, int]]]:
    """Return a reservation's movements in steps, one step for all lines of one kind."""
    steps: list[tuple[int, dict[str, int]]] = []
    for entry in entries:
        if not steps or steps[-1][0] != entry.kind or entry.item_id in steps[-1][1]:
            steps.append((entry.kind, {}))
        steps[-1][1][entry.item_id] = abs(entry.held or entry.on_hand)
    return steps


def _is_meant(command: Create, row: Row, lines: Mapping[str, int]) -> bool:
    asked = dict(command.lines)
    fits = lines == asked
    if command.allow_partial:
        fits = all(0 < units <= asked.get(item_id, 0) for item_id, units in lines.items())
    return fits and (command.customer, command.fingerprint) == (row["customer"], row["fingerprint"])


def _unasked_changes(record: SaleRecord, calls: Sequence[Call]) -> Iterator[str]:
    """Check that each adjustment, transfer and return was requested, and moved stock once."""
    able = {call.command.change_id: call for call in calls if _is_change(call) and call.may_be_done}
    moved: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in record.entries:
        _, of, change_id = entry.actor.partition(" of ")
        if of:
            moved[change_id].append(entry)
    for change_id, row in record.stock_changes.items():
        call = able.get(change_id)
        if call is None:
            yield f"{record.sale_id}: change {change_id} was not requested"
        elif all(other.command.fingerprint != row["fingerprint"] for other in calls if _of_change(other, change_id)):
            yield f"{record.sale_id}: change {change_id} has a meaning that was not requested"
        entries = moved.pop(str(change_id), [])
        # A return moves several items; `bad_returns` says more about it.
        if len(entries) != 1 and not (entries and entries[0].kind == RETURN):
            yield f"{record.sale_id}: change {change_id} did not move stock exactly once"
    for change_id, entries in moved.items():
        if any(entry.kind != TRANSFER or entry.on_hand < 0 for entry in entries):
            yield f"{record.sale_id}: change {change_id} moved stock and is not remembered"


def _is_change(call: Call) -> bool:
    return isinstance(call.command, Adjust | Return | Transfer)


def _of_change(call: Call, change_id: object) -> bool:
    return isinstance(call.command, Adjust | Return | Transfer) and call.command.change_id == change_id


def _unbalanced_transfers(records: Iterable[SaleRecord]) -> list[str]:
    """Check that the units that leave one sale arrive at another."""
    sums: defaultdict[str, int] = defaultdict(int)
    for record in records:
        for entry in record.entries:
            if entry.kind == TRANSFER:
                sums[entry.actor] += entry.on_hand
    return [f"{actor} moved {units} more than it took" for actor, units in sums.items() if units]


# The ledger and the answers


def _broken_promises(record: SaleRecord, calls: Iterable[Call]) -> Iterator[str]:
    """Check that what was acknowledged is stored with the same fields, and was durable at that time."""
    for call in calls:
        if call.is_done and (fault := _broken_promise(record, call)):
            yield f"call {call.number} ({type(call.command).__name__}) {fault}; answered {call.answer}"


def _broken_promise(record: SaleRecord, call: Call) -> str | None:
    command = call.command
    if isinstance(command, Adjust | Return | Transfer):
        effect: tuple[Any, ...] = ("change", command.change_id)
    elif isinstance(command, Create | Confirm | Release | Extend):
        told = call.answer.reservation
        row = record.reservations.get(command.reservation_id)
        if row is None:
            return "is not there"
        if fault := _contradiction(command, told, row):
            return fault
        effect = ("state", command.reservation_id, told.state.value)
        if told.state.value == HELD:
            effect = ("held until", command.reservation_id, told.expires_at)
    else:
        return None
    commit = record.first_held_until(*effect[1:]) if effect[0] == "held until" else record.first_written.get(effect)
    if commit is None:
        return f"was never committed: {effect}"
    if commit.lsn > call.replicated:
        return f"was acknowledged before it was durable: {effect}"
    return None


def _contradiction(command: object, told: Reservation, row: Row) -> str | None:
    lines = tuple(zip(row["item_ids"], row["quantities"], strict=True))
    known = (row["reservation_id"], row["customer"], lines, row["created_at"], row["fingerprint"])
    if (told.reservation_id, told.customer, told.lines, told.created_at, told.fingerprint) != known:
        return f"differs from {row}"
    state = told.state.value
    if state != row["state"] and state not in (HELD, EXPIRED):
        return f"ended twice: {row}"
    if state == row["state"] == CONFIRMED and told.order != row["order_id"]:
        return f"has another order: {row}"
    if isinstance(command, Confirm) and state != CONFIRMED:
        return "is not confirmed"
    if isinstance(command, Release) and state != RELEASED:
        return "is not released"
    if isinstance(command, Extend) and told.expires_at < command.expires_at:
        return "is not extended"
    if told.expires_at > row["expires_at"]:
        return f"was shortened: {row}"
    return None


def _false_firsts(calls: Iterable[Call]) -> Iterator[str]:
    """Check that of the calls with one request id only one is answered as the first execution."""
    same: defaultdict[Any, list[Call]] = defaultdict(list)
    for call in calls:
        if call.may_be_done and isinstance(call.command, Create):
            same[call.command.reservation_id].append(call)
        elif call.may_be_done and _is_change(call):
            same[call.command.change_id].append(call)
    for request, able in same.items():
        done = [call for call in able if call.is_done]
        first = [call.number for call in done if not call.answer.replayed]
        if len(first) > 1 or (len(done) == len(able) and not first):
            yield f"{len(first)} of {len(done)} are told that they were the first of {request}: calls {first}"


def _out_of_order(records: Mapping[str, SaleRecord], calls: Iterable[Call]) -> Iterator[str]:
    """Check that a command that was answered before another was sent has the smaller sequence."""
    spans: defaultdict[str, list[tuple[Call, tuple[int, int]]]] = defaultdict(list)
    for call in calls:
        if call.is_done and not getattr(call.answer, "replayed", True):
            for sale_id, span in _spans(records, call):
                spans[sale_id].append((call, span))
    for sale_id, placed in spans.items():
        answered = sorted(placed, key=lambda one: _answered(one[0]))
        latest, latest_call = 0, placed[0][0]
        for call, (first, _) in sorted(placed, key=lambda one: one[0].invoked):
            while answered and _answered(answered[0][0]) < call.invoked:
                earlier, (_, last) = answered.pop(0)
                if last > latest:
                    latest, latest_call = last, earlier
            if first <= latest:
                yield (
                    f"{sale_id}: call {call.number} is at {first}, though call {latest_call.number}, at {latest}, "
                    "was answered before it was made"
                )


def _answered(call: Call) -> tuple[int, float]:
    assert call.answered is not None
    return call.answered


def _spans(records: Mapping[str, SaleRecord], call: Call) -> list[tuple[str, tuple[int, int]]]:
    """Return the first and the last sequence of the call's movements, for each sale."""
    command = call.command
    if isinstance(command, Adjust | Return | Transfer):
        mine = {
            sale_id: [entry.sequence for entry in record.entries if entry.actor.endswith(f" of {command.change_id}")]
            for sale_id, record in records.items()
        }
    elif isinstance(command, Create | Confirm | Release) and call.sale_id in records:
        entries = records[call.sale_id].entries_of(command.reservation_id)
        kinds: Collection[int] = {Create: (HOLD, CONFIRM), Confirm: (CONFIRM,), Release: (RELEASE,)}[type(command)]
        if isinstance(command, Create) and not command.confirm:
            kinds = (HOLD,)
        mine = {call.sale_id: [entry.sequence for entry in entries if entry.kind in kinds]}
    else:
        mine = {}
    return [(sale_id, (sequences[0], sequences[-1])) for sale_id, sequences in mine.items() if sequences]


# Rules and limits


def _untimely(record: SaleRecord) -> Iterator[str]:
    """Check that units are only held or sold while the sale is open, by the rules that the batch had locked."""
    seen: set[object] = set()
    for commit in record.commits:
        rules = commit.writes.get(("sales", record.sale_id, ""))
        for (table, of, key), row in commit.writes.items():
            if table != "reservations" or of != record.sale_id or key in seen or row is None:
                continue
            seen.add(key)
            state = "unread" if rules is None else state_of(rules, row["created_at"])
            if state != "open":
                yield f"{record.sale_id}/{str(key)[:8]} was created while the sale was {state}"


def _over_limits(record: SaleRecord) -> Iterator[str]:
    """Check the customers' limits, which count confirmed units and holds that are not due."""
    limit = record.sale["per_customer_limit"]
    item_limits = {item_id: row["per_customer_limit"] for item_id, row in record.items.items()}
    if not limit and not any(item_limits.values()):
        return
    held: Held = {}
    for entry in record.entries:
        if entry.kind not in (HOLD, CONFIRM, RELEASE, EXPIRE, RETURN):
            continue
        row = record.reservations.get(entry.reservation_id)
        if row is None:
            continue
        key = (entry.reservation_id, entry.item_id)
        if entry.kind in (RELEASE, EXPIRE):
            held.pop(key, None)
            continue
        if entry.kind == RETURN:
            held[key] = (held[key][0], held[key][1] + entry.sold, *held[key][2:])
            continue
        is_new = key not in held
        held[key] = (row["customer"], abs(entry.held or entry.on_hand), entry.kind == CONFIRM, row["expires_at"])
        if is_new:
            yield from _over_limit(record, held, entry, row["customer"], limit, item_limits.get(entry.item_id, 0))


def _over_limit(
    record: SaleRecord, held: Held, entry: Entry, customer: str, limit: int, item_limit: int
) -> Iterator[str]:
    counted = [
        (item_id, units)
        for (_, item_id), (owner, units, is_sold, expires_at) in held.items()
        if owner == customer and (is_sold or expires_at > entry.at)
    ]
    total = sum(units for _, units in counted)
    of_item = sum(units for item_id, units in counted if item_id == entry.item_id)
    if (limit and total > limit) or (item_limit and of_item > item_limit):
        yield f"{record.sale_id}: {customer} has {total}, {of_item} of {entry.item_id}, at {entry.sequence}"
