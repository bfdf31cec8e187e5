"""A gateway that authenticates callers forwards only what they may do, with their identity."""

import pytest

from tests.support.issuer import ISSUER, SigningKey, jwks

KEY = SigningKey()
LINES = [{"item": "a", "quantity": 1}]


@pytest.fixture
async def guarded(start_gateway, tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(jwks(KEY))
    return await start_gateway(token_issuer=ISSUER, token_jwks=str(path))


def bearer(**claims):
    return {"Authorization": f"Bearer {KEY.token(**claims)}"}


async def hold(gateway, headers, **fields):
    body = {"lines": LINES} | fields
    return await gateway.send("POST", "/v1/sales/x/reservations", json=body, headers=headers)


async def test_a_command_is_the_buyers_and_carries_its_credential(guarded, inventory):
    headers = bearer(sub="c-7")
    status, _, _ = await hold(guarded, headers)
    [command] = inventory.submits[0].commands
    assert (status, command.create.customer, command.authorization) == (200, "c-7", headers["Authorization"])


async def test_a_call_carries_its_credential(guarded, inventory):
    headers = bearer(scope="sales.read")
    status, _, _ = await guarded.send("GET", "/v1/sales/x", headers=headers)
    assert (status, inventory.metadata[-1]["authorization"]) == (200, headers["Authorization"])


@pytest.mark.parametrize(
    ("claims", "fields", "status"),
    [
        (None, {}, 401),
        ({"exp": 1}, {}, 401),
        ({"scope": "stock.read"}, {}, 403),
        ({"sub": "c-7"}, {"customer": "c-8"}, 403),
    ],
)
async def test_what_is_refused_does_not_reach_the_inventory(guarded, inventory, claims, fields, status):
    # Created here: a token from the collection of the tests may have expired.
    headers = {} if claims is None else bearer(**claims)
    answer = await hold(guarded, headers, **fields)
    assert (answer[0], inventory.submits) == (status, [])


async def test_a_gateway_without_authentication_forwards_the_credential(gateway, inventory):
    await hold(gateway, {"Authorization": "Bearer whatever"}, customer="c-1")
    [command] = inventory.submits[0].commands
    assert command.authorization == "Bearer whatever"
