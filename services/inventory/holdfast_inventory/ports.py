"""What the stock core, the store and the watches say to each other."""

from collections.abc import Sequence
from typing import NamedTuple

from holdfast_inventory.domain.item import Item


class Committed(NamedTuple):
    """What a commit did to a sale's stock: the items that moved, as it left them."""

    sale_id: str
    previous_sequence: int
    sequence: int
    items: Sequence[Item]
