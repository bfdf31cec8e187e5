"""The live line says of each item what is left, held and sold."""

from holdfast.inventory.v1.sale_pb2 import Item
from holdfast_devstack.stock_line import describe


def test_items_are_listed_in_order():
    items = [Item(item="cap", available=7, held=2, sold=1), Item(item="mug", available=3)]
    assert describe("demo", items) == "demo: cap 7 left, 2 held, 1 sold | mug 3 left, 0 held, 0 sold"
