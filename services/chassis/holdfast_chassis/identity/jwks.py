"""The public keys of the issuer of tokens: a JSON Web Key Set (RFC 7517) in a file or at a URL."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import AllowedPublicKeys

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.identity.expiry import Expiry
from holdfast_chassis.identity.refusals import IssuerUnavailable
from holdfast_chassis.identity.reloaded import Reloaded, fetch, read_file
from holdfast_chassis.identity.settings import IdentitySettings
from holdfast_chassis.logs import get_logger

log = get_logger("holdfast.identity")

_MIN_RSA_BITS = 2048
_URL_PAUSE_SECONDS = 10.0
"""The shortest interval at which tokens with unknown keys make the set be fetched again."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key and its only algorithm. The algorithm that a token names is ignored (RFC 8725)."""

    kid: str
    jwk: str
    algorithm: str = field(compare=False)
    public: AllowedPublicKeys = field(compare=False)


KeySet = Mapping[str, VerificationKey]


def parse_jwks(raw: bytes) -> KeySet:
    """Return the usable keys by their kid; other keys are left out. Raises ValueError."""
    document = json.loads(raw)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ValueError("not a JSON Web Key Set: it has no list `keys`")  # noqa: TRY004 - the caller's one error
    usable = [key for key in map(_key, keys) if key is not None]
    by_kid = {key.kid: key for key in usable}
    if not by_kid:
        raise ValueError("no key for ES256, EdDSA or RS256 that has a kid")
    if len(by_kid) < len(usable):
        raise ValueError("two keys have the same kid")
    return by_kid


def _key(jwk: Any) -> VerificationKey | None:  # noqa: ANN401 - whatever JSON has
    kid = jwk.get("kid") if isinstance(jwk, dict) else None
    if not isinstance(kid, str) or not kid or jwk.get("use", "sig") != "sig" or "d" in jwk:
        return None
    try:
        public = jwt.PyJWK(jwk).key
    except (jwt.PyJWTError, TypeError, ValueError):
        log.warning("key_not_usable", kid=kid)
        return None
    algorithm = _algorithm(public)
    if algorithm is None or jwk.get("alg", algorithm) != algorithm:
        return None
    return VerificationKey(kid, json.dumps(jwk, sort_keys=True), algorithm, public)


def _algorithm(key: object) -> str | None:
    match key:
        case EllipticCurvePublicKey() if key.curve.name == "secp256r1":
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
        case RSAPublicKey() if key.key_size >= _MIN_RSA_BITS:
            return "RS256"
    return None


class KeyRing:
    """The issuer's keys: read again at intervals, and when a token names an unknown key."""

    def __init__(
        self,
        location: str,
        settings: IdentitySettings,
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        """`location` is a URL or the path of a file. If a URL fails, its keys are used for a limited time."""
        self._is_remote = "://" in location
        nothing: KeySet = {}
        if self._is_remote:
            self._set = Reloaded(
                # Its query may be a secret.
                location.partition("?")[0],
                lambda: fetch(location),
                parse_jwks,
                nothing,
                interval_seconds=settings.jwks_refresh_seconds,
                pause_seconds=_URL_PAUSE_SECONDS,
                stale_seconds=settings.jwks_stale_seconds,
                clock=clock,
                entropy=entropy,
            )
        else:
            path = Path(location)
            self._set = Reloaded(location, lambda: read_file(path), parse_jwks, nothing, clock=clock, entropy=entropy)

    async def start(self) -> None:
        """Start reading the keys. Raises OSError or ValueError for an unusable file; a URL may be unavailable."""
        if self._is_remote:
            await self._set.refresh()
            self._set.follow()
        else:
            await self._set.start()

    async def stop(self) -> None:
        """Stop reading the keys."""
        await self._set.stop()

    def expiries(self) -> Iterator[Expiry]:
        """Return when keys from a URL are dropped unless it answers before."""
        if (usable_until := self._set.usable_until()) is not None:
            yield Expiry("jwks", "issuer", usable_until)

    def has(self, key: VerificationKey) -> bool:
        """Return whether a key is still in the set, unchanged."""
        return self._set.value.get(key.kid) == key

    async def find(self, kid: str) -> VerificationKey | None:
        """Return the key with this id, or None. Raises IssuerUnavailable if the keys cannot be fetched."""
        key = self._set.value.get(kid)
        if key is None:
            await self._set.refresh()
            key = self._set.value.get(kid)
        if key is None and self._set.failed:
            raise IssuerUnavailable(self._set.pause_seconds)
        return key
