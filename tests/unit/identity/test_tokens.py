"""A token is taken when the issuer has signed it for us, now, with a key and an algorithm of its own; or not at all."""

import json
import time
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_chassis.identity.refusals import Unauthenticated
from tests.support.issuer import AUDIENCE, ISSUER, LIFE_SECONDS, SigningKey, jwks, unsigned


class LaterClock:
    """The machine's clock, moved on."""

    monotonic = staticmethod(SYSTEM_CLOCK.monotonic)
    later = timedelta()

    def now(self):
        return SYSTEM_CLOCK.now() + self.later


async def refusal(authenticator, token):
    with pytest.raises(Unauthenticated) as refused:
        await authenticator.principal_of(f"Bearer {token}")
    assert refused.value.error == "invalid_token"
    return refused.value.detail


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_a_token_of_the_issuers_is_taken(authenticating, jwks_path, algorithm):
    key = SigningKey("k-9", algorithm)
    jwks_path.write_text(jwks(key))
    async with authenticating() as authenticator:
        principal = await authenticator.principal_of(f"Bearer {key.token()}")
    assert (principal.name, principal.customer, principal.scopes) == ("customers/c-1", "c-1", {"reservations.own"})


@pytest.mark.parametrize(
    ("claims", "detail"),
    [
        ({"exp": 1}, "the token has expired"),
        ({"nbf": 2**33}, "the token is not valid yet"),
        ({"aud": "another"}, "the token is for another audience"),
        ({"aud": ["a", "b"]}, "the token is for another audience"),
        ({"iss": "https://evil.example"}, "the token is of another issuer"),
        *(({claim: None}, "the token lacks one of exp, iss, aud, sub") for claim in ("exp", "iss", "aud", "sub")),
        ({"exp": "soon"}, "the token is not valid"),
        ({"exp": float("inf")}, "the token is not valid"),
        ({"sub": 7}, "the token is not valid"),
        ({"sub": "a\nb"}, "the token does not name its customer"),
        ({"sub": "x" * 129}, "the token does not name its customer"),
        ({"sub": "a\nb", "scope": "sales.read"}, "the token's subject is not a valid name"),
    ],
)
async def test_a_token_that_does_not_say_what_it_must_is_refused(authenticator, key, claims, detail):
    assert await refusal(authenticator, key.token(**claims)) == detail


async def test_clocks_may_differ_by_the_leeway_and_no_more(authenticating, key):
    now = int(time.time())
    async with authenticating(token_leeway_seconds=60) as authenticator:
        assert await authenticator.principal_of(f"Bearer {key.token(exp=now - 30)}")
        assert await authenticator.principal_of(f"Bearer {key.token(nbf=now + 30, iat=now + 30)}")
        assert await refusal(authenticator, key.token(exp=now - 90))
        assert await refusal(authenticator, key.token(nbf=now + 90))


async def test_a_token_that_is_remembered_ends_when_it_expires(authenticating, key):
    clock = LaterClock()
    async with authenticating(clock) as authenticator:
        token = key.token()
        assert await authenticator.principal_of(f"Bearer {token}")
        clock.later = timedelta(seconds=LIFE_SECONDS)
        assert await authenticator.principal_of(f"Bearer {token}")
        clock.later = timedelta(seconds=LIFE_SECONDS + 31)
        assert await refusal(authenticator, token) == "the token has expired"


async def test_another_keys_signature_is_refused(authenticator, key):
    assert await refusal(authenticator, SigningKey(key.kid).token()) == "the token is not valid"


async def test_a_token_without_a_signature_is_refused(authenticator, key):
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "c-1", "exp": int(time.time()) + 60, "scope": "sales.write"}
    for algorithm in ("none", "None", "NONE", ""):
        assert await refusal(authenticator, unsigned({"alg": algorithm, "kid": key.kid}, claims))


async def test_a_public_key_is_not_taken_for_a_shared_secret(authenticator, key):
    """The classic confusion: HS256 with the public key as the secret."""
    public = key.private.public_key()
    secrets = [
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        json.dumps(key.jwk).encode(),
    ]
    for secret in secrets:
        claims = key.token().split(".")[1]
        header, *_ = unsigned({"alg": "HS256", "typ": "JWT", "kid": key.kid}, {}).split(".")
        signature = jwt.get_algorithm_by_name("HS256").sign(f"{header}.{claims}".encode(), secret)
        forged = f"{header}.{claims}.{jwt.utils.base64url_encode(signature).decode()}"
        assert await refusal(authenticator, forged) == "the token is not valid"


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
async def test_the_keys_algorithm_counts_and_not_the_tokens(authenticator, key, algorithm):
    assert await refusal(authenticator, SigningKey(key.kid, algorithm).token()) == "the token is not valid"


async def test_a_key_that_the_token_brings_is_not_used(authenticator):
    own = SigningKey("brought")
    headers = [{"jwk": own.jwk}, {"jku": "https://evil.example/jwks.json"}, {"x5u": "https://evil.example/x.pem"}]
    for header in headers:
        assert await refusal(authenticator, own.token(header=header)) == "the token's key is not one of the issuer's"


@pytest.mark.parametrize(
    "kid", ["", "../../etc/passwd", "' OR 1=1 --", "k-1\x00", "K-1", "k-1 ", "file:///dev/null", "x" * 257]
)
async def test_a_kid_is_compared_and_nothing_else(authenticator, key, kid):
    assert await refusal(authenticator, key.token(header={"kid": kid}))


async def test_a_kid_that_is_no_text_is_refused(authenticator):
    for kid in (None, 7, ["k-1"], {"k": 1}, True):
        assert await refusal(authenticator, unsigned({"alg": "ES256", "kid": kid}, {}))


async def test_an_extension_that_is_critical_is_refused(authenticator, key):
    for extension in (["exp"], ["x"], [], "x"):
        assert await refusal(authenticator, key.token(header={"crit": extension}))


@pytest.mark.parametrize("credential", ["a", "a.b", "a.b.c", "..", "a.b.c.d", "e30.e30.e30", "é", "a" * 8001, "a b"])
async def test_what_is_no_token_is_refused(authenticator, credential):
    assert await refusal(authenticator, credential)


@pytest.mark.parametrize(
    "header", ["Basic dTpw", "Bearer", "Bearer ", "Bearera.b.c", "a.b.c", "Bearer a.b.c, Bearer d"]
)
async def test_what_is_no_bearer_is_refused(authenticator, header):
    with pytest.raises(Unauthenticated, match="must appear once"):
        await authenticator.principal_of(header)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("a b", {"a", "b"}),
        ("", set()),
        (["a", "b"], {"a", "b"}),
        (["a", 7, None], {"a"}),
        (7, set()),
        (None, set()),
        ({"a": 1}, set()),
    ],
)
async def test_scopes_are_a_text_or_a_list(authenticator, key, claim, expected):
    assert (await authenticator.principal_of(f"Bearer {key.token(scope=claim)}")).scopes == expected


async def test_the_customer_is_in_the_claim_that_is_set(authenticating, key):
    async with authenticating(token_customer_claim="customer_id") as authenticator:
        principal = await authenticator.principal_of(f"Bearer {key.token(customer_id='c-77', sub='user-1')}")
        assert (principal.name, principal.customer) == ("customers/c-77", "c-77")
        assert await refusal(authenticator, key.token()) == "the token does not name its customer"


async def test_who_may_more_than_buy_is_no_customer(authenticator, key):
    principal = await authenticator.principal_of(f"Bearer {key.token(scope='reservations.own sales.write')}")
    assert (principal.name, principal.customer) == ("clients/c-1", "c-1")


async def test_a_curve_of_another_size_is_not_used(authenticating, jwks_path, key):
    private = ec.generate_private_key(ec.SECP384R1())
    jwk = json.loads(jwt.get_algorithm_by_name("ES384").to_jwk(private.public_key()))
    jwks_path.write_text(json.dumps({"keys": [jwk | {"kid": "p-384"}, key.jwk]}))
    async with authenticating() as authenticator:
        token = jwt.encode({"sub": "c"}, private, "ES384", {"kid": "p-384"})
        assert await refusal(authenticator, token) == "the token's key is not one of the issuer's"
