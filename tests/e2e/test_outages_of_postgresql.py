"""PostgreSQL starts late, dies, freezes and comes back, without a restart of the services."""

import asyncio

import pytest

from holdfast_devstack.postgres import PostgresServer
from lab.kit.grpc_client import outcome
from lab.kit.refusals import Refused
from tests.support.eventually import eventually
from tests.support.tcp_proxy import lose_answer, lose_commit, tcp_proxy

MAY_TRY_AGAIN = {"DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN", "DEADLINE_IN_QUEUE", "OVERLOADED", "INVENTORY_UNAVAILABLE"}


@pytest.fixture
async def server(tmp_path, free_port):
    """A PostgreSQL that is prepared but not started."""
    postgres = PostgresServer(tmp_path / "postgres", port=free_port())
    await asyncio.to_thread(postgres.prepare)
    yield postgres
    postgres.stop()


def spawn(server):
    """Start it without waiting, on the main thread: the kernel stops it when that thread ends."""
    server.spawn()
    return asyncio.to_thread(server.wait_until_ready)


async def test_database_comes_late_is_killed_and_returns(
    server, start_inventory, start_gateway, grpc_client, rest_client
):
    """Both services are started first, and are never started again."""
    inventory = start_inventory(server.url(), migrate_on_start=True)
    await inventory.says("waiting for the database")
    assert server.url().split(":")[2].split("@")[0] not in inventory.output  # the password
    await spawn(server)
    await inventory.is_serving()
    client = grpc_client(inventory.address)
    rest = rest_client((await start_gateway(inventory).is_serving()).url)
    sale = await client.open_sale(sneaker=1000)
    acknowledged = await buy_until_refused(rest, sale, server.kill)
    await refused_properly(rest, sale)
    await spawn(server)
    await served_again(rest, sale)
    found = await asyncio.gather(*(client.get(name) for name in acknowledged.values()))
    assert [held.name for held in found] == list(acknowledged.values())
    again = [(await rest.reserve(sale, "c-1", key, sneaker=1)).body["name"] for key in acknowledged]
    assert again == list(acknowledged.values())
    await client.check_ledger(sale)


async def buy_until_refused(rest, sale, then_kill):
    """Buy, kill the database meanwhile, and stop at the first refusal. Return what was acknowledged, by key."""
    acknowledged = {}
    for number in range(1000):
        answer = await rest.reserve(sale, "c-1", f"key-{number}", sneaker=1)
        if answer.status != 200:
            break
        acknowledged[f"key-{number}"] = answer.body["name"]
        if number == 20:
            then_kill()
    assert 20 < len(acknowledged) < 1000
    return acknowledged


async def refused_properly(rest, sale):
    """Every kind of call is refused in time with the information that a retry may help; readiness fails, too."""
    began_at = asyncio.get_running_loop().time()
    answers = await asyncio.gather(
        rest.reserve(sale, "c-1", "in-the-outage", sneaker=1), rest.get(f"/v1/{sale}"), rest.get(f"/v1/{sale}:verify")
    )
    assert asyncio.get_running_loop().time() - began_at < 8
    for answer in answers:
        assert answer.status in (503, 504), answer
        assert answer.reason in MAY_TRY_AGAIN
        assert answer.body["retryable"] is True
        assert answer.status == 504 or int(answer.headers["Retry-After"]) >= 1

    async def unready():
        return (await rest.get("/health/ready")).status == 503

    await eventually(unready)
    assert (await rest.get("/health/live")).status == 200


async def served_again(rest, sale):
    async def ready_and_selling():
        ready = (await rest.get("/health/ready")).status == 200
        return ready and (await rest.reserve(sale, "c-1", "after-the-outage", sneaker=1)).status == 200

    await eventually(ready_and_selling, within=30)


async def test_reads_and_writes_are_bounded_while_the_database_is_frozen(
    cluster, shop, start_inventory, start_gateway, grpc_client, rest_client
):
    """All packets are dropped, and no connection is closed."""
    sale = await shop.open_sale(sneaker=1000)
    async with tcp_proxy(cluster.database_url) as proxy:
        limits = {"database_read_seconds": 1, "database_transaction_seconds": 1, "database_acquire_seconds": 0.5}
        inventory = await start_inventory(proxy.url, cluster.redis_url, **limits).is_serving()
        client = grpc_client(inventory.address)
        rest = rest_client((await start_gateway(inventory).is_serving()).url)
        await client.reserve(sale, "c-1", "before", sneaker=1)
        proxy.freeze()
        await refused_properly(rest, sale)
        over_grpc = await outcome(client.reserve(sale, "c-1", "frozen", sneaker=1))
        assert isinstance(over_grpc, Refused)
        assert over_grpc.reason in MAY_TRY_AGAIN
        proxy.thaw()
        await served_again(rest, sale)
        first = await client.reserve(sale, "c-1", "frozen", sneaker=1)
        assert (await shop.reserve(sale, "c-1", "frozen", sneaker=1)).name == first.name
    await shop.check_ledger(sale)


async def test_connections_that_are_reset_in_mid_rush_lose_and_double_nothing(
    cluster, shop, start_inventory, grpc_client
):
    """Buyers obey the answers: they repeat retryable requests with the same key.

    On a busy machine a batch may take so long that the queue is full: then they get OVERLOADED.
    """
    sale = await shop.open_sale(sneaker=1000)
    async with tcp_proxy(cluster.database_url) as proxy:
        inventory = await start_inventory(proxy.url, cluster.redis_url).is_serving()
        client = grpc_client(inventory.address)

        async def buy(buyer, number):
            while isinstance(held := await outcome(client.reserve(sale, buyer, f"key-{number}", sneaker=1)), Refused):
                assert held.code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"), held
                assert held.reason in MAY_TRY_AGAIN, held
                assert held.retry_seconds > 0, held
            return held.name

        async def keep_resetting():
            while True:
                proxy.reset()
                await asyncio.sleep(0.1)  # Some requests succeed in between.

        resetting = asyncio.ensure_future(keep_resetting())
        for number in range(10):
            await asyncio.gather(*(buy(f"c-{buyer}", number) for buyer in range(20)))
        resetting.cancel()
    assert (await shop.item(sale, "sneaker")).held == 200
    await shop.check_ledger(sale)


async def test_one_lost_connection_is_not_noticed_by_buyers(cluster, shop, start_inventory, grpc_client):
    sale = await shop.open_sale(sneaker=1000)
    async with tcp_proxy(cluster.database_url) as proxy:
        inventory = await start_inventory(proxy.url, cluster.redis_url).is_serving()
        client = grpc_client(inventory.address)
        await client.reserve(sale, "c-1", sneaker=1)
        proxy.at_next_commits(lose_answer, lose_commit)
        await asyncio.gather(*(client.reserve(sale, f"c-{buyer}", sneaker=1) for buyer in range(20)))
        proxy.reset()
        await asyncio.gather(*(client.reserve(sale, f"c-{buyer}", sneaker=1) for buyer in range(20)))
    assert (await shop.item(sale, "sneaker")).held == 41
    await shop.check_ledger(sale)


async def test_a_database_that_never_comes_ends_the_start(start_inventory, free_port):
    unreachable = f"postgresql://holdfast:secret@127.0.0.1:{free_port()}/holdfast"
    inventory = start_inventory(unreachable, database_wait_seconds=1)
    assert await inventory.exit_code(60) == 1
    assert "step_start_failed" in inventory.output


async def test_connections_that_are_lost_during_the_start_do_not_end_it(start_inventory, empty_database_url):
    """Neither while the schema is made nor when it is looked at."""
    async with tcp_proxy(empty_database_url) as proxy:
        proxy.at_next_commits(lose_commit, lose_answer, lose_commit, lose_answer)
        await start_inventory(proxy.url, migrate_on_start=True).is_serving()


async def test_missing_migrations_are_said(start_inventory, empty_database_url):
    inventory = start_inventory(empty_database_url, database_wait_seconds=1)
    assert await inventory.exit_code(60) == 1
    assert "holdfast-inventory migrate" in inventory.output
