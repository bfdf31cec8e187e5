"""Ways to falsify a correct history, and the rules that must find them.

Each lie changes a history in place, at a possible position that `pick` chooses. It returns False if there is none.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from lab.chaos.history import Event, Kind, SaleLedger, completions
from lab.chaos.judge import Verdict, judge
from tests.unit.chaos.stage import BEGAN, Stage, adjustment, creation, time_message


@dataclass
class Tale:
    """The judge's input. The messages may be changed freely."""

    events: list[Event]
    ledgers: dict[str, SaleLedger]

    def verdict(self) -> Verdict:
        return judge(self.events, self.ledgers)

    def rules(self) -> set[str]:
        """Return the broken rules."""
        return {violation.rule for violation in self.verdict().violations}

    def replace(self, event: Event, **changes: Any) -> None:
        self.events[self.events.index(event)] = replace(event, **changes)


def tale_of(stage: Stage) -> Tale:
    return Tale(deepcopy(stage.events), deepcopy(stage.ledgers()))


Lie = Callable[[Tale, int], bool]

LIES: dict[str, tuple[Lie, frozenset[str]]] = {}


def lie(*rules: str) -> Callable[[Lie], Lie]:
    """Register a lie that at least one of the rules must find."""

    def keep(told: Lie) -> Lie:
        LIES[told.__name__] = told, frozenset(rules)
        return told

    return keep


def chosen(candidates: list, pick: int) -> Any:
    return candidates[pick % len(candidates)] if candidates else None


# The ledger


@lie("balance-differs", "oversold", "acknowledged-lost")
def a_movement_is_lost(tale: Tale, pick: int) -> bool:
    ledger = tale.ledgers["sales/a"]
    lost = chosen(ledger.movements[2:], pick)
    if lost is None:
        return False
    ledger.movements.remove(lost)
    renumber(ledger)
    return True


@lie("balance-differs", "sequence-gap")
def a_movement_is_there_twice(tale: Tale, pick: int) -> bool:
    ledger = tale.ledgers["sales/a"]
    twice = chosen(ledger.movements, pick)
    ledger.movements.insert(ledger.movements.index(twice), dict(twice))
    renumber(ledger)
    return True


@lie("ended-twice", "malformed-movement", "balance-differs")
def a_quantity_is_another(tale: Tale, pick: int) -> bool:
    fields = ("on_hand_delta", "held_delta", "sold_delta")
    movement = chosen(tale.ledgers["sales/a"].movements, pick)
    field = chosen([field for field in fields if movement[field]], pick)
    movement[field] += 1
    return True


@lie("balance-differs")
def a_level_is_not_the_sum(tale: Tale, pick: int) -> bool:
    item = chosen(tale.ledgers["sales/a"].items, pick)
    item["on_hand"] += 1
    item["available"] += 1
    return True


@lie("expired-early")
def a_hold_expires_early(tale: Tale, pick: int) -> bool:
    ledger = tale.ledgers["sales/a"]
    movement = chosen([movement for movement in ledger.movements if movement["kind"] == "EXPIRE"], pick)
    if movement is None:
        return False
    name = movement["reservation"]
    reservation = next(found for found in ledger.reservations if found["name"] == name)
    early = time_message(datetime.fromisoformat(reservation["expire_time"]) - timedelta(milliseconds=200))
    for expiry in ledger.movements:
        if expiry["reservation"] == name and expiry["kind"] == "EXPIRE":
            expiry["create_time"] = early
    return True


@lie("acknowledged-lost", "ended-twice")
def a_sale_expires(tale: Tale, pick: int) -> bool:
    """As if the sweeper had ignored the confirmation, so that the units are for sale again."""
    ledger = tale.ledgers["sales/a"]
    confirmed = [call.answer["name"] for call in answers(tale, "confirm")]
    reservation = chosen([found for found in ledger.reservations if found["name"] in confirmed], pick)
    if reservation is None:
        return False
    reservation["state"] = "EXPIRED"
    for movement in list(ledger.movements):
        if movement["reservation"] == reservation["name"] and movement["kind"] == "CONFIRM":
            again = {"kind": "EXPIRE", "held_delta": -movement["sold_delta"], "on_hand_delta": 0, "sold_delta": 0}
            ledger.movements.append({**movement, **again})
    renumber(ledger)
    return True


@lie("limit-exceeded")
def a_limit_was_lower(tale: Tale, pick: int) -> bool:
    ledger = tale.ledgers["sales/a"]
    held = [movement for movement in ledger.movements if movement["kind"] == "HOLD" and movement["held_delta"] > 1]
    if not held:
        return False
    ledger.sale["per_customer_limit"] = chosen(held, pick)["held_delta"] - 1
    return True


@lie("order-reversed")
def two_operations_change_places(tale: Tale, pick: int) -> bool:
    """Swap two movements of the sell-out, whose requests follow each other one by one."""
    ledger = tale.ledgers["sales/a"]
    began = next(event.wall for event in tale.events if event.action == "sell-out")
    late = [row for row in ledger.movements if datetime.fromisoformat(row["create_time"]).timestamp() > began]
    if len(late) < 2:
        return False
    first = pick % (len(late) - 1)
    one, other = (ledger.movements.index(late[number]) for number in (first, first + 1))
    ledger.movements[one], ledger.movements[other] = ledger.movements[other], ledger.movements[one]
    renumber(ledger)
    return True


@lie("acknowledged-lost")
def a_reservation_is_lost_by_a_failover(tale: Tale, pick: int) -> bool:
    names = {event.answer["name"] for event in answers(tale, "create")}
    name = chosen(sorted(name for name in names if name.startswith("sales/a/")), pick)
    if name is None:
        return False
    forget(tale, name)
    return True


# Answers


@lie("acknowledged-lost")
def a_refused_create_was_acknowledged(tale: Tale, pick: int) -> bool:
    refused = chosen([event for event in tale.events if event.kind is Kind.FAIL and event.action == "create"], pick)
    if refused is None:
        return False
    answer = {"name": f"sales/a/reservations/never-{pick}", "customer": "ann", "lines": [], "state": "HELD"}
    tale.replace(refused, kind=Kind.OK, answer=answer, reason="")
    return True


@lie("acknowledged-lost")
def a_change_that_never_was_is_acknowledged(tale: Tale, pick: int) -> bool:
    item = chosen(tale.ledgers["sales/a"].items, pick)
    request = {"actor": "op-0", **adjustment(1, "never", item=item["item"])}
    ask(tale, tale.events[-1].at + 1, "adjust", request, answer=dict(item))
    return True


@lie("refused-but-applied", "row-without-operation")
def an_applied_create_was_refused(tale: Tale, pick: int) -> bool:
    """Choose a create whose key was used once, of a customer without unknown outcomes: the effect must be its."""
    pairs = completions(tale.events)
    doubtful = [buyer(asked) for asked, ended in pairs.values() if ended.kind is Kind.INFO]
    created = chosen([one for one in used_once(tale, "create") if buyer(pairs[one.operation][0]) not in doubtful], pick)
    if created is None:
        return False
    tale.replace(created, kind=Kind.FAIL, answer={}, reason="DATABASE_UNAVAILABLE")
    return True


@lie("refused-but-applied")
def an_applied_change_was_refused(tale: Tale, pick: int) -> bool:
    changed = chosen(used_once(tale, "adjust") + used_once(tale, "transfer"), pick)
    if changed is None:
        return False
    tale.replace(changed, kind=Kind.FAIL, answer={}, reason="DATABASE_UNAVAILABLE")
    return True


@lie("fields-differ")
def an_answer_tells_other_fields(tale: Tale, pick: int) -> bool:
    created = chosen(answers(tale, "create"), pick)
    if created is None:
        return False
    field, value = chosen(
        [("customer", "eve"), ("create_time", time_message(BEGAN)), ("lines", [{"item": "x", "quantity": 99}])], pick
    )
    created.answer[field] = value
    return True


@lie("key-of-two-reservations")
def a_replay_gets_another_reservation(tale: Tale, pick: int) -> bool:
    pairs = [(asked, ended) for asked, ended in completions(tale.events).values() if ended in answers(tale, "create")]
    names = {ended.answer["name"] for _, ended in pairs}
    keyed = [(asked.request, ended.answer) for asked, ended in pairs if asked.request["request_id"]]
    if not keyed or len(names) < 2:
        return False
    request, answer = chosen(keyed, pick)
    other = min(names - {answer["name"]})
    ask(tale, tale.events[-1].at + 1, "create", request, answer={**answer, "name": other}, replayed=True)
    return True


@lie("read-differs")
def an_item_is_read_wrongly(tale: Tale, pick: int) -> bool:
    read = chosen(answers(tale, "get_item") + answers(tale, "adjust"), pick)
    if read is None:
        return False
    read.answer[chosen(["on_hand", "held", "sold", "available"], pick)] += 1
    return True


@lie("read-went-back")
def an_item_is_read_as_it_was_at_first(tale: Tale, pick: int) -> bool:
    """Let a customer read it after everything was sold."""
    ledger = tale.ledgers["sales/a"]
    first = next(movement for movement in ledger.movements if movement["item"] == "x")
    units = first["on_hand_delta"]
    name = "sales/a/items/x"
    if next(item for item in ledger.items if item["item"] == "x")["version"] == first["sequence"]:
        return False
    level = {"on_hand": units, "held": 0, "sold": 0, "available": units, "version": first["sequence"]}
    for _ in range(2):
        ask(tale, tale.events[-1].at + 1, "get_item", {"name": name}, answer={"name": name, "item": "x", **level})
    return any(event.answer for event in answers(tale, "create"))


@lie("stale-refusal")
def a_create_is_refused_although_stock_is_available(tale: Tale, pick: int) -> bool:
    """Add a refusal before the first purchase of the sell-out, seconds after all holds have expired."""
    began = next(event.at for event in tale.events if event.action == "sell-out")
    bought = [event for event in answers(tale, "create") if event.at > began]
    bought = [event for event in bought if event.answer["name"].startswith("sales/a/")]
    if not bought:
        return False
    item = bought[0].answer["lines"][0]["item"]
    ask(tale, began - 1, "create", creation("eve", "e", "a", {item: 1}), kind=Kind.FAIL, reason="INSUFFICIENT_STOCK")
    return True


@lie("given-while-closed")
def everything_was_bought_while_the_sale_was_paused(tale: Tale, pick: int) -> bool:
    """Pause the sale before the sell-out, when its state is certain."""
    began = sell_out(tale)
    ask(tale, began.at - 1, "pause", {"name": "sales/a"})
    return any(event.at > began.at and event.answer["name"].startswith("sales/a/") for event in answers(tale, "create"))


@lie("needless-refusal")
def an_open_sale_says_that_it_is_not(tale: Tale, pick: int) -> bool:
    reason = chosen(["SALE_PAUSED", "SALE_CLOSED", "SALE_NOT_OPEN"], pick)
    ask(tale, sell_out(tale).at - 1, "create", creation("eve", "e"), kind=Kind.FAIL, reason=reason)
    return True


@lie("acknowledged-lost")
def a_pause_is_forgotten(tale: Tale, pick: int) -> bool:
    ask(tale, sell_out(tale).at - 1, "pause", {"name": "sales/a"})
    return True


@lie("held-too-long")
def a_hold_lasted_longer_than_any_may(tale: Tale, pick: int) -> bool:
    ledger = tale.ledgers["sales/a"]
    held = [lasted(found) for found in ledger.reservations if lasted(found)]
    if not held:
        return False
    ledger.sale["max_hold_time"] = f"{chosen(held, pick).total_seconds() - 0.1:.6f}s"
    return True


@lie("needless-refusal")
def an_extension_within_the_limit_is_refused(tale: Tale, pick: int) -> bool:
    held = chosen([found for found in tale.ledgers["sales/a"].reservations if lasted(found)], pick)
    if held is None:
        return False
    request = {"name": held["name"], "expire_time": held["expire_time"]}
    ask(tale, tale.events[-1].at + 1, "extend", request, kind=Kind.FAIL, reason="EXTENSION_LIMIT_REACHED")
    return True


@lie("changed-unseen")
def another_version_was_expected(tale: Tale, pick: int) -> bool:
    changed = chosen(used_once(tale, "adjust"), pick)
    if changed is None:
        return False
    asked, _ = completions(tale.events)[changed.operation]
    asked.request["expected_version"] = str(int(changed.answer["version"]) + 1)
    return True


@lie("needless-refusal")
def who_expected_the_right_version_is_refused(tale: Tale, pick: int) -> bool:
    """Return when nothing has moved for seconds."""
    at = sell_out(tale).at - 1
    until = time_message(BEGAN + timedelta(seconds=at))
    rows = [row for row in tale.ledgers["sales/a"].movements if row["item"] == "x" and row["create_time"] < until]
    request = {"actor": "op-0", **adjustment(1, "never", version=int(rows[-1]["sequence"]))}
    ask(tale, at, "adjust", request, kind=Kind.FAIL, reason="STOCK_CHANGED")
    return True


# Watches


@lie("watch-gap", "watch-unfinished", "watch-repeat")
def a_watch_event_is_dropped(tale: Tale, pick: int) -> bool:
    """One that no snapshot follows: that would tell all over again."""
    told = told_by_watches(tale)
    snapshots = [number for number, event in enumerate(told) if "snapshot" in event.answer]
    dropped = chosen([event for number, event in enumerate(told) if number > max(snapshots, default=-1)], pick)
    if dropped is not None:
        tale.events.remove(dropped)
    return dropped is not None


@lie("watch-repeat")
def a_watch_event_comes_twice(tale: Tale, pick: int) -> bool:
    twice = chosen(told_by_watches(tale), pick)
    if twice is None or "snapshot" in twice.answer:
        return False
    tale.events.insert(tale.events.index(twice) + 1, twice)
    return True


@lie("watch-gap", "watch-repeat")
def two_watch_events_change_places(tale: Tale, pick: int) -> bool:
    told = told_by_watches(tale)
    pairs = [(one, other) for one, other in pairwise(told) if one.operation == other.operation]
    if not pairs:
        return False
    one, other = (tale.events.index(event) for event in chosen(pairs, pick))
    tale.events[one], tale.events[other] = tale.events[other], tale.events[one]
    return True


@lie("watch-differs")
def a_watch_tells_other_stock(tale: Tale, pick: int) -> bool:
    told = chosen(told_by_watches(tale), pick)
    if told is None:
        return False
    if "movements" in told.answer:
        chosen(told.answer["movements"], pick)["held_delta"] += 1
    else:
        level = told.answer.get("snapshot") or told.answer["change"]
        chosen(level["items"], pick)["sold"] += 1
    return True


# Helpers


def forget(tale: Tale, name: str) -> None:
    """As after a failover to a database that never had this reservation."""
    ledger = tale.ledgers["sales/a"]
    lost = [movement for movement in ledger.movements if movement["reservation"] == name]
    ledger.movements[:] = [movement for movement in ledger.movements if movement not in lost]
    ledger.reservations[:] = [found for found in ledger.reservations if found["name"] != name]
    for item in ledger.items:
        own = [movement for movement in lost if movement["item"] == item["item"]]
        for field in ("on_hand", "held", "sold"):
            item[field] -= sum(movement[f"{field}_delta"] for movement in own)
        item["available"] = item["on_hand"] - item["held"]
    renumber(ledger)


def renumber(ledger: SaleLedger) -> None:
    """Sequences without gaps, and versions that fit them."""
    for sequence, movement in enumerate(ledger.movements, 1):
        movement["sequence"] = str(sequence)
    for item in ledger.items:
        own = [movement["sequence"] for movement in ledger.movements if movement["item"] == item["item"]]
        item["version"] = own[-1] if own else "0"
    ledger.sale["sequence"] = str(len(ledger.movements))


def sell_out(tale: Tale) -> Event:
    """Return the begin of the sell-out: no hold is left then, and nothing has moved for seconds."""
    return next(event for event in tale.events if event.action == "sell-out")


def lasted(reservation: dict) -> timedelta:
    """Return the time from its creation to its expiry."""
    create_time, expire_time = (datetime.fromisoformat(reservation[name]) for name in ("create_time", "expire_time"))
    return expire_time - create_time


def answers(tale: Tale, action: str) -> list[Event]:
    """Return the granted operations."""
    return [event for event in tale.events if event.kind is Kind.OK and event.action == action]


def used_once(tale: Tale, action: str) -> list[Event]:
    """Return the granted operations whose key no other has."""
    pairs = list(completions(tale.events).values())
    keys = [(invoked.action, invoked.request.get("request_id")) for invoked, _ in pairs]
    return [
        ended
        for (invoked, ended), key in zip(pairs, keys, strict=True)
        if ended.kind is Kind.OK and invoked.action == action and key[1] and keys.count(key) == 1
    ]


def buyer(asked: Event) -> tuple[str, str]:
    """Return the sale and the customer of a create."""
    return asked.request.get("parent", ""), asked.request.get("customer", "")


def told_by_watches(tale: Tale) -> list[Event]:
    """Return the events of both watchers, without heartbeats."""
    told = [event for event in tale.events if event.kind is Kind.WATCH and event.answer]
    told = [event for event in told if any(event.answer.get(field) for field in ("movements", "snapshot", "change"))]
    return sorted(told, key=lambda event: event.client)


def ask(tale: Tale, at: float, action: str, request: dict, kind: Kind = Kind.OK, **ended: Any) -> None:
    """Add an operation of 10 ms at its time."""
    number = max((event.operation for event in tale.events), default=0) + 1
    began = BEGAN.timestamp()
    common = {"client": "liar", "operation": number, "action": action}
    asked = Event(Kind.INVOKE, at, began + at, request=request, **common)
    answered = Event(kind, at + 0.01, began + at + 0.01, **common, **ended)
    tale.events[:] = sorted([*tale.events, asked, answered], key=lambda event: event.at)
