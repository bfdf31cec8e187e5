"""Authenticates callers by the Authorization header."""

import asyncio
import re
from collections.abc import Iterator
from hashlib import sha256

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.identity.api_keys import PREFIX, ApiKeys
from holdfast_chassis.identity.expiry import Expiry
from holdfast_chassis.identity.jwks import KeyRing
from holdfast_chassis.identity.principal import ANONYMOUS, Principal
from holdfast_chassis.identity.refusals import Unauthenticated
from holdfast_chassis.identity.revocations import Revocations
from holdfast_chassis.identity.settings import IdentitySettings
from holdfast_chassis.identity.tokens import TokenRules, TokenVerifier, VerifiedToken
from holdfast_chassis.lifecycle import CannotStartError
from holdfast_chassis.recent import RecentMap

_REMEMBERED_TOKENS = 20_000
_bearer = re.compile(r"bearer +([A-Za-z0-9._~+/=-]{1,8000})", re.ASCII | re.IGNORECASE).fullmatch


class Authenticator:
    """An authenticator of callers. It remembers verified tokens until they expire, but only their hashes."""

    def __init__(
        self, settings: IdentitySettings, clock: Clock = SYSTEM_CLOCK, entropy: Entropy = SYSTEM_ENTROPY
    ) -> None:
        self._now = clock.now
        keys = settings.api_keys.get_secret_value() if settings.api_keys is not None else settings.api_keys_path
        self._api_keys = None if keys is None else ApiKeys(keys, clock)
        self._key_ring: KeyRing | None = None
        self._verifier: TokenVerifier | None = None
        if settings.token_issuer is not None and settings.token_jwks is not None:
            self._key_ring = KeyRing(settings.token_jwks, settings, clock, entropy)
            self._verifier = TokenVerifier(_token_rules(settings, settings.token_issuer), self._key_ring)
        revoked = settings.revoked_tokens_path
        self._revocations = None if revoked is None else Revocations(revoked, clock)
        self._remembered: RecentMap[bytes, VerifiedToken] = RecentMap(_REMEMBERED_TOKENS)

    async def start(self) -> None:
        """Start reading keys. Raises CannotStartError."""
        for source in (self._api_keys, self._key_ring, self._revocations):
            if source is not None:
                try:
                    await source.start()
                except (OSError, ValueError) as error:
                    raise CannotStartError(f"the keys of callers cannot be read: {error}") from error

    async def stop(self) -> None:
        """Stop reading keys."""
        for source in (self._api_keys, self._key_ring, self._revocations):
            if source is not None:
                await source.stop()

    def expiries(self) -> Iterator[Expiry]:
        """Return when keys end."""
        for source in (self._api_keys, self._key_ring):
            if source is not None:
                yield from source.expiries()

    async def principal_of(self, authorization: str | None) -> Principal:
        """Return the principal of a header. Raises Unauthenticated and IssuerUnavailable."""
        if not authorization:
            return ANONYMOUS
        digest = sha256(authorization.encode()).digest()
        known = self._remembered.get(digest)
        if known is not None and self._key_ring is not None and self._key_ring.has(known.key):
            if self._now().timestamp() >= known.expires_at:
                raise Unauthenticated("the token has expired")
            return self._principal_of_token(known)
        match = _bearer(authorization)
        if match is None:
            raise Unauthenticated("Authorization must appear once, and be: Bearer and a token or a key")
        if match[1].startswith(PREFIX):
            return self._principal_of_key(match[1])
        verified = await self._verified(match[1])
        self._remembered.set(digest, verified)
        return self._principal_of_token(verified)

    def _principal_of_token(self, token: VerifiedToken) -> Principal:
        if self._revocations is not None and self._revocations.has(token.id):
            raise Unauthenticated("the token has been revoked")
        return token.principal

    def _principal_of_key(self, secret: str) -> Principal:
        if self._api_keys is None:
            raise Unauthenticated("API keys are not accepted here")
        return self._api_keys.principal_of(secret)

    async def _verified(self, token: str) -> VerifiedToken:
        if self._verifier is None:
            raise Unauthenticated("tokens are not accepted here")
        # A Submit may have a thousand tokens, so yield to other tasks in between.
        await asyncio.sleep(0)
        return await self._verifier.verify(token)


def _token_rules(settings: IdentitySettings, issuer: str) -> TokenRules:
    return TokenRules(
        issuer,
        settings.token_audience,
        settings.token_leeway_seconds,
        settings.token_customer_claim,
        settings.token_scope_claim,
    )
