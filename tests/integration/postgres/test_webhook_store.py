"""Webhooks and their positions, on real servers."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast_inventory.domain.change import Cause
from holdfast_inventory.domain.errors import AlreadyExists, InvalidRequest, NotFound, WebhookLimitReached
from holdfast_inventory.domain.movement import MovementKind
from holdfast_inventory.domain.webhook import SECRET_BYTES, DeliveryState, Target
from holdfast_inventory.postgres import webhook_store
from holdfast_inventory.postgres.webhook_store import WebhookStore
from tests.support.postgres import on_every_version
from tests.support.shopping import new_sale

pytestmark = on_every_version

TARGET = Target("https://shop.example/holdfast", frozenset({MovementKind.CONFIRM}), "drop-1")
DAY = timedelta(days=1)


@pytest.fixture
def store(database):
    return WebhookStore(database)


async def test_a_webhook_is_read_as_it_was_created(store):
    created = await store.create_webhook("w", TARGET)
    assert created.target == TARGET
    assert not created.paused
    assert len(created.secret) == SECRET_BYTES
    assert await store.get_webhook("w") == created
    assert await store.list_webhooks(10, None) == ([created], None)


async def test_webhooks_are_listed_in_pages_by_id(store):
    for webhook_id in ("b", "a", "c"):
        await store.create_webhook(webhook_id, TARGET)
    first, after = await store.list_webhooks(2, None)
    rest, end = await store.list_webhooks(2, after)
    assert [known.webhook_id for known in first + rest] == ["a", "b", "c"]
    assert end is None


async def test_an_id_is_used_once(store):
    await store.create_webhook("w", TARGET)
    with pytest.raises(AlreadyExists):
        await store.create_webhook("w", TARGET)


async def test_there_are_no_more_webhooks_than_the_limit(store, monkeypatch):
    monkeypatch.setattr(webhook_store, "MAX_WEBHOOKS", 1)
    await store.create_webhook("w", TARGET)
    with pytest.raises(WebhookLimitReached):
        await store.create_webhook("x", TARGET)
    await store.delete_webhook("w")
    await store.create_webhook("x", TARGET)


async def test_what_does_not_exist_is_not_found(store):
    for attempt in (
        store.get_webhook("w"),
        store.delete_webhook("w"),
        store.rotate_secret("w", DAY),
        store.set_webhook_paused("w", paused=True),
        store.update_webhook("w", lambda target: target),
        store.list_deliveries("w", 10, None, failing=False),
        store.redeliver("w", "drop-1", 0),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_changes_at_the_same_time_are_all_kept(store):
    await store.create_webhook("w", TARGET)
    await asyncio.gather(
        store.update_webhook("w", lambda target: replace(target, url="https://other.example/")),
        store.update_webhook("w", lambda target: replace(target, kinds=frozenset())),
        store.set_webhook_paused("w", paused=True),
    )
    changed = await store.get_webhook("w")
    assert changed.target == Target("https://other.example/", frozenset(), "drop-1")
    assert changed.paused


async def test_two_secrets_are_valid_during_a_rotation(store):
    old = (await store.create_webhook("w", TARGET)).secret
    rotated = await store.rotate_secret("w", DAY)
    assert rotated.secret != old
    assert rotated.secrets_at(rotated.updated_at) == (rotated.secret, old)
    assert rotated.secrets_at(rotated.updated_at + DAY) == (rotated.secret,)


async def test_a_rotation_that_is_repeated_because_its_answer_was_lost_keeps_the_secret_that_receivers_have(store):
    known = (await store.create_webhook("w", TARGET)).secret
    await store.rotate_secret("w", DAY)
    rotated = await store.rotate_secret("w", DAY)
    assert rotated.secrets_at(rotated.updated_at) == (rotated.secret, known)


async def test_a_rotation_without_overlap_ends_all_earlier_secrets(store):
    await store.create_webhook("w", TARGET)
    await store.rotate_secret("w", DAY)
    rotated = await store.rotate_secret("w", timedelta(0))
    assert rotated.secrets_at(rotated.updated_at) == (rotated.secret,)


async def test_a_delivery_begins_where_it_is_told_to(store, catalog):
    await store.create_webhook("w", TARGET)
    await catalog.create_sale(new_sale("drop-1", a=5, b=5))
    with pytest.raises(NotFound):
        await store.redeliver("w", "drop-1", None)
    begun = await store.redeliver("w", "drop-1", 1)
    assert (begun.position, begun.state) == (1, DeliveryState.PENDING)
    assert await store.list_deliveries("w", 10, None, failing=False) == ([begun], None)
    assert await store.list_deliveries("w", 10, None, failing=True) == ([], None)


async def test_a_delivery_does_not_begin_after_what_the_sale_has_reached(store, catalog):
    await store.create_webhook("w", TARGET)
    await catalog.create_sale(new_sale("drop-1", a=5))
    with pytest.raises(InvalidRequest, match="after_sequence: must be at most the sale's sequence, 1"):
        await store.redeliver("w", "drop-1", 2)
    with pytest.raises(NotFound):
        await store.redeliver("w", "nothing", 0)


async def test_a_parked_delivery_is_listed_as_failing_until_it_is_redelivered(store, catalog, sql):
    await store.create_webhook("w", TARGET)
    await catalog.create_sale(new_sale("drop-1", a=5))
    await store.redeliver("w", "drop-1", 0)
    await sql.execute(
        "UPDATE webhook_deliveries SET attempts = 9, failure = '500', failing_since = now() - interval '1 day', "
        "parked_at = now(), due_at = NULL, through = 1"
    )
    [parked], _ = await store.list_deliveries("w", 10, None, failing=True)
    assert (parked.state, parked.failure, parked.through) == (DeliveryState.PARKED, "500", 1)
    again = await store.redeliver("w", "drop-1", None)
    assert (again.state, again.attempts, again.through) == (DeliveryState.PENDING, 0, 1)


async def test_resuming_makes_what_waits_for_a_retry_due_and_leaves_what_is_parked(store, catalog, sql):
    await store.create_webhook("w", TARGET)
    for sale_id in ("waits", "parked"):
        await catalog.create_sale(new_sale(sale_id, a=5))
        await store.redeliver("w", sale_id, 0)
    await sql.execute("UPDATE webhook_deliveries SET attempts = 1, failing_since = now(), due_at = now() + '1 hour'")
    await sql.execute("UPDATE webhook_deliveries SET parked_at = now(), due_at = NULL WHERE sale_id = 'parked'")
    await store.set_webhook_paused("w", paused=False)
    rows = await sql.fetch("SELECT sale_id, due_at <= now() AS due FROM webhook_deliveries")
    assert {row["sale_id"]: row["due"] for row in rows} == {"waits": True, "parked": None}


async def test_a_deleted_webhook_leaves_no_position_behind(store, catalog, sql):
    await store.create_webhook("w", TARGET)
    await catalog.create_sale(new_sale("drop-1", a=5))
    await store.redeliver("w", "drop-1", 0)
    await store.delete_webhook("w")
    assert await sql.fetchval("SELECT count(*) FROM webhook_deliveries") == 0


async def test_every_change_is_on_record_with_who_made_it_but_without_secrets(store):
    staff = Cause("keys/staff", "r-1")
    await store.create_webhook("w", TARGET, staff)
    await store.update_webhook("w", lambda target: replace(target, url="https://other.example/"), staff)
    for paused in (True, True, False):
        await store.set_webhook_paused("w", paused=paused, cause=staff)
    await store.rotate_secret("w", DAY, staff)
    await store.delete_webhook("w", staff)
    changes = await store.list_webhook_changes("w", 0, 10)
    assert [change.kind.name for change in changes] == ["CREATE", "UPDATE", "PAUSE", "RESUME", "UPDATE", "DELETE"]
    assert {change.cause for change in changes} == {staff}
    assert changes[0].fields[0] == ("url", "", TARGET.url)
    assert changes[1].fields == (("url", TARGET.url, "https://other.example/"),)
    assert changes[4].fields == (("secret", "", ""),)
    with pytest.raises(NotFound):
        await store.list_webhook_changes("x", 0, 10)
