"""A watcher of a sale of the stage that loses the connection and resumes."""

from collections.abc import Iterable
from typing import Any

from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.movement import Movement
from lab.chaos.history import Kind
from tests.unit.chaos.stage import Stage, item_message, movement_message


class Watcher:
    """`position` is the last movement that it received."""

    action = ""

    def __init__(self, stage: Stage, client: str, sale: str = "a") -> None:
        self.stage, self.client, self.sale = stage, client, sale
        self.position = 0
        self.opening = 0

    @property
    def ledger(self) -> list[Movement]:
        return self.stage.stores[self.sale].ledger

    @property
    def token(self) -> str:
        return f"{self.action} {self.sale} {self.position}" if self.opening else ""

    def say(self, **fields: Any) -> None:
        self.stage.record(Kind.WATCH, client=self.client, operation=self.opening, action=self.action, **fields)

    def tell(self, **event: Any) -> None:
        self.say(answer={**event, "resume_token": self.token})


class MovementWatcher(Watcher):
    action = "watch_movements"

    def open(self) -> None:
        request = {"parent": f"sales/{self.sale}", "after_sequence": "0", "resume_token": self.token}
        self.opening = self.stage.next_number()
        self.say(request=request)

    def take(self, most: int = 1000) -> None:
        """A limited number of movements, or a heartbeat."""
        movements = self.ledger[self.position : self.position + most]
        self.position += len(movements)
        self.tell(movements=[movement_message(self.sale, movement) for movement in movements])


class StockWatcher(Watcher):
    action = "watch_stock"

    def open(self, *, lagged: bool = False) -> None:
        """Continue; `lagged`: it was disconnected for too long, and begins again with a snapshot."""
        request = {"name": f"sales/{self.sale}", "resume_token": self.token}
        is_first = not self.opening
        self.opening = self.stage.next_number()
        self.say(request=request)
        if is_first or lagged:
            self.snapshot(lagged=lagged)

    def snapshot(self, *, lagged: bool = False) -> None:
        self.position = len(self.ledger)
        items = self._messages(self._levels().values())
        self.tell(snapshot={"items": items, "sequence": str(self.position), "lagged": lagged})

    def take(self, most: int = 1000) -> None:
        """The next change with a limited number of movements, or a heartbeat."""
        batch = self.ledger[self.position : self.position + most]
        if not batch:
            self.tell(heartbeat={"sequence": str(self.position)})
            return
        previous = self.position
        self.position += len(batch)
        levels = self._levels()
        items = self._messages(levels[item] for item in sorted({movement.item_id for movement in batch}))
        sequences = {"previous_sequence": str(previous), "sequence": str(self.position)}
        self.tell(change={"items": items, **sequences})

    def _levels(self) -> dict[str, Item]:
        """Return all items as they were at the position."""
        levels = {name: Item(name, 0, 0, 0, 0, 0) for name in self.stage.stores[self.sale].items}
        for movement in self.ledger[: self.position]:
            item = levels[movement.item_id]
            levels[movement.item_id] = item._replace(
                on_hand=item.on_hand + movement.on_hand_delta,
                held=item.held + movement.held_delta,
                sold=item.sold + movement.sold_delta,
                version=movement.sequence,
            )
        return levels

    def _messages(self, items: Iterable[Item]) -> list[dict[str, Any]]:
        return [item_message(self.sale, item) for item in items]


class WebhookReceiver(Watcher):
    """The receiver of a webhook."""

    action = "webhook"

    def open(self) -> None:
        self.opening = self.stage.next_number()
        self.say(request={"parent": f"sales/{self.sale}", "after_sequence": "0", "resume_token": ""})

    def take(self, *, again: int = 0) -> None:
        """A message with all movements since the last; `again`: it begins so many movements before that."""
        after, self.position = self.position - again, len(self.ledger)
        movements = [movement_message(self.sale, movement) for movement in self.ledger[after:]]
        self.tell(after_sequence=str(after), sequence=str(self.position), movements=movements)
