"""Follow what a sale sells, from its first movement, across deploys and lost connections."""

import asyncio

from holdfast.inventory.v1.movement_pb2 import Movement
from holdfast_client import AsyncClient


async def main():
    async with AsyncClient("localhost:50051") as client:
        async for event in client.watch_movements(parent="sales/drop-1"):
            for movement in event.movements:
                if movement.kind == Movement.CONFIRM:
                    print(f"{movement.sequence}: {movement.sold_delta} of {movement.item} to {movement.reservation}")
            # A backend stores event.resume_token with its own data here, and starts from it: nothing is missed.


asyncio.run(main())
