"""One request id, one effect: through lost answers, other replicas, other transports."""

import asyncio

import aiohttp
import pytest

from lab.kit.grpc_client import outcome
from lab.kit.rest_client import RestClient
from tests.support.eventually import eventually


async def test_retry_after_a_lost_answer_gives_the_same_reservation(replicas, cluster):
    """The client disconnects during its requests, and sends them to another replica with the same keys."""
    sale = await replicas[0].open_sale(sneaker=100)
    hasty = RestClient(cluster.url)
    buying = [asyncio.ensure_future(hasty.reserve(sale, f"c-{n}", f"key-{n}", sneaker=1)) for n in range(20)]
    await eventually(lambda: arrived(replicas[1], sale))
    await hasty.close()
    for answer in await asyncio.gather(*buying, return_exceptions=True):
        assert not isinstance(answer, Exception) or isinstance(answer, aiohttp.ClientError | RuntimeError)
    first = await asyncio.gather(*(replicas[1].reserve(sale, f"c-{n}", f"key-{n}", sneaker=1) for n in range(20)))
    second = await asyncio.gather(*(replicas[2].reserve(sale, f"c-{n}", f"key-{n}", sneaker=1) for n in range(20)))
    assert [held.name for held in first] == [held.name for held in second]
    assert (await replicas[0].item(sale, "sneaker")).held == 20
    await replicas[0].check_ledger(sale)


async def arrived(client, sale):
    return (await client.item(sale, "sneaker")).held


async def test_a_replay_says_so_and_tells_the_present_state(shop, rest):
    sale = await shop.open_sale(sneaker=5)
    first = await rest.reserve(sale, "c-1", "key", sneaker=1)
    assert "Idempotent-Replayed" not in first.headers
    await rest.post(f"/v1/{first.body['name']}:confirm", {"order": "o-1"})
    again = await rest.reserve(sale, "c-1", "key", sneaker=1)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.body["name"], again.body["state"]) == (first.body["name"], "CONFIRMED")


async def test_another_meaning_under_the_same_key_is_refused(shop, rest):
    sale = await shop.open_sale(sneaker=5)
    await rest.reserve(sale, "c-1", "key", sneaker=1)
    refused = await rest.reserve(sale, "c-1", "key", sneaker=2)
    assert (refused.status, refused.reason, refused.body["retryable"]) == (422, "REQUEST_ID_REUSED", False)
    over_grpc = await outcome(shop.reserve(sale, "c-1", "key", sneaker=2))
    assert (over_grpc.code, over_grpc.reason) == ("FAILED_PRECONDITION", "REQUEST_ID_REUSED")


async def test_the_same_key_of_another_customer_is_another_request(shop, rest):
    sale = await shop.open_sale(sneaker=5)
    one, other = await rest.reserve(sale, "c-1", "key", sneaker=1), await rest.reserve(sale, "c-2", "key", sneaker=1)
    assert (one.status, other.status) == (200, 200)
    assert one.body["name"] != other.body["name"]


async def test_a_refused_request_may_succeed_later_under_its_key(shop, rest):
    sale = await shop.open_sale(sneaker=1)
    held = await rest.reserve(sale, "c-1", "first", sneaker=1)
    assert (await rest.reserve(sale, "c-2", "patient", sneaker=1)).reason == "INSUFFICIENT_STOCK"
    await rest.post(f"/v1/{held.body['name']}:release")

    async def buys():
        return (await rest.reserve(sale, "c-2", "patient", sneaker=1)).status == 200

    await eventually(buys, within=5)
    await shop.check_ledger(sale)


@pytest.mark.parametrize("method", ["confirm", "release", "extend"])
async def test_anothers_reservation_is_as_if_it_did_not_exist(shop, rest, method):
    sale = await shop.open_sale(sneaker=5)
    name = (await rest.reserve(sale, "c-1", sneaker=1)).body["name"]
    body = {"customer": "c-2"} | ({"expireTime": "2030-01-01T00:00:00Z"} if method == "extend" else {})
    foreign = await rest.post(f"/v1/{name}:{method}", body)
    missing = await rest.post(f"/v1/{sale}/reservations/00000000-0000-4000-8000-000000000000:{method}", body)
    assert (foreign.status, foreign.reason) == (missing.status, missing.reason) == (404, "NOT_FOUND")
    assert foreign.body.keys() == missing.body.keys()
    assert (await rest.get(f"/v1/{name}?customer=c-2")).status == 404
    assert (await rest.get(f"/v1/{name}?customer=c-1")).body["state"] == "HELD"


async def test_stock_is_adjusted_and_transferred_once(shop, rest):
    source, destination = await shop.open_sale(sneaker=10), await shop.open_sale(sneaker=0)
    adjust = {"delta": 5, "reason": "RECEIVED"}
    transfer = {"source": f"{source}/items/sneaker", "destination": f"{destination}/items/sneaker", "quantity": 3}
    for _ in range(3):
        adjusted = await rest.post(f"/v1/{source}/items/sneaker:adjust", adjust, **{"Idempotency-Key": "in"})
        assert adjusted.status == 200, adjusted.body
    for _ in range(3):
        moved = await rest.post("/v1/sales:transfer", transfer, **{"Idempotency-Key": "over"})
        assert moved.status == 200, moved.body
    assert (await shop.item(source, "sneaker")).on_hand == 12
    assert (await shop.item(destination, "sneaker")).on_hand == 3
    for sale in (source, destination):
        await shop.check_ledger(sale)


async def test_every_answer_says_which_request_and_which_build(shop, rest):
    sale = await shop.open_sale(sneaker=0)
    refused = await rest.post(
        f"/v1/{sale}/reservations",
        {"customer": "c", "lines": [{"item": "sneaker", "quantity": 1}]},
        **{"X-Request-Id": "trace-me"},
    )
    assert (refused.status, refused.reason) == (409, "INSUFFICIENT_STOCK")
    assert refused.headers["X-Request-Id"] == "trace-me"
    assert refused.body["instance"].endswith("trace-me")
    assert refused.headers["X-Deployment-Version"]
    assert (await rest.get(f"/v1/{sale}")).headers["X-Request-Id"]


async def test_a_request_id_is_found_in_the_logs_of_both_services(shop, rest, cluster):
    sale = await shop.open_sale(sneaker=1)
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"X-Request-Id": f"id-{sale[6:]}", "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    await rest.send("GET", f"/v1/{sale}", headers=headers)
    fields = {"request_id": headers["X-Request-Id"], "trace_id": trace_id}
    await cluster.gateway.says("request", 10, **fields)

    def told_by_inventory():
        lines = [line for inventory in cluster.inventories for line in inventory.events("call")]
        return [line for line in lines if fields.items() <= line.items()]

    await eventually(told_by_inventory)


async def test_a_sale_that_opens_later_says_when_to_come_back(shop, rest):
    opens_at = "2999-01-01T00:00:00Z"
    sale_id = f"later-{(await shop.open_sale())[11:]}"
    await rest.post(f"/v1/sales?sale_id={sale_id}", {"openTime": opens_at, "items": [{"item": "a", "onHand": 1}]})
    refused = await rest.reserve(f"sales/{sale_id}", "c-1", a=1)
    assert (refused.status, refused.reason, refused.body["retryable"]) == (409, "SALE_NOT_OPEN", True)
    assert refused.body["metadata"]["open_time"] == opens_at
    assert int(refused.headers["Retry-After"]) > 1_000_000
