"""Tokens: JSON Web Tokens (RFC 7519, 8725, 9068) of one issuer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jwt

from holdfast_chassis.identity.jwks import KeyRing, VerificationKey
from holdfast_chassis.identity.principal import OWN, Principal
from holdfast_chassis.identity.refusals import Unauthenticated

_MAX_NAME_CHARACTERS = 128
_MAX_KID_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The requirements of a token. `leeway_seconds` is the allowed difference of the issuer's clock."""

    issuer: str
    audience: str
    leeway_seconds: float
    customer_claim: str
    scope_claim: str


class VerifiedToken(NamedTuple):
    """A valid token: its principal, its expiry (POSIX seconds), its key, and its `jti` or nothing."""

    principal: Principal
    expires_at: float
    key: VerificationKey
    id: str


@dataclass(frozen=True, slots=True)
class SignedTokens:
    """Tokens that are signed with one of these keys for an audience.

    They need `exp`, `aud`, `sub` and, if `issuer` is set, `iss`. `may_be_expired`: the caller checks their expiry.
    """

    keys: KeyRing
    audience: str
    leeway_seconds: float
    issuer: str | None = None
    may_be_expired: bool = False

    async def claims(self, token: str) -> tuple[Mapping[str, Any], VerificationKey]:
        """Return the claims of a token and its key. Raises Unauthenticated and IssuerUnavailable."""
        key = await self._key(token)
        required = ["exp", "aud", "sub"] if self.issuer is None else ["exp", "iss", "aud", "sub"]
        try:
            claims = jwt.decode(
                token,
                key.public,
                # The algorithm of the key, never that of the token: no `none`, and no HS256 with a public key.
                algorithms=[key.algorithm],
                issuer=self.issuer,
                audience=self.audience,
                leeway=self.leeway_seconds,
                options={"require": required, "verify_exp": not self.may_be_expired},
            )
        except jwt.MissingRequiredClaimError:
            raise Unauthenticated(f"the token lacks one of {', '.join(required)}") from None
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(_fault(error)) from None
        return claims, key

    async def _key(self, token: str) -> VerificationKey:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError:
            raise Unauthenticated("the credential is neither a token nor a key") from None
        if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID_CHARACTERS:
            raise Unauthenticated("the token does not name its key")
        key = await self.keys.find(kid)
        if key is None:
            raise Unauthenticated("the token's key is not one of the issuer's")
        return key


class TokenVerifier:
    """A verifier of callers' tokens with the issuer's keys."""

    def __init__(self, rules: TokenRules, keys: KeyRing) -> None:
        self._rules = rules
        self._tokens = SignedTokens(keys, rules.audience, rules.leeway_seconds, rules.issuer)

    async def verify(self, token: str) -> VerifiedToken:
        """Return a verified token. Raises Unauthenticated and IssuerUnavailable."""
        claims, key = await self._tokens.claims(token)
        return VerifiedToken(
            self._principal(claims),
            float(int(claims["exp"])) + self._rules.leeway_seconds,
            key,
            str(claims.get("jti", "")),
        )

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        scopes = _scopes(claims.get(self._rules.scope_claim))
        customer = claims.get(self._rules.customer_claim, "")
        if not isinstance(customer, str) or not _is_name(customer):
            customer = ""
        if OWN in scopes and not customer:
            raise Unauthenticated("the token does not name its customer")
        if scopes <= {OWN} and customer:
            return Principal(f"customers/{customer}", scopes, customer)
        if not _is_name(claims["sub"]):
            raise Unauthenticated("the token's subject is not a valid name")
        return Principal(f"clients/{claims['sub']}", scopes, customer)


def _scopes(claim: object) -> frozenset[str]:
    """Return the scopes of a claim: one text with spaces (RFC 8693), or a list."""
    if isinstance(claim, str):
        claim = claim.split(" ")
    if not isinstance(claim, list):
        return frozenset()
    return frozenset(scope for scope in claim if isinstance(scope, str) and scope)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MAX_NAME_CHARACTERS and text.isprintable()


_FAULTS: Mapping[type[jwt.InvalidTokenError], str] = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.InvalidAudienceError: "the token is for another audience",
    jwt.InvalidIssuerError: "the token is of another issuer",
}


def _fault(error: jwt.InvalidTokenError) -> str:
    """Return a description of the error, because the library's message may contain parts of the token."""
    return _FAULTS.get(type(error), "the token is not valid")
