"""The simpler solutions that Holdfast is compared with: `python -m lab.bench.yardsticks grpc|rest|insert …`.

`grpc`: one grpc.aio server with an empty handler (the sale `empty`) and the naive way, a transaction for each request
(any other sale). `rest`: the naive REST stack, a framework that makes one gRPC call of each request. `insert`: one
asyncpg connection that inserts a row at a time.
"""

import asyncio
import json
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import grpc
import uvloop
from aiohttp import web
from google.protobuf.json_format import MessageToDict, ParseDict

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast.inventory.v1.reservation_service_pb2_grpc import (
    ReservationServiceServicer,
    ReservationServiceStub,
    add_ReservationServiceServicer_to_server,
)
from lab.kit.percentile import percentile

EMPTY = "sales/empty"

NAIVE_SCHEMA = """
CREATE TABLE naive_items (item_id text PRIMARY KEY, on_hand integer NOT NULL, held integer NOT NULL DEFAULT 0,
    CHECK (held <= on_hand));
CREATE TABLE naive_reservations (reservation_id uuid PRIMARY KEY, request_id text UNIQUE, customer text NOT NULL,
    item_id text NOT NULL, quantity integer NOT NULL, expires_at timestamptz NOT NULL);
CREATE TABLE naive_ledger (sequence bigserial PRIMARY KEY, item_id text NOT NULL, held_delta integer NOT NULL,
    reservation_id uuid NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE bare_reservations (reservation_id uuid PRIMARY KEY, customer text NOT NULL, item_id text NOT NULL,
    quantity integer NOT NULL);
INSERT INTO naive_items VALUES ('hot', 2000000000);
"""


async def naive_reserve(pool, customer, item_id, quantity, request_id):
    """Reserve in the textbook way: lock the item, check, write, commit. As durable and idempotent as Holdfast."""
    reservation_id = uuid4()
    async with pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(
            "SELECT on_hand - held AS available FROM naive_items WHERE item_id = $1 FOR UPDATE", item_id
        )
        if row["available"] < quantity:
            return None
        await connection.execute("UPDATE naive_items SET held = held + $2 WHERE item_id = $1", item_id, quantity)
        await connection.execute(
            "INSERT INTO naive_reservations VALUES ($1, $2, $3, $4, $5, $6)",
            reservation_id,
            request_id or str(reservation_id),
            customer,
            item_id,
            quantity,
            datetime.now(UTC) + timedelta(minutes=2),
        )
        await connection.execute(
            "INSERT INTO naive_ledger (item_id, held_delta, reservation_id) VALUES ($1, $2, $3)",
            item_id,
            quantity,
            reservation_id,
        )
    return reservation_id


class Yardsticks(ReservationServiceServicer):
    def __init__(self, pool):
        self._pool = pool
        self._answer = pb.Reservation(name=f"{EMPTY}/reservations/{uuid4()}", customer="c-1", state=pb.Reservation.HELD)

    async def CreateReservation(self, request, context):  # noqa: N802 - gRPC's name
        if request.parent == EMPTY:
            return self._answer
        line = request.lines[0]
        made = await naive_reserve(self._pool, request.customer, line.item, line.quantity, request.request_id)
        if made is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "sold out")
        name = f"{request.parent}/reservations/{made}"
        return pb.Reservation(name=name, customer=request.customer, state=pb.Reservation.HELD)


async def serve_grpc(port, database_url):
    pool = await asyncpg.create_pool(database_url, min_size=4, max_size=16)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_ReservationServiceServicer_to_server(Yardsticks(pool), server)  # type: ignore[abstract] # one method is enough
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await _told_to_stop()
    await server.stop(0)
    await pool.close()


async def serve_rest(port, target):
    async with grpc.aio.insecure_channel(target) as channel:
        stub = ReservationServiceStub(channel)

        async def create(request):
            message = ParseDict(await request.json(), pb.CreateReservationRequest())
            message.parent = f"sales/{request.match_info['sale']}"
            message.request_id = request.headers.get("Idempotency-Key", "")
            return web.json_response(MessageToDict(await stub.CreateReservation(message)))

        application = web.Application()
        application.router.add_post("/v1/sales/{sale}/reservations", create)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await _told_to_stop()
        await runner.cleanup()


async def time_inserts(seconds, database_url):
    """Print the median time, in milliseconds, of durable statements in sequence on one connection, as JSON."""
    connection = await asyncpg.connect(database_url)
    latencies = []
    stop = time.perf_counter() + float(seconds)
    while time.perf_counter() < stop:
        began = time.perf_counter()
        await connection.execute("INSERT INTO bare_reservations VALUES ($1, $2, $3, $4)", uuid4(), "c-1", "hot", 1)
        latencies.append(time.perf_counter() - began)
    await connection.close()
    print(json.dumps({"p50_ms": percentile(latencies, 0.5) * 1000}))


async def _told_to_stop():
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    run = {"grpc": serve_grpc, "rest": serve_rest, "insert": time_inserts}[sys.argv[1]]
    uvloop.run(run(*sys.argv[2:]))
