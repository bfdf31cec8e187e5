"""kill -9 under load: what was acknowledged is kept, and what was not can be retried."""

import asyncio

import grpc

from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.kit.grpc_client import end_of, outcome
from lab.kit.refusals import Refused
from tests.support.eventually import eventually

BUYERS = 40
KILLED_AFTER = 200
RETRY_CODES = {"UNAVAILABLE", "CANCELLED", "UNKNOWN"}


async def buy_until_it_dies(client, sale, buyer, acknowledged, lost):
    """One buyer's purchases, each with its own key, until the replica is down."""
    for number in range(10_000):
        key = f"key-{buyer}-{number}"
        answer = await outcome(client.reserve(sale, f"c-{buyer}", key, sneaker=1))
        if isinstance(answer, Refused):
            assert answer.code in RETRY_CODES, answer
            lost.append((f"c-{buyer}", key))
            return
        acknowledged[f"c-{buyer}", key] = answer.name


async def test_sigkill_in_mid_load_loses_nothing_acknowledged(replicas, start_inventory, grpc_client):
    sale = await replicas[0].open_sale(sneaker=1_000_000)
    victim = await start_inventory().is_serving()
    clients = [grpc_client(victim.address) for _ in range(4)]
    acknowledged, lost = {}, []
    buying = [
        asyncio.ensure_future(buy_until_it_dies(clients[n % 4], sale, n, acknowledged, lost)) for n in range(BUYERS)
    ]
    await eventually(lambda: len(acknowledged) >= KILLED_AFTER)
    victim.kill()
    await asyncio.gather(*buying)
    assert len(lost) == BUYERS

    # Another replica finds them by name; the same key gives the same reservation, even if it was never answered.
    found = await asyncio.gather(*(replicas[1].get(name) for name in acknowledged.values()))
    assert [(held.customer, held.name) for held in found] == [(key[0], name) for key, name in acknowledged.items()]
    keys = [*acknowledged, *lost]
    retried = await asyncio.gather(*(replicas[2].reserve(sale, *key, sneaker=1) for key in keys))
    again = {key: held.name for key, held in zip(keys, retried, strict=True)}
    assert {key: again[key] for key in acknowledged} == acknowledged
    once_more = [(await replicas[0].reserve(sale, *key, sneaker=1)).name for key in lost]
    assert once_more == [again[key] for key in lost]
    assert (await replicas[1].item(sale, "sneaker")).held == len(again)
    await replicas[2].check_ledger(sale)


async def test_shoppers_over_rest_do_not_notice_that_a_replica_was_killed(
    replicas, cluster, start_inventory, start_gateway, rest_client
):
    """The gateway generated their keys, so it may retry at another replica."""
    sale = await replicas[0].open_sale(sneaker=1_000_000)
    victim = await start_inventory().is_serving()
    gateway = await start_gateway(victim, cluster.addresses[0]).is_serving()
    rest = rest_client(gateway.url)
    answers, stop = [], asyncio.Event()

    async def buy(buyer):
        while not stop.is_set():
            answers.append(await rest.reserve(sale, f"c-{buyer}", sneaker=1))

    buying = [asyncio.ensure_future(buy(n)) for n in range(16)]
    await eventually(lambda: len(answers) >= KILLED_AFTER)
    victim.kill()
    seen = len(answers)
    await eventually(lambda: len(answers) >= seen + KILLED_AFTER)
    stop.set()
    await asyncio.gather(*buying)
    assert {answer.status for answer in answers} == {200}
    assert (await replicas[0].item(sale, "sneaker")).held == len({answer.body["name"] for answer in answers})
    await replicas[0].check_ledger(sale)


async def test_all_replicas_gone_is_said_at_once(replicas, start_inventory, start_gateway, rest_client):
    sale = await replicas[0].open_sale(sneaker=5)
    only = await start_inventory().is_serving()
    rest = rest_client((await start_gateway(only).is_serving()).url)
    assert (await rest.reserve(sale, "c-1", sneaker=1)).status == 200
    only.kill()

    async def refused():
        answer = await rest.reserve(sale, "c-1", sneaker=1)
        return answer if answer.status == 503 else None

    async with asyncio.timeout(10):
        answer = await eventually(refused)
    assert (answer.reason, answer.body["retryable"]) == ("INVENTORY_UNAVAILABLE", True)
    assert int(answer.headers["Retry-After"]) >= 1
    began_at = asyncio.get_running_loop().time()
    assert (await rest.get(f"/v1/{sale}")).status == 503
    assert asyncio.get_running_loop().time() - began_at < 3
    assert (await rest.get("/health/ready")).status == 503
    assert (await rest.get("/health/live")).status == 200


async def test_watch_of_a_killed_replica_resumes_at_another(replicas, start_inventory, grpc_client):
    sale = await replicas[0].open_sale(sneaker=50)
    victim = await start_inventory().is_serving()
    watch = grpc_client(victim.address).sales.WatchMovements(ss.WatchMovementsRequest(parent=sale), timeout=30)
    first = await watch.read()
    victim.kill()
    assert await end_of(watch) is grpc.StatusCode.UNAVAILABLE
    await replicas[0].reserve(sale, "c-1", sneaker=1)
    request = ss.WatchMovementsRequest(parent=sale, resume_token=first.resume_token)
    resumed = replicas[1].sales.WatchMovements(request, timeout=30)
    assert [movement.sequence for movement in (await resumed.read()).movements] == [2]
    resumed.cancel()
