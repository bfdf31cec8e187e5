"""The rate of one caller, counted in a Valkey by several gateways, and without it."""

import asyncio
import signal
from collections import Counter

import pytest
from redis.asyncio import Redis

from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("cut_off_connections_are_collected")
RESERVATIONS = "/v1/sales/s/reservations"
HOUR = 3600


def hold(customer="c"):
    return {"customer": customer, "lines": [{"item": "shoe", "quantity": 1}]}


async def answers(gateways, count, **request):
    """Return the statuses of concurrent requests, each to the next gateway."""

    async def status(number):
        status, _, _ = await gateways[number % len(gateways)].send("POST", RESERVATIONS, **request)
        return status

    return Counter(await asyncio.gather(*(status(number) for number in range(count))))


async def test_two_gateways_together_allow_exactly_the_rate(start_gateway, valkey_url):
    rate = {"rate_limit_requests": 25, "rate_limit_window": HOUR, "redis_url": valkey_url}
    gateways = [await start_gateway(**rate) for _ in range(2)]
    assert await answers(gateways, 100, json=hold()) == {200: 25, 429: 75}


async def test_a_refusal_and_an_answer_tell_what_is_left(start_gateway, valkey_url):
    gateway = await start_gateway(rate_limit_requests=2, rate_limit_window=HOUR, redis_url=valkey_url)
    _, _, headers = await gateway.send("POST", RESERVATIONS, json=hold())
    assert headers["RateLimit-Policy"] == '"default";q=2;w=3600'
    assert headers["RateLimit"] == '"default";r=1;t=1800'
    await answers([gateway], 1, json=hold())
    status, problem, headers = await gateway.send("POST", RESERVATIONS, json=hold())
    assert (status, problem["reason"], problem["retryable"]) == (429, "RATE_LIMITED", True)
    assert headers["RateLimit"].startswith('"default";r=0;t=')
    assert 0 < int(headers["Retry-After"]) <= HOUR // 2 + 4


async def test_what_ends_a_purchase_is_not_limited_by_what_begins_one(start_gateway, valkey_url):
    gateway = await start_gateway(rate_limit_requests=1, rate_limit_window=HOUR, redis_url=valkey_url)
    assert await answers([gateway], 2, json=hold()) == {200: 1, 429: 1}
    status, _, _ = await gateway.send("POST", f"{RESERVATIONS}/r-0:confirm", json={})
    assert status == 200


async def test_callers_behind_a_trusted_proxy_are_told_apart_by_their_addresses(start_gateway, valkey_url):
    gateway = await start_gateway(rate_limit_requests=1, rate_limit_window=HOUR, redis_url=valkey_url, trusted_hops=1)
    for number in range(3):
        seen = {"X-Forwarded-For": f"192.0.2.1, 198.51.100.{number}"}
        assert await answers([gateway], 1, json=hold(f"c-{number}"), headers=seen) == {200: 1}
    spoofed = {"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}
    assert await answers([gateway], 1, json=hold("c-new"), headers=spoofed) == {429: 1}


@pytest.mark.parametrize("harm", ["killed", "frozen"])
async def test_without_valkey_each_of_two_gateways_gives_half(start_gateway, own_valkey, harm):
    rate = {"rate_limit_requests": 20, "rate_limit_window": HOUR, "redis_url": own_valkey.url}
    gateways = [await start_gateway(**rate) for _ in range(2)]
    # Each gateway learns that there are two.
    for _ in range(2):
        for gateway in gateways:
            await answers([gateway], 1, json=hold("before"))
    if harm == "killed":
        own_valkey.kill()
    else:
        own_valkey.child.send_signal(signal.SIGSTOP)
    for gateway in gateways:
        assert await answers([gateway], 30, json=hold("after")) == {200: 10, 429: 20}


async def test_a_valkey_that_comes_back_is_used_again(start_gateway, own_valkey):
    gateway = await start_gateway(rate_limit_requests=3, rate_limit_window=HOUR, redis_url=own_valkey.url)
    own_valkey.kill()
    assert await answers([gateway], 5, json=hold()) == {200: 3, 429: 2}
    own_valkey.start()

    async def is_let_in():
        return await answers([gateway], 1, json=hold()) == {200: 1}

    await eventually(is_let_in)
    assert await answers([gateway], 5, json=hold()) == {200: 2, 429: 3}


async def test_by_default_there_is_no_limit(start_gateway):
    gateway = await start_gateway()
    _, _, headers = await gateway.send("POST", RESERVATIONS, json=hold())
    assert "RateLimit" not in headers
    assert await answers([gateway], 150, json=hold()) == {200: 150}


async def test_the_user_of_a_gateway_needs_the_keys_of_the_rates_and_nine_commands(start_gateway, own_valkey):
    commands = ["evalsha", "script|load", "time", "zadd", "zremrangebyscore", "zcard", "pexpire", "get", "set"]
    rules = ["reset", "on", ">secret", "~holdfast:rate:*", *(f"+{command}" for command in commands)]
    async with Redis.from_url(own_valkey.url) as admin:
        await admin.execute_command("ACL", "SETUSER", "gateway", *rules)
    rate = {"rate_limit_requests": 4, "rate_limit_window": HOUR}
    url = f"redis://gateway:secret@{own_valkey.address}/0"
    gateways = [await start_gateway(redis_url=url, **rate) for _ in range(2)]
    # Each one alone would have allowed four.
    assert await answers(gateways, 12, json=hold()) == {200: 4, 429: 8}
