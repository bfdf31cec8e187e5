"""`python -m lab.load_test.planted MODULE ...` runs `python -m MODULE ...` with a planted oversell.

The inventory then finds units on the shelf that are not there whenever a customer asks for more than there are.
"""

from typing import Any

from lab.kit.launcher import launch


def plant(module: str) -> None:
    if module != "holdfast_inventory":
        return
    from holdfast_inventory.domain import decide  # noqa: PLC0415 - only what the launched service itself imports

    shortages = decide._Batch.shortages

    def none_short(self: Any, lines: Any) -> Any:
        for short in shortages(self, lines):
            item = self.item(short.item_id)
            self.items[short.item_id] = item._replace(on_hand=item.on_hand + short.asked - short.available)
        return ()

    decide._Batch.shortages = none_short  # type: ignore[method-assign]


if __name__ == "__main__":
    launch(plant)
