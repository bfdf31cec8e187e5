"""Many concurrent buyers through three replicas and the gateway."""

import asyncio

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from lab.kit.grpc_client import create, outcome
from lab.kit.refusals import Refused


async def test_200_buyers_of_50_units_at_three_replicas_buy_exactly_50(replicas):
    sale = await replicas[0].open_sale(sneaker=50)
    answers = await asyncio.gather(*(outcome(replicas[n % 3].reserve(sale, f"c-{n}", sneaker=1)) for n in range(200)))
    refusals = [answer for answer in answers if isinstance(answer, Refused)]
    assert len(answers) - len(refusals) == 50
    assert {refusal.reason for refusal in refusals} == {"INSUFFICIENT_STOCK"}
    level = await replicas[1].item(sale, "sneaker")
    assert (level.on_hand, level.held, level.available, level.sold) == (50, 50, 0, 0)
    await replicas[2].check_ledger(sale)


async def test_200_buyers_of_50_units_over_rest_buy_exactly_50(replicas, rest):
    sale = await replicas[0].open_sale(sneaker=50)
    answers = await asyncio.gather(*(rest.reserve(sale, f"c-{n}", sneaker=1) for n in range(200)))
    assert [answer.status for answer in answers].count(200) == 50
    assert {answer.reason for answer in answers if answer.status != 200} == {"INSUFFICIENT_STOCK"}
    assert (await replicas[1].item(sale, "sneaker")).held == 50
    await replicas[2].check_ledger(sale)


async def test_20_concurrent_creates_with_one_request_id_make_one_reservation(replicas):
    sale = await replicas[0].open_sale(sneaker=50)
    calls = [
        replicas[n % 3].reservations.CreateReservation(create(sale, "c-1", "once", sneaker=1), timeout=30)
        for n in range(20)
    ]
    made = await asyncio.gather(*calls)
    replayed = ["idempotent-replayed" in await call.trailing_metadata() for call in calls]
    assert len({reservation.name for reservation in made}) == 1
    assert replayed.count(False) == 1
    assert (await replicas[1].item(sale, "sneaker")).held == 1
    await replicas[2].check_ledger(sale)


async def test_one_request_id_is_one_reservation_over_both_transports(replicas, rest):
    sale = await replicas[0].open_sale(sneaker=50)
    over_grpc = [replicas[n % 3].reserve(sale, "c-1", "once", sneaker=2) for n in range(10)]
    over_rest = [rest.reserve(sale, "c-1", "once", sneaker=2) for _ in range(10)]
    *made, answers = await asyncio.gather(*over_grpc, asyncio.gather(*over_rest))
    assert {answer.status for answer in answers} == {200}
    assert len({reservation.name for reservation in made} | {answer.body["name"] for answer in answers}) == 1
    assert (await replicas[1].item(sale, "sneaker")).held == 2
    await replicas[2].check_ledger(sale)


async def test_30_concurrent_holds_of_a_customer_with_limit_4_give_4(replicas):
    sale = await replicas[0].open_sale(limit=4, sneaker=50)
    answers = await asyncio.gather(*(outcome(replicas[n % 3].reserve(sale, "c-1", sneaker=1)) for n in range(30)))
    refusals = [answer for answer in answers if isinstance(answer, Refused)]
    assert len(answers) - len(refusals) == 4
    assert {refusal.reason for refusal in refusals} == {"CUSTOMER_LIMIT_REACHED"}
    assert (await replicas[1].item(sale, "sneaker")).held == 4
    await replicas[2].check_ledger(sale)


async def test_200_buyers_of_200_single_items_all_succeed(replicas, rest):
    items = {f"item-{n}": 1 for n in range(200)}
    sale = await replicas[0].open_sale(**items)
    over_grpc = [replicas[n % 3].reserve(sale, f"c-{n}", **{f"item-{n}": 1}) for n in range(100)]
    over_rest = [rest.reserve(sale, f"c-{n}", **{f"item-{n}": 1}) for n in range(100, 200)]
    *_, answers = await asyncio.gather(*over_grpc, asyncio.gather(*over_rest))
    assert {answer.status for answer in answers} == {200}
    await replicas[2].check_ledger(sale)


async def test_a_unit_that_is_given_back_is_sold_at_another_replica(replicas):
    """Sold out may be remembered for 200 ms only: a buyer who tries again gets the units that became available."""
    sale = await replicas[0].open_sale(sneaker=1)
    held = await replicas[0].reserve(sale, "c-1", sneaker=1)
    assert (await outcome(replicas[1].reserve(sale, "c-2", sneaker=1))).reason == "INSUFFICIENT_STOCK"
    release = rs.ReleaseReservationRequest(name=held.name)
    await replicas[0].reservations.ReleaseReservation(release, timeout=30)
    async with asyncio.timeout(5):
        while isinstance(await outcome(replicas[1].reserve(sale, "c-2", sneaker=1)), Refused):
            pass
    await replicas[2].check_ledger(sale)
