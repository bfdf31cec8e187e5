"""Credentials are exchanged while calls go on, and none fails; what was taken out is refused."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from holdfast_chassis.identity.api_keys import new_key, parse_keys, render_keys
from tests.support.eventually import eventually
from tests.support.issuer import SigningKey, jwks
from tests.support.sound_requests import METHODS, sound_request

TRANSPORTS = ["grpc", "rest"]


@pytest.fixture
def load(caller, stock):
    """Call a method again and again over both transports, with the newest credential; no call may be refused."""

    @asynccontextmanager
    async def run(newest):
        made, ending = [], asyncio.Event()

        async def calls(transport):
            while not ending.is_set():
                request = sound_request("ListReservations", *stock)
                answer = await caller.call(transport, METHODS["ListReservations"], request, newest[-1])
                made.append(answer.reason)

        async with asyncio.TaskGroup() as tasks:
            for transport in TRANSPORTS * 2:
                tasks.create_task(calls(transport))
            try:
                yield made
            finally:
                ending.set()
        assert set(made) == {"OK"}

    return run


@pytest.fixture
def reason_of(caller, stock):
    async def ask(transport, authorization):
        request = sound_request("ListReservations", *stock)
        return (await caller.call(transport, METHODS["ListReservations"], request, authorization)).reason

    return ask


async def everywhere(reason_of, authorization, expected):
    """Wait until all services have seen a change."""

    async def is_so():
        return {await reason_of(transport, authorization) for transport in TRANSPORTS} == {expected}

    await eventually(is_so)


async def some_calls(made):
    """Wait until more calls have ended than were under way, so that all use what is newest now."""
    seen = len(made)
    await eventually(lambda: len(made) > seen + 4 * len(TRANSPORTS))


async def test_the_issuers_key_is_rotated(guarded, load, reason_of):
    old, new = SigningKey("r-1"), SigningKey("r-2", "EdDSA")
    guarded.jwks_file.write_text(jwks(guarded.key, old))
    former = f"Bearer {old.token()}"
    await everywhere(reason_of, former, "OK")
    newest = [former]
    async with load(newest) as made:
        await some_calls(made)
        guarded.jwks_file.write_text(jwks(guarded.key, old, new))
        latter = f"Bearer {new.token()}"
        await everywhere(reason_of, latter, "OK")
        newest.append(latter)
        await some_calls(made)
        guarded.jwks_file.write_text(jwks(guarded.key, new))
        await everywhere(reason_of, former, "UNAUTHENTICATED")
        await some_calls(made)


async def test_an_api_key_is_rotated(guarded, load, reason_of):
    keys = list(parse_keys(guarded.key_file.read_bytes()).values())
    (old, kept), (new, replacing) = (new_key("rotated", ["reservations.write"], None) for _ in range(2))
    guarded.key_file.write_text(render_keys([*keys, kept]))
    await everywhere(reason_of, f"Bearer {old}", "OK")
    newest = [f"Bearer {old}"]
    async with load(newest) as made:
        await some_calls(made)
        guarded.key_file.write_text(render_keys([*keys, kept, replacing]))
        await everywhere(reason_of, f"Bearer {new}", "OK")
        newest.append(f"Bearer {new}")
        await some_calls(made)
        guarded.key_file.write_text(render_keys([*keys, replacing]))
        await everywhere(reason_of, f"Bearer {old}", "UNAUTHENTICATED")
        await some_calls(made)
