"""Whether those who were refused were told the truth, and in time.

A refusal was true if it was so at one moment between the call and its answer: by what was committed then and could be
seen, by the server's clock, and in the middle of a batch by the movements of that batch. A shortage may come from
memory, and so may have been true a little earlier.
"""

from collections import defaultdict
from datetime import timedelta
from itertools import pairwise

from holdfast_inventory.domain.commands import Confirm, Create, Extend
from holdfast_inventory.domain.errors import (
    CustomerLimitReached,
    DeadlineInQueue,
    ExtensionLimitReached,
    InsufficientStock,
    SaleClosed,
    SaleNotOpen,
    SalePaused,
)
from lab.simulation.record import CONFIRM, EXPIRE, HELD, HOLD, RELEASE, entries_in, state_of

_STALE_SECONDS = 0.2
_LATE_SECONDS = 0.5
"""A look at those who wait."""
_NEVER = float("inf")


def late_refusals(calls, loop):
    """Whose deadline passes while it waits is told so then, and not when whatever is before it has ended."""
    for call in calls:
        if isinstance(call.answer, DeadlineInQueue) and call.alone:
            due = max(call.deadline, call.invoked[1] if call.queued_at is None else call.queued_at)
            answered = call.answered[1]
            late_seconds = answered - due - loop.stalled_seconds(due, answered)
            if late_seconds > _LATE_SECONDS:
                yield f"call {call.number} is told {late_seconds:.2f} s late that its deadline has passed"


def false_refusals(record, calls, server):
    """Whoever was refused was told the truth; and nobody is who has been granted the same before."""
    refused = [call for call in calls if type(call.answer) in _TRUTHS]
    granted = _granted(record) if refused else {}
    for call in refused:
        told = f"call {call.number} ({type(call.command).__name__}) was refused with {call.answer!r}"
        if not _TRUTHS[type(call.answer)](call, record, server):
            yield f"{told}, which was never true"
        if isinstance(call.answer, InsufficientStock | CustomerLimitReached) and not _was_open(call, record, server):
            yield f"{told}, though the sale was not open"
        if isinstance(call.command, Create) and granted.get(call.command.reservation_id, _NEVER) < call.invoked[1]:
            yield f"{told}, though it had been granted before"


def _granted(record):
    """When each reservation could first be seen."""
    found = {}
    for (what, key, *_), commit in record.first_written.items():
        if what == "state" and commit.seen_at is not None:
            found.setdefault(key, commit.seen_at)
    return found


# The rules


def _followed_the_rules(call, record, server):
    """The sale was as the refusal says, by rules that were in force, at a time when they were."""
    return any(_says_so(call, rules, now) for rules, now in _rules_meanwhile(call, record, server))


def _was_open(call, record, server):
    """That comes first: who is told of stock or limits could have bought, had there been enough."""
    moments = _rules_meanwhile(call, record, server, stale_seconds=_STALE_SECONDS)
    return not isinstance(call.command, Create) or any(state_of(rules, now) == "open" for rules, now in moments)


def _rules_meanwhile(call, record, server, stale_seconds=0.0):
    """The sale's rules while the call was under way, each with the times from which on they may mean something else."""
    begin, end = call.invoked[1] - stale_seconds, call.answered[1]
    place = ("sales", record.sale_id, "")
    changes = [(commit.seen_at, commit.writes[place]) for commit in record.seen if place in commit.writes]
    for (since, rules), (until, _) in pairwise([*changes, (_NEVER, None)]):
        if since <= end and until >= begin:
            turns = (rules["open_at"], rules["close_at"], _decided_at(call.answer))
            for now in _times(server.at(max(since, begin)), server.at(min(until, end)), turns):
                yield rules, now


def _times(first, last, turns):
    return [first, last, *(turn for turn in turns if turn is not None and first < turn < last)]


def _decided_at(refusal):
    """When it was decided, if the refusal tells."""
    if isinstance(refusal, SaleNotOpen):
        return refusal.open_at - timedelta(seconds=refusal.retry_after_seconds)
    return None


_STATES = {SaleNotOpen: {"scheduled"}, SalePaused: {"paused"}, SaleClosed: {"closed", "cancelled"}}


def _says_so(call, rules, now):
    refusal, command = call.answer, call.command
    if isinstance(command, Confirm):
        # What was held in time may be confirmed in any sale but one that is cancelled.
        return isinstance(refusal, SaleClosed) and command.allow_late and state_of(rules, now) == "cancelled"
    if isinstance(refusal, SaleNotOpen) and (rules["open_at"], now) != (refusal.open_at, _decided_at(refusal)):
        return False
    return isinstance(command, Create) and state_of(rules, now) in _STATES[type(refusal)]


# Limits


def _was_at_the_limit(call, record, server):
    """The customer had as much as is told, and with what is asked for would have had more than the limit."""
    asked = _asked(call.command, record)
    return asked is not None and any(
        _is_at_the_limit(call.answer, asked, stock, now, record)
        for stock, now in _stock_meanwhile(call, record, server)
    )


def _asked(command, record):
    """Who asks for which lines, and whether for all of them or none."""
    if isinstance(command, Create):
        return command.customer, command.lines, not command.allow_partial
    row = record.reservations.get(getattr(command, "reservation_id", None))
    if isinstance(command, Confirm) and command.allow_late and row is not None:
        return row["customer"], tuple(zip(row["item_ids"], row["quantities"], strict=True)), True
    return None


def _is_at_the_limit(refusal, asked, stock, now, record):
    customer, lines, is_whole = asked
    used = stock.used(customer, now)
    wanted = dict(lines) if is_whole else {item: min(units, stock.left(item, now)) for item, units in lines}
    if refusal.item_id is None:
        limit, has, wants = record.sale["per_customer_limit"], sum(used.values()), sum(wanted.values())
    else:
        limit = record.items[refusal.item_id]["per_customer_limit"]
        has, wants = used[refusal.item_id], wanted.get(refusal.item_id, 0)
    return (refusal.limit, refusal.used) == (limit, has) and 0 < limit < has + wants


class _Stock:
    """What is on hand and who has what, as the movements of a sale go by."""

    def __init__(self):
        self._on_hand = defaultdict(int)
        self._rows = {}
        self._taken = {}

    def know(self, row):
        self._rows[row["reservation_id"]] = row

    def move(self, entry):
        place = (entry.reservation_id, entry.item_id)
        self._on_hand[entry.item_id] += entry.on_hand
        if entry.kind in (HOLD, CONFIRM):
            self._taken[place] = (abs(entry.held or entry.on_hand), entry.kind == CONFIRM)
        elif entry.kind in (RELEASE, EXPIRE):
            self._taken.pop(place, None)

    def used(self, customer, now):
        """What a customer has bought and holds, by item. What is over does not count."""
        found = defaultdict(int)
        for (reservation_id, item_id), (units, is_sold) in self._taken.items():
            row = self._rows[reservation_id]
            if row["customer"] == customer and (is_sold or row["expires_at"] > now):
                found[item_id] += units
        return found

    def left(self, item_id, now):
        """What can be had of an item."""
        held = sum(
            units
            for (reservation_id, of), (units, is_sold) in self._taken.items()
            if of == item_id and not is_sold and self._rows[reservation_id]["expires_at"] > now
        )
        return self._on_hand[item_id] - held

    def ends(self):
        """When what is held will be over."""
        return {self._rows[reservation_id]["expires_at"] for reservation_id, _ in self._taken}


def _stock_meanwhile(call, record, server):
    """The stock while the call was under way: between commits, and within those that came meanwhile."""
    begin, end = call.invoked[1], call.answered[1]
    stock = _Stock()
    for commit, following in pairwise([*record.seen, None]):
        if commit.seen_at > end:
            return
        for entry in _learned(stock, commit, record.sale_id):
            stock.move(entry)
            if commit.seen_at >= begin:
                yield stock, entry.at
        until = min(end, _NEVER if following is None else following.seen_at)
        if until >= begin:
            for now in _times(server.at(max(begin, commit.seen_at)), server.at(until), stock.ends()):
                yield stock, now


def _learned(stock, commit, sale_id):
    """Makes the commit's reservations known. Its movements, which are yet to be made."""
    entries = []
    for (table, of, _), row in commit.writes.items():
        if of == sale_id and table == "reservations":
            stock.know(row)
        elif of == sale_id and table == "ledger":
            entries += entries_in(row)
    return entries


def _was_beyond_the_latest(call, record, server):
    """The end that was asked for is beyond the latest that the hold can have, and there was a hold."""
    row = record.reservations.get(call.command.reservation_id) if isinstance(call.command, Extend) else None
    if row is None or call.command.customer not in ("", row["customer"]):
        return False
    latest = row["created_at"] + record.sale["max_hold_time"]
    # What others have ended is seen to be so when that is committed, which may be a while after it was decided.
    ending = record.first_written[("state", row["reservation_id"], row["state"])] if row["ended_at"] else None
    was_over = row["expires_at"] < server.at(call.invoked[1]) or (
        ending is not None and ending.seen_at is not None and ending.seen_at < call.invoked[1]
    )
    was_held = row["created_at"] <= server.at(call.answered[1]) and not was_over
    return was_held and call.answer.latest_expires_at == latest < call.command.expires_at


# Shortages


def _was_short(call, record, server):
    """There was too little, at that moment or 200 ms before."""
    if not isinstance(call.command, Create):
        return True  # Only creates are judged.
    begin, end = call.invoked[1] - _STALE_SECONDS, call.answered[1]
    return any(_is_short(call.command, *moment, server) for moment in _within(_levels(record), begin, end))


def _levels(record):
    """When the sale's stock changed, by which time that was decided, and what was on hand and who held what then."""
    items, holds = {}, {}
    for commit in record.seen:
        decided_at = None
        for (table, of, key), row in commit.writes.items():
            if of != record.sale_id:
                continue
            if table == "items":
                items[key] = row["on_hand"]
            elif table == "reservations":
                holds[key] = row
            elif table == "ledger":
                decided_at = row["created_at"]
        yield commit.seen_at, decided_at, dict(items), [row for row in holds.values() if row["state"] == HELD]


def _within(moments, begin, end):
    """The state at the beginning, and those that came until the end."""
    moments = list(moments)
    before = [moment for moment in moments if moment[0] <= begin]
    for _, _, *levels in before[-1:]:
        yield begin, None, *levels
    yield from (moment for moment in moments if begin < moment[0] <= end)


def _is_short(command, at, decided_at, items, holds, server):
    now = decided_at or server.at(at)
    for item_id, wanted in command.lines:
        held = sum(
            units
            for row in holds
            if row["expires_at"] > now
            for held_item, units in zip(row["item_ids"], row["quantities"], strict=True)
            if held_item == item_id
        )
        if items.get(item_id, 0) - held < wanted:
            return True
    return False


_TRUTHS = {
    InsufficientStock: _was_short,
    SaleNotOpen: _followed_the_rules,
    SalePaused: _followed_the_rules,
    SaleClosed: _followed_the_rules,
    CustomerLimitReached: _was_at_the_limit,
    ExtensionLimitReached: _was_beyond_the_latest,
}
