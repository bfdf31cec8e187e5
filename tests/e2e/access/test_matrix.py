"""Every method over every transport, by every kind of caller. Made from the protos: a new method is in it at once."""

import pytest

from holdfast_chassis.contract import METHODS
from holdfast_chassis.identity.principal import OWN
from tests.e2e.access.conftest import REST, TRANSPORTS
from tests.support.issuer import SigningKey
from tests.support.sound_requests import METHODS as DESCRIPTORS
from tests.support.sound_requests import sound_request

SCOPES = sorted({scope for method in METHODS for scope in method.scopes})
BUYERS = [method for method in METHODS if OWN in method.scopes and method.name != "WatchStock"]
ACCESS = {"UNAUTHENTICATED", "PERMISSION_DENIED", "ISSUER_UNAVAILABLE"}
STRANGER = SigningKey()

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
every_buyers_method = pytest.mark.parametrize("method", BUYERS, ids=lambda method: method.name)
every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture
def send(caller, stock):
    """Send a sound request to a method."""

    async def sent(transport, method, authorization, **changes):
        request = sound_request(method.name, *stock)
        for field, value in changes.items():
            setattr(request, field, value)
        return await caller.call(transport, DESCRIPTORS[method.name], request, authorization)

    return sent


def assert_unauthenticated(answer, transport, error):
    assert answer.reason == "UNAUTHENTICATED"
    assert answer.metadata.get("error") == error
    if transport in REST:
        assert answer.challenge == 'Bearer realm="holdfast"' + (f', error="{error}"' if error else "")


@every_transport
@every_method
async def test_a_call_without_a_credential_is_refused(send, method, transport):
    assert_unauthenticated(await send(transport, method, None), transport, None)


@pytest.mark.parametrize("wrong", ["expired", "audience", "issuer", "key", "unknown key", "text"])
@every_transport
@every_method
async def test_an_invalid_credential_is_refused(send, guarded, method, transport, wrong):
    scope = " ".join(SCOPES)
    STRANGER.kid = guarded.key.kid
    credential = {
        "expired": guarded.key.token(scope, exp=1),
        "audience": guarded.key.token(scope, aud="another"),
        "issuer": guarded.key.token(scope, iss="https://another.example"),
        "key": STRANGER.token(scope),
        "unknown key": f"{guarded.operator_secret[:-8]}00000000",
        "text": "let-me-in",
    }[wrong]
    assert_unauthenticated(await send(transport, method, f"Bearer {credential}"), transport, "invalid_token")


@every_transport
@every_method
async def test_all_other_scopes_together_are_not_enough(send, guarded, method, transport):
    others = " ".join(scope for scope in SCOPES if scope not in method.scopes)
    answer = await send(transport, method, f"Bearer {guarded.key.token(others)}")
    assert answer.reason == "PERMISSION_DENIED"
    assert answer.metadata["scope"].split(" ") == list(method.scopes)
    if transport in REST:
        wanted = " ".join(method.scopes)
        assert answer.challenge == f'Bearer realm="holdfast", error="insufficient_scope", scope="{wanted}"'


@every_transport
@every_method
async def test_any_one_of_its_scopes_is_enough(send, guarded, method, transport):
    actor = {"actor": ""} if "actor" in DESCRIPTORS[method.name].input_type.fields_by_name else {}
    for scope in method.scopes:
        answer = await send(transport, method, guarded.buyer("c-1", scope=scope), **actor)
        assert answer.reason not in ACCESS, (scope, answer)


@every_transport
@every_buyers_method
async def test_a_buyer_asks_for_no_other_customer(send, guarded, method, transport):
    answer = await send(transport, method, guarded.buyer("c-2"), customer="c-1")
    assert (answer.reason, answer.metadata["scope"]) == ("PERMISSION_DENIED", "reservations.write")


@every_transport
@pytest.mark.parametrize("name", ["AdjustStock", "TransferStock"])
async def test_a_caller_writes_no_other_actor_than_itself(send, guarded, name, transport):
    [method] = [method for method in METHODS if method.name == name]
    answer = await send(transport, method, guarded.operator, actor="warehouse")
    assert answer.reason == "PERMISSION_DENIED"
