"""Hold and sell for many customers at once: a Batch sends their calls together, and each gets its own answer."""

import asyncio

from holdfast.inventory.v1.reservation_service_pb2 import Line
from holdfast_client import AsyncClient, Batch, Refusal

LINES = [Line(item="sneaker-42", quantity=1)]


async def buy(batch, customer):
    try:
        held = await batch.create_reservation(customer=customer, lines=LINES)
        await batch.confirm_reservation(name=held.name, order=f"order of {customer}")
    except Refusal as refusal:
        return refusal.reason
    return "sold"


async def main():
    async with AsyncClient("localhost:50051") as client:
        batch = Batch(client, "sales/drop-1")
        outcomes = await asyncio.gather(*(buy(batch, f"rush-{number}") for number in range(200)))
        for outcome in sorted(set(outcomes)):
            print(outcome, outcomes.count(outcome))


asyncio.run(main())
