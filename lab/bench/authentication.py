"""`python -m lab.bench.authentication`: the CPU of a reserve with and without a remembered token.

Two inventories on one database get the same calls in turn, so that a change of the machine's speed affects both. CPU is
read from /proc, so that other load of the machine matters little.
"""

import asyncio
import json
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path

import grpc
import jwt
import psutil
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast.inventory.v1.reservation_service_pb2_grpc import ReservationServiceStub
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_devstack.postgres import PostgresServer
from lab.kit import service as kit
from lab.kit.grpc_client import create

ROUNDS, CALLERS, CALLS_EACH = 6, 64, 60
_ISSUER = "https://issuer.example"
_SETTINGS = {
    "grpc_host": "127.0.0.1",
    "metrics_host": "127.0.0.1",
    "grpc_port": 0,
    "metrics_port": 0,
    "log_calls_per_second": 0,
    "migrate_on_start": True,
}


def main():
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        postgres = PostgresServer(directory / "postgres")
        postgres.start()
        stack.callback(postgres.stop)
        postgres.create_database("bench")
        settings = _SETTINGS | {"database_url": postgres.url("bench")}
        token = _token(directory / "jwks.json")
        known = {"token_issuer": _ISSUER, "token_jwks": directory / "jwks.json"}
        services = [
            stack.enter_context(kit.Service("holdfast_inventory", kit.variables(settings | more)))
            for more in ({}, known)
        ]
        addresses = [service.wait_for("serving") and service.wait_for("listening")["address"] for service in services]
        spent = asyncio.run(_measure([service.pid for service in services], addresses, f"Bearer {token}"))
    without, with_token = spent
    print(f"a reserve: {without:.0f} us of CPU without and {with_token:.0f} us with a remembered token")
    print(f"authentication adds {100 * (with_token / without - 1):.1f} % (target: at most 10 %)")


def _token(path):
    """Write a key set, and return a token of a shop's backend."""
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(jwt.get_algorithm_by_name("ES256").to_jwk(key.public_key())) | {"kid": "k"}
    path.write_text(json.dumps({"keys": [jwk]}))
    expires_at = int(SYSTEM_CLOCK.now().timestamp()) + 3600
    claims = {"iss": _ISSUER, "aud": "holdfast", "sub": "shop", "scope": "reservations.write", "exp": expires_at}
    return jwt.encode(claims, key, "ES256", {"kid": "k"})


async def _measure(pids, addresses, authorization):
    """Return the microseconds of CPU of a reserve, of each inventory."""
    spent = [0.0, 0.0]
    async with grpc.aio.insecure_channel(addresses[0]) as open_, grpc.aio.insecure_channel(addresses[1]) as guarded:
        sale = sale_pb2.Sale(items=[sale_pb2.Item(item="hot", on_hand=1_000_000)])
        created = await SaleServiceStub(open_).CreateSale(ss.CreateSaleRequest(sale_id="hot", sale=sale), timeout=30)
        for round_ in range(ROUNDS + 1):
            for place, channel in enumerate((open_, guarded)):
                before = _cpu_seconds(pids[place])
                await _reserve(ReservationServiceStub(channel), created.name, authorization)
                if round_:  # The first one warms up.
                    spent[place] += _cpu_seconds(pids[place]) - before
    return [1e6 * seconds / (ROUNDS * CALLERS * CALLS_EACH) for seconds in spent]


async def _reserve(stub, sale, authorization):
    async def buy():
        for _ in range(CALLS_EACH):
            request = create(sale, uuid.uuid4().hex, uuid.uuid4().hex, hot=1)
            await stub.CreateReservation(request, metadata=(("authorization", authorization),), timeout=60)

    await asyncio.gather(*(buy() for _ in range(CALLERS)))


def _cpu_seconds(pid):
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
