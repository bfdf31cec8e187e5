"""The live line says of each item what is left, held and sold."""

from holdfast.inventory.v1.sale_pb2 import Item
from holdfast_devstack.stock_line import describe


def test_items_are_listed_in_order():
    items = [Item(item="cap", available=7, held=2, sold=1), Item(item="mug", available=3)]
    assert describe("demo", items) == "demo (left/held/sold): cap 7/2/1  mug 3/0/0"
