"""Senders of several replicas, a real ledger, and a real receiver."""

import asyncio
from base64 import b64encode
from contextlib import AsyncExitStack
from datetime import timedelta
from ipaddress import ip_network

import pytest
from aiohttp import web

from holdfast_inventory.api.messages import webhook_body
from holdfast_inventory.background.webhook_client import ClientLimits, WebhookClient
from holdfast_inventory.background.webhooks import SenderLimits, WebhookSender
from holdfast_inventory.domain.movement import MovementKind
from holdfast_inventory.domain.webhook import Concurrency, DeliveryState, RetryRules, Target
from holdfast_inventory.postgres.webhook_store import WebhookStore
from lab.kit.replica import UNMEASURED
from tests.integration.inventory.conftest import SALE
from tests.support.eventually import eventually
from tests.support.webhook_receiver import receiving

LOOPBACK = (ip_network("127.0.0.0/8"),)
QUICK = RetryRules(first=timedelta(milliseconds=20), longest=timedelta(milliseconds=100))
LEASE = timedelta(seconds=3)


@pytest.fixture
async def receiver():
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def start_sender():
    """Start a sender at a replica."""
    async with AsyncExitStack() as stack:

        async def start(replica, *, networks=LOOPBACK, timeout_seconds=2.0, retries=QUICK, **limits):
            sender = WebhookSender(
                WebhookStore(replica.database),
                replica.catalog.list_movements,
                WebhookClient(ClientLimits(timeout_seconds, allowed_networks=networks)),
                webhook_body,
                UNMEASURED,
                SenderLimits(**{"interval_seconds": 0.1, "lease": LEASE, "retries": retries} | limits),
            )
            replica.listeners.append(sender.on_committed)
            await sender.start()
            stack.push_async_callback(sender.stop)
            return sender

        yield start


@pytest.fixture
def store(replica):
    return WebhookStore(replica.database)


@pytest.fixture
def follow(store, receiver):
    """Create a webhook that sends to the receiver."""

    async def follow(webhook_id="w", url=None, **target):
        created = await store.create_webhook(webhook_id, Target(url or receiver.url, **target))
        receiver.secrets = [f"whsec_{b64encode(created.secret).decode()}"]
        return created

    return follow


async def delivery(store, sale_id=SALE, webhook_id="w"):
    found, _ = await store.list_deliveries(webhook_id, 100, None, failing=False)
    return next((each for each in found if each.sale_id == sale_id), None)


async def settled(store, position, sale_id=SALE, webhook_id="w"):
    """Wait until a delivery has reached a position."""

    async def reached():
        known = await delivery(store, sale_id, webhook_id)
        return known is not None and known.position >= position and known.state is DeliveryState.DELIVERED

    await eventually(reached)


async def test_movements_arrive_in_order_and_signed(replica, start_sender, receiver, follow, store):
    await start_sender(replica)
    await follow()
    await replica.put_up(cap=5)
    held = await replica.hold("cap")
    await replica.confirm(held)
    await receiver.until(lambda receiver: receiver.sequences() == [1, 2, 3])
    last = receiver.received[-1]
    assert last.body["type"] == "sale.movements"
    assert last.body["data"]["movements"][-1]["reservation"] == f"sales/{SALE}/reservations/{held}"
    assert last.body["data"]["movements"][-1]["kind"] == "CONFIRM"
    assert last.body["data"]["sequence"] == "3"
    await settled(store, 3)


async def test_a_webhook_begins_with_what_is_made_after_its_creation(replica, start_sender, receiver, follow, store):
    await replica.put_up(cap=500)
    for _ in range(9):
        await replica.hold("cap")
    await follow()
    await replica.hold("cap")
    await replica.hold("cap")
    await start_sender(replica)
    await receiver.until(lambda receiver: receiver.sequences() == [11, 12])
    assert receiver.received[0].body["data"]["afterSequence"] == "10"
    await settled(store, 12)


async def test_what_a_killed_process_did_not_mark_is_found(replica, start_sender, receiver, follow):
    await follow()
    await replica.put_up(cap=5)
    await replica.put_up("drop-2", cap=5)
    replica.listeners.clear()
    await start_sender(replica)
    await receiver.until(lambda receiver: receiver.sequences("sales/drop-2") == receiver.sequences() == [1])


async def test_only_the_kinds_the_sale_and_the_schedule_of_a_webhook_are_sent(
    replica, start_sender, receiver, follow, store
):
    await start_sender(replica)
    await follow("kinds", f"{receiver.url}/kinds", kinds=frozenset({MovementKind.CONFIRM}), sale_id=SALE)
    await follow("schedule", f"{receiver.url}/schedule", schedule_id="hourly")
    receiver.secrets = []
    await replica.put_up(cap=5)
    await replica.put_up("drop-2", cap=5)
    await replica.confirm(await replica.hold("cap"))
    await receiver.until_count(1)
    await settled(store, 3, webhook_id="kinds")
    assert [(message.sale, message.sequences) for message in receiver.received] == [(f"sales/{SALE}", [3])]
    assert receiver.received[0].body["data"]["afterSequence"] == "0"


async def test_a_message_that_fails_is_repeated_with_its_id_and_content_before_later_ones(
    replica, start_sender, receiver, follow, store
):
    await start_sender(replica)
    await follow()
    receiver.answers = [web.Response(status=500), web.Response(status=503), web.Response(status=404)]
    await replica.put_up(cap=5)
    await receiver.until_count(1)
    for _ in range(5):
        await replica.hold("cap")
    await settled(store, 6)
    first, *repeated = receiver.received[:4]
    assert [(message.id, message.raw) for message in repeated] == [(first.id, first.raw)] * 3
    assert receiver.distinct() == [1, 2, 3, 4, 5, 6]
    assert receiver.sequences()[4:] == [2, 3, 4, 5, 6]


async def test_a_backlog_is_sent_in_messages_of_a_hundred_movements(replica, start_sender, receiver, follow, store):
    await follow()
    await replica.put_up(**{f"item-{number}": 1 for number in range(250)})
    await start_sender(replica)
    await settled(store, 250)
    assert [len(message.sequences) for message in receiver.received] == [100, 100, 50]
    assert receiver.sequences() == list(range(1, 251))


async def test_a_delivery_is_parked_when_its_time_is_over_and_continues_when_it_is_redelivered(
    replica, start_sender, receiver, follow, store
):
    sender = await start_sender(replica, retries=RetryRules(QUICK.first, QUICK.longest, timedelta(milliseconds=50)))
    await follow()
    receiver.answers = [failing] * 100
    await replica.put_up(cap=5)

    async def parked():
        known = await delivery(store)
        return known is not None and known.state is DeliveryState.PARKED

    await eventually(parked)
    assert (await delivery(store)).failure == "HTTP 500 Internal Server Error"
    await replica.hold("cap")
    await replica.put_up("drop-2", cap=5)
    receiver.answers = []
    await receiver.until(lambda receiver: receiver.sequences("sales/drop-2") == [1])
    assert (await delivery(store)).state is DeliveryState.PARKED
    await store.redeliver("w", SALE, None)
    sender.wake()
    await settled(store, 2)
    assert receiver.distinct() == [1, 2]


async def test_movements_are_sent_again_or_left_out_on_request(replica, start_sender, receiver, follow, store):
    sender = await start_sender(replica)
    await follow()
    await replica.put_up(cap=5)
    await replica.hold("cap")
    await settled(store, 2)
    receiver.received.clear()
    await store.redeliver("w", SALE, 0)
    sender.wake()
    await receiver.until(lambda receiver: receiver.sequences() == [1, 2])
    await settled(store, 2)
    await store.set_webhook_paused("w", paused=True)
    await replica.hold("cap")
    await replica.hold("cap")
    await store.redeliver("w", SALE, 3)
    await store.set_webhook_paused("w", paused=False)
    sender.wake()
    await settled(store, 4)
    assert receiver.sequences() == [1, 2, 4]


async def test_a_paused_webhook_sends_nothing_and_then_everything(replica, start_sender, receiver, follow, store):
    sender = await start_sender(replica)
    await follow()
    await store.set_webhook_paused("w", paused=True)
    await follow("other", f"{receiver.url}/other")
    receiver.secrets = []
    await replica.put_up(cap=5)
    await settled(store, 1, webhook_id="other")
    assert len(receiver.received) == 1
    await store.set_webhook_paused("w", paused=False)
    sender.wake()
    await settled(store, 1)
    assert receiver.sequences() == [1, 1]


async def test_both_secrets_sign_during_a_rotation(replica, start_sender, receiver, follow, store):
    await start_sender(replica)
    created = await follow()
    rotated = await store.rotate_secret("w", timedelta(hours=1))
    receiver.secrets = [f"whsec_{b64encode(known.secret).decode()}" for known in (created, rotated)]
    await replica.put_up(cap=5)
    await settled(store, 1)
    assert receiver.sequences() == [1]


async def failing(_):
    return web.Response(status=500)


async def hang(_):
    await asyncio.Event().wait()


async def test_a_receiver_that_hangs_delays_no_other(replica, start_sender, receiver, follow, store):
    limits = Concurrency(per_webhook=4, failing=1, total=2)
    await start_sender(replica, timeout_seconds=60.0, lease=timedelta(seconds=90), concurrency=limits)
    async with receiving() as slow:
        slow.answers = [hang] * 100
        for number in range(2):
            await follow(f"slow-{number}", slow.url)
        slow.secrets = []
        await follow()
        for number in range(20):
            await replica.put_up(f"drop-{number}", cap=5)
        for number in range(20):
            await settled(store, 1, f"drop-{number}")
        await slow.until_count(2)
        assert len(slow.received) <= 8


async def test_an_answer_that_is_too_late_counts_as_none(replica, start_sender, receiver, follow, store):
    await start_sender(replica, timeout_seconds=0.2)
    await follow()
    receiver.answers = [hang]
    await replica.put_up(cap=5)
    await settled(store, 1)
    assert receiver.sequences() == [1, 1]


async def test_two_senders_keep_the_order(start_replica, start_sender, receiver, follow, store, replica):
    other = await start_replica()
    await start_sender(replica)
    await start_sender(other)
    await follow()
    await replica.put_up(cap=1_000)
    for _ in range(15):
        await asyncio.gather(replica.hold("cap"), other.hold("cap"))
    await settled(store, 31)
    assert receiver.sequences() == list(range(1, 32))


async def test_a_sender_that_vanishes_is_replaced_when_its_lease_ends(
    start_replica, start_sender, receiver, follow, store, replica
):
    sender = await start_sender(replica, lease=timedelta(seconds=1), timeout_seconds=60.0)
    await follow()
    receiver.answers = [hang]
    await replica.put_up(cap=5)
    await receiver.until_count(1)
    for task in sender._tasks:
        task.cancel()
    await replica.hold("cap")
    await settled(store, 2)
    assert receiver.received[1].id == receiver.received[0].id
    assert receiver.distinct() == [1, 2]


async def test_a_sender_that_was_suspended_beyond_its_lease_changes_nothing(
    start_replica, start_sender, receiver, follow, store, replica, sql
):
    await start_sender(replica, timeout_seconds=60.0, lease=timedelta(seconds=60))
    await follow()
    go_on = asyncio.Event()

    async def late(_):
        await go_on.wait()
        return web.Response(status=204)

    receiver.answers = [late]
    await replica.put_up(cap=5)
    await receiver.until_count(1)
    # Another replica takes over while the answer is on its way, and sends everything.
    await sql.execute("UPDATE webhook_deliveries SET due_at = now(), lease = NULL")
    await replica.hold("cap")
    await settled(store, 2)
    go_on.set()
    await replica.hold("cap")
    await settled(store, 3)
    assert receiver.distinct() == [1, 2, 3]


async def test_a_sale_that_is_deleted_is_forgotten(replica, start_sender, receiver, follow, store, sql):
    await follow()
    await replica.put_up(cap=5)
    await store.redeliver("w", SALE, 0)
    for table in ("ledger", "items", "sales"):
        await sql.execute(f"DELETE FROM {table}")
    await start_sender(replica)

    async def forgotten():
        return await delivery(store) is None

    await eventually(forgotten)
    assert receiver.received == []


async def test_a_sale_that_is_not_followed_any_more_rests(replica, start_sender, receiver, follow, store):
    await follow()
    await replica.put_up(cap=5)
    await store.redeliver("w", SALE, 0)
    await store.update_webhook("w", lambda target: Target(target.url, sale_id="other"))
    await start_sender(replica)

    async def rests():
        return (await delivery(store)).state is DeliveryState.DELIVERED

    await eventually(rests)
    assert (await delivery(store)).position == 0
    assert receiver.received == []
