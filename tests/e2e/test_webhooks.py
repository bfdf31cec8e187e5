"""Webhooks of the real processes: killed, restarted, and received as the documentation says."""

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.webhook_receiver import receiving

EXAMPLE = Path(__file__).parents[2] / "docs/examples/webhook_receiver.py"
SENDS = {"webhooks": True, "webhook_allow_http": True, "webhook_allowed_networks": "127.0.0.0/8"}
QUICK = SENDS | {"webhook_timeout_seconds": 1}


@pytest.fixture
async def receiver():
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def stage(start_inventory, start_gateway, database_url, rest_client):
    """Start a gateway before inventories on a database of their own, of which one may be harmed."""

    async def start(inventories, **settings):
        first = await start_inventory(database_url, migrate_on_start=True, **settings).is_serving()
        others = [start_inventory(database_url, **settings) for _ in range(inventories - 1)]
        running = [first, *[await each.is_serving() for each in others]]
        gateway = await start_gateway(*running).is_serving()
        return running, rest_client(gateway.url)

    return start


async def follow(rest, url):
    created = await rest.post("/v1/webhooks?webhook_id=shop", {"url": url})
    assert created.status == 200, created
    return created.body["secret"]


@contextmanager
def running_example(port, secret):
    program = subprocess.Popen(
        [sys.executable, str(EXAMPLE), str(port)],
        env={"WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


async def open_sale(rest):
    opened = await rest.post("/v1/sales?sale_id=drop-1", {"items": [{"item": "cap", "onHand": 100_000}]})
    assert opened.status == 200, opened


async def buy(rest, until):
    """Keep some customers reserving until `until` is set."""

    async def shopper(number):
        while not until.is_set():
            await rest.reserve("sales/drop-1", f"c-{number}", cap=1)

    await asyncio.gather(*map(shopper, range(8)))


async def last_sequence(rest):
    return int((await rest.get("/v1/sales/drop-1")).body["sequence"])


def in_a_chain(received):
    """Return whether every message but repetitions begins where the one before it ended."""
    reached = 0
    for message in received:
        after, through = (int(message.body["data"][name]) for name in ("afterSequence", "sequence"))
        if through > reached:
            if after != reached:
                return False
            reached = through
    return True


async def test_the_receiver_of_the_documentation_gets_each_movement_once(stage, free_port):
    _, rest = await stage(1, **SENDS)
    port = free_port()
    secret = await follow(rest, f"http://127.0.0.1:{port}/")
    with running_example(port, secret) as program:
        await open_sale(rest)
        held = await rest.reserve("sales/drop-1", "c-1", cap=1)
        await rest.post(f"/v1/{held.body['name']}:confirm", {})
        lines = [await asyncio.to_thread(program.stdout.readline) for _ in range(3)]
    assert [line.split() for line in lines] == [
        ["sales/drop-1", "1", "ADJUST", "cap"],
        ["sales/drop-1", "2", "HOLD", "cap"],
        ["sales/drop-1", "3", "CONFIRM", "cap"],
    ]


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_no_movement_is_lost_or_out_of_order_when_senders_end_in_mid_load(stage, receiver, end):
    running, rest = await stage(2, **QUICK)
    receiver.secrets = [await follow(rest, receiver.url)]
    await open_sale(rest)
    stop = asyncio.Event()
    buying = asyncio.ensure_future(buy(rest, stop))
    await receiver.until_count(5)
    getattr(running[0], end)()
    await receiver.until_count(len(receiver.received) + 5)
    stop.set()
    await buying

    sequence = await last_sequence(rest)
    await eventually(lambda: receiver.distinct()[-1:] == [sequence], within=60)
    assert receiver.distinct() == list(range(1, sequence + 1))
    assert in_a_chain(receiver.received)


async def test_a_webhook_is_managed_over_rest(stage, receiver):
    _, rest = await stage(1, **QUICK)
    secret = await follow(rest, receiver.url)
    assert secret.startswith("whsec_")
    shown = await rest.get("/v1/webhooks/shop")
    assert shown.body["secret"] == ""
    changed = await rest.send("PATCH", "/v1/webhooks/shop", json={"kinds": ["HOLD"]})
    assert (changed.status, changed.body["kinds"], changed.body["url"]) == (200, ["HOLD"], receiver.url)
    await open_sale(rest)
    await rest.reserve("sales/drop-1", "c-1", cap=1)
    await receiver.until_count(1)
    assert receiver.received[0].sequences == [2]
    rotated = await rest.post("/v1/webhooks/shop:rotateSecret", {})
    assert rotated.body["secret"] != secret
    assert rotated.body["oldSecretExpireTime"]
    assert (await rest.post("/v1/webhooks/shop:pause", {})).body["paused"] is True
    assert (await rest.post("/v1/webhooks/shop:resume", {})).body["paused"] is False

    async def delivered():
        [known] = (await rest.get("/v1/webhooks/shop/deliveries")).body["webhookDeliveries"]
        return (known["state"], known["deliveredSequence"]) == ("DELIVERED", "2")

    await eventually(delivered)
    again = await rest.post("/v1/webhooks/shop/deliveries/drop-1:redeliver", {"afterSequence": "0"})
    assert again.status == 200
    await receiver.until(lambda receiver: receiver.sequences() == [2, 2])
    assert (await rest.send("DELETE", "/v1/webhooks/shop")).status == 200
    assert (await rest.get("/v1/webhooks/shop")).reason == "NOT_FOUND"
