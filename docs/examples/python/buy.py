"""Create a sale, hold a pair for a customer, and sell it."""

from holdfast.inventory.v1.reservation_service_pb2 import Line
from holdfast.inventory.v1.sale_pb2 import Item, Sale
from holdfast_client import Client
from holdfast_client.refusals import AlreadyExists, CustomerLimitReached, InsufficientStock, SaleNotOpen

with Client("localhost:50051") as shop:
    try:
        shop.create_sale(sale_id="drop-1", sale=Sale(per_customer_limit=2, items=[Item(item="sneaker-42", on_hand=50)]))
    except AlreadyExists:
        pass  # This program was run before.
    try:
        held = shop.create_reservation(
            parent="sales/drop-1", customer="c-1", lines=[Line(item="sneaker-42", quantity=1)]
        )
    except InsufficientStock as refusal:
        again = f"try again in {refusal.retry_after_seconds:.0f} s" if refusal.retryable else "all are sold"
        print(f"{refusal.metadata['available.sneaker-42']} are left: {again}")
    except CustomerLimitReached as refusal:
        print(f"c-1 has {refusal.metadata['used']} of {refusal.metadata['limit']} already")
    except SaleNotOpen as refusal:
        print(f"the sale opens at {refusal.metadata['open_time']}")
    else:
        sold = shop.confirm_reservation(name=held.name, order="o-77")
        print(f"sold {sold.lines[0].quantity} of {sold.lines[0].item} as {sold.name}")
