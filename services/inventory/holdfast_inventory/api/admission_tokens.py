"""Admission tokens: what a shop's waiting room or bot defence gives to a customer for one sale. See ADR 33."""

import asyncio
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.identity import refusals
from holdfast_chassis.identity.jwks import KeyRing, VerificationKey
from holdfast_chassis.identity.tokens import SignedTokens
from holdfast_chassis.lifecycle import CannotStartError
from holdfast_chassis.recent import RecentMap
from holdfast_inventory.domain.commands import Admission
from holdfast_inventory.domain.errors import AdmissionRequired, IssuerUnavailable
from holdfast_inventory.settings import InventorySettings

AUDIENCE = "holdfast-admission"
"""The `aud` of admission tokens, so that no other token of the same issuer admits anyone."""
_REMEMBERED_TOKENS = 20_000


class _Grant(NamedTuple):
    """A verified token, and its key."""

    sale: object
    customer: object
    is_early: bool
    expires_at: float
    key: VerificationKey


class AdmissionTokens:
    """A verifier of admission tokens. It remembers verified tokens, but only their hashes."""

    def __init__(
        self, settings: InventorySettings, clock: Clock = SYSTEM_CLOCK, entropy: Entropy = SYSTEM_ENTROPY
    ) -> None:
        """Without `admission_jwks` every token is refused."""
        self._now = clock.now
        self._limit_seconds = settings.admission_limit_seconds
        self._keys: KeyRing | None = None
        if settings.admission_jwks is not None:
            self._keys = KeyRing(settings.admission_jwks, settings, clock, entropy)
            self._tokens = SignedTokens(self._keys, AUDIENCE, settings.token_leeway_seconds, may_be_expired=True)
        self._remembered: RecentMap[bytes, _Grant] = RecentMap(_REMEMBERED_TOKENS)

    async def start(self) -> None:
        """Start reading the keys. Raises CannotStartError."""
        if self._keys is not None:
            try:
                await self._keys.start()
            except (OSError, ValueError) as error:
                raise CannotStartError(f"the keys of admission tokens cannot be read: {error}") from error

    async def stop(self) -> None:
        """Stop reading the keys."""
        if self._keys is not None:
            await self._keys.stop()

    async def admission(self, token: str, sale_id: str, customer: str) -> Admission:
        """Return what a token allows its customer; an empty one is no token.

        A token that has expired is no fault yet, because a repetition of a request that was granted needs none. Raises
        AdmissionRequired for any other fault, and IssuerUnavailable.
        """
        if not token:
            return Admission.NONE
        grant = await self._grant(token)
        if grant.sale != f"sales/{sale_id}" or grant.customer != customer:
            raise AdmissionRequired("the admission token is for another sale or another customer")
        if self._now().timestamp() >= grant.expires_at:
            return Admission.EXPIRED
        return Admission.EARLY if grant.is_early else Admission.VALID

    async def _grant(self, token: str) -> _Grant:
        if self._keys is None:
            raise AdmissionRequired("admission tokens are not accepted here")
        digest = sha256(token.encode()).digest()
        grant = self._remembered.get(digest)
        if grant is None or not self._keys.has(grant.key):
            grant = await self._verified(token)
            self._remembered.set(digest, grant)
        return grant

    async def _verified(self, token: str) -> _Grant:
        # A Submit may have a thousand tokens, so yield to other tasks in between.
        await asyncio.sleep(0)
        try:
            claims, key = await self._tokens.claims(token)
        except refusals.Unauthenticated as refused:
            raise AdmissionRequired(f"the admission token is not valid: {refused}") from None
        except refusals.IssuerUnavailable as refused:
            raise IssuerUnavailable(refused.retry_after_seconds) from None
        return _Grant(claims.get("sale"), claims["sub"], claims.get("early") is True, self._end(claims), key)

    def _end(self, claims: Mapping[str, Any]) -> float:
        """Return when a token expires. Raises AdmissionRequired if that is never, or too far away."""
        expires_at = claims["exp"]
        latest = self._now().timestamp() + self._limit_seconds + self._tokens.leeway_seconds
        # Also refuses what is not comparable.
        if not isinstance(expires_at, int | float) or not expires_at <= latest:
            raise AdmissionRequired(f"the admission token must expire within {self._limit_seconds:g} s")
        return float(expires_at)
