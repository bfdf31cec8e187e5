"""A watch reports everything once and in order, across all its resumes. Promise 7.

A watcher is a client. Each time it opens a watch, it says where to continue: at a resume token that it got, after a
sequence, or from the beginning. The events must continue from there.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from lab.chaos.history import Event, Kind
from lab.chaos.judge.case import Book, Case
from lab.chaos.judge.records import parsed_item, parsed_movement, sale_of
from lab.chaos.judge.verdict import Violation, violation


def violations(case: Case) -> Iterator[Violation]:
    sales: dict[int, str] = {}
    told: dict[tuple[str, str, str], list[Event]] = defaultdict(list)
    for event in case.events:
        if event.kind is Kind.WATCH:
            if event.request:
                sales[event.operation] = sale_of(event.request.get("parent") or event.request["name"])
            told[event.client, event.action, sales.get(event.operation, "")].append(event)
    for (client, action, sale), events in told.items():
        if sale in case.books:
            watcher = _WATCHERS[action]
            end = case.phases.get("end")
            yield from watcher(client, case.books[sale], end.at if end else inf).follow(events)


class _Watcher:
    """A watcher of a sale. `position` is the last sequence that it has seen, None before its first snapshot."""

    starts_at: int | None = None

    def __init__(self, client: str, book: Book, ledger_read: float) -> None:
        self.client = client
        self.book = book
        self._ledger_read = ledger_read
        self.position: int | None = None
        self._tokens: dict[str, int | None] = {}

    def follow(self, events: Sequence[Event]) -> Iterator[Violation]:
        for event in events:
            if event.request:
                self._open(event.request)
            if event.answer:
                yield from self.take(event)
                self._tokens[event.answer.get("resume_token", "")] = self.position
        # At the end every watcher must have received the last movement.
        if (self.position or 0) < self.book.sequence:
            arrived = f"{self.client} came to {self.position} of {self.book.sequence}"
            yield violation("watch-unfinished", f"{self.book.name}: {arrived}.")

    def take(self, event: Event) -> Iterator[Violation]:
        """Compare an event with the watcher's position, and advance it."""
        raise NotImplementedError

    def _open(self, request: Mapping[str, Any]) -> None:
        """Continue where the request says. A token that was never sent does not change the position."""
        if token := request.get("resume_token"):
            self.position = self._tokens.get(token, self.position)
        else:
            self.position = int(request.get("after_sequence") or 0) or self.starts_at

    def is_newer(self, event: Event, sequence: int) -> bool:
        """Return whether it reports something that happened after the ledger was read."""
        return sequence > self.book.sequence and event.at >= self._ledger_read

    def told(self, event: Event) -> str:
        return f"{self.client}, opening {event.operation} at {event.at:.3f} s"


class _Movements(_Watcher):
    starts_at = 0

    def take(self, event: Event) -> Iterator[Violation]:
        """Check that each movement has the next sequence and is the ledger's row."""
        for message in event.answer.get("movements", ()):
            movement = parsed_movement(message)
            expected = (self.position or 0) + 1
            if movement.sequence > expected:
                yield violation("watch-gap", f"{self.told(event)}: {movement.sequence} after {expected - 1}.")
            elif movement.sequence < expected:
                yield violation("watch-repeat", f"{self.told(event)}: {movement.sequence} after {expected - 1}.")
            row = self.book.by_sequence.get(movement.sequence)
            if movement != row and not self.is_newer(event, movement.sequence):
                yield violation("watch-differs", f"{self.told(event)}: {movement}; the ledger has {row}.")
            self.position = movement.sequence


class _Webhook(_Watcher):
    """The receiver of a webhook. A message may be repeated as it was; then it ends before what the receiver has."""

    starts_at = 0

    def take(self, event: Event) -> Iterator[Violation]:
        """Check that a message has all movements of its range, and that the range continues the one before."""
        after, through = (int(event.answer.get(name) or 0) for name in ("after_sequence", "sequence"))
        movements = [parsed_movement(message) for message in event.answer.get("movements", ())]
        if [movement.sequence for movement in movements] != list(range(after + 1, through + 1)):
            yield violation("watch-gap", f"{self.told(event)}: not all movements from {after + 1} to {through}.")
        for movement in movements:
            row = self.book.by_sequence.get(movement.sequence)
            if movement != row and not self.is_newer(event, movement.sequence):
                yield violation("watch-differs", f"{self.told(event)}: {movement}; the ledger has {row}.")
        known = self.position or 0
        if through > known and after != known:
            rule = "watch-gap" if after > known else "watch-repeat"
            yield violation(rule, f"{self.told(event)}: what follows on {after} came after {known}.")
        self.position = max(known, through)


class _Stock(_Watcher):
    def take(self, event: Event) -> Iterator[Violation]:
        answer = event.answer
        if answer.get("snapshot"):
            yield from self._snapshot(event, answer["snapshot"])
        elif answer.get("change"):
            yield from self._change(event, answer["change"])
        elif answer.get("heartbeat") and int(answer["heartbeat"].get("sequence", 0)) != self.position:
            said = answer["heartbeat"].get("sequence", 0)
            yield violation("watch-gap", f"{self.told(event)}: a heartbeat at {said} after {self.position}.")

    def _snapshot(self, event: Event, snapshot: Mapping[str, Any]) -> Iterator[Violation]:
        """Check that a snapshot has all items after its sequence, and is not older than the watcher's position."""
        sequence = int(snapshot.get("sequence", 0))
        if self.position is not None and sequence < self.position:
            yield violation("watch-repeat", f"{self.told(event)}: a snapshot at {sequence} after {self.position}.")
        if self.position is not None and not snapshot.get("lagged"):
            text = f"{self.told(event)}: a snapshot at {sequence} after {self.position} that does not say lagged."
            yield violation("watch-gap", text)
        yield from self._levels(event, snapshot.get("items", ()), sequence, set(self.book.items))
        self.position = sequence

    def _change(self, event: Event, change: Mapping[str, Any]) -> Iterator[Violation]:
        """Check that a change has the items that moved since the event before, after the change's sequence."""
        sequence, previous = int(change.get("sequence", 0)), int(change.get("previous_sequence", 0))
        if self.position is None:
            yield violation("watch-gap", f"{self.told(event)}: a change to {sequence} before any snapshot.")
        before = self.position if self.position is not None else previous
        if previous != before or sequence <= previous:
            rule = "watch-gap" if previous > before else "watch-repeat"
            yield violation(rule, f"{self.told(event)}: a change from {previous} to {sequence} after {before}.")
        moved = {
            self.book.by_sequence[number].item
            for number in range(before + 1, sequence + 1)
            if number in self.book.by_sequence
        }
        yield from self._levels(event, change.get("items", ()), sequence, moved)
        self.position = sequence

    def _levels(
        self, event: Event, messages: Sequence[Mapping[str, Any]], sequence: int, expected: set[str]
    ) -> Iterator[Violation]:
        """Check that each level is the ledger's after `sequence`, and that no expected item is missing."""
        if self.is_newer(event, sequence):
            return
        items = [parsed_item(message) for message in messages]
        if missing := expected - {item.item for item in items}:
            yield violation("watch-gap", f"{self.told(event)}: {sorted(missing)} left out at {sequence}.")
        for item in items:
            log = self.book.logs.get(item.item)
            version, level = log.at(sequence) if log else (0, None)
            if (item.version, item.level, item.available) != (version, level, item.level.available):
                told = f"{item.item} as {item.level} at version {item.version}"
                ledger = f"the ledger has {level} at {version}"
                yield violation("watch-differs", f"{self.told(event)}, sequence {sequence}: {told}; {ledger}.")


_WATCHERS = {"watch_movements": _Movements, "watch_stock": _Stock, "webhook": _Webhook}
