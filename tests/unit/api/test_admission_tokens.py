"""Admission tokens: which one admits whom to which sale."""

from datetime import timedelta

import pytest

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_inventory.api.admission_tokens import AdmissionTokens
from holdfast_inventory.domain.commands import Admission
from holdfast_inventory.domain.errors import AdmissionRequired
from holdfast_inventory.settings import InventorySettings
from tests.support.issuer import SigningKey, admission_token, jwks, unsigned

DATABASE = {"database_url": "postgresql://nobody@127.0.0.1/nothing"}


class Ahead:
    """A clock that can be put forward."""

    def __init__(self):
        self.seconds = 0.0
        self.monotonic = SYSTEM_CLOCK.monotonic

    def now(self):
        return SYSTEM_CLOCK.now() + timedelta(seconds=self.seconds)


@pytest.fixture
def clock():
    return Ahead()


@pytest.fixture
def key():
    return SigningKey()


@pytest.fixture
def jwks_path(tmp_path, key):
    path = tmp_path / "admission.json"
    path.write_text(jwks(key))
    return path


@pytest.fixture
async def tokens(jwks_path, clock):
    tokens = AdmissionTokens(InventorySettings(admission_jwks=str(jwks_path), **DATABASE), clock)
    await tokens.start()
    yield tokens
    await tokens.stop()


async def refused(tokens, token, sale_id="drop-1", customer="c-1"):
    with pytest.raises(AdmissionRequired) as refusal:
        await tokens.admission(token, sale_id, customer)
    return str(refusal.value)


async def test_a_token_admits_its_customer_to_its_sale(tokens, key):
    assert await tokens.admission(admission_token(key), "drop-1", "c-1") is Admission.VALID
    assert await tokens.admission(admission_token(key, early=True), "drop-1", "c-1") is Admission.EARLY
    assert await tokens.admission("", "drop-1", "c-1") is Admission.NONE


async def test_a_token_admits_nobody_else_and_nowhere_else_also_when_it_is_remembered(tokens, key):
    token = admission_token(key)
    for _ in range(2):
        assert "for another sale or another customer" in await refused(tokens, token, customer="c-2")
        assert "for another sale or another customer" in await refused(tokens, token, sale_id="drop-2")
        assert await tokens.admission(token, "drop-1", "c-1") is Admission.VALID


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "holdfast"},
        {"aud": None},
        {"sub": None},
        {"sub": 7},
        {"sale": None},
        {"sale": ["sales/drop-1"]},
        {"sale": "drop-1"},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": 2**40},
        {"exp": 2**40},
        {"exp": float("inf")},
        {"exp": float("nan")},
    ],
    ids=str,
)
async def test_a_token_with_a_wrong_claim_admits_nobody(tokens, key, claims):
    await refused(tokens, admission_token(key, **claims))


@pytest.mark.parametrize("early", ["true", 1, [True], None])
async def test_only_true_is_early(tokens, key, early):
    assert await tokens.admission(admission_token(key, early=early), "drop-1", "c-1") is Admission.VALID


async def test_another_key_no_signature_and_no_token_at_all_admit_nobody(tokens, key):
    forged = admission_token(SigningKey())
    header = {"alg": "none", "kid": key.kid}
    for token in (forged, unsigned(header, {"sub": "c-1", "sale": "sales/drop-1"}), "x", key.token(), "a.b.c"):
        assert token not in await refused(tokens, token)


async def test_a_token_that_has_expired_is_no_fault_yet_also_when_it_is_remembered(tokens, key, clock):
    token = admission_token(key)
    assert await tokens.admission(token, "drop-1", "c-1") is Admission.VALID
    clock.seconds = 3600
    assert await tokens.admission(token, "drop-1", "c-1") is Admission.EXPIRED
    assert await tokens.admission(admission_token(key, early=True), "drop-1", "c-1") is Admission.EXPIRED


async def test_a_remembered_token_is_refused_once_its_key_is_gone(tokens, key, jwks_path):
    token = admission_token(key)
    assert await tokens.admission(token, "drop-1", "c-1") is Admission.VALID
    jwks_path.write_text(jwks(SigningKey("k-2")))
    await tokens.stop()
    await tokens.start()
    await refused(tokens, token)


async def test_without_keys_no_token_is_accepted(key):
    tokens = AdmissionTokens(InventorySettings(**DATABASE))
    await tokens.start()
    await refused(tokens, admission_token(key))
    await tokens.stop()


def test_keys_come_over_tls_or_from_this_machine():
    with pytest.raises(ValueError, match="admission_jwks must be a file, or a URL of https"):
        InventorySettings(admission_jwks="http://room.example/jwks", **DATABASE)
