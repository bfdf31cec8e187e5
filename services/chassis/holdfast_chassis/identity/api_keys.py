"""API keys for backends and operators: a key is created and shown once, and stored as a hash in a JSON file.

A key has 256 random bits, so a plain SHA-256 protects it as well as a slow hash.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.contract import METHODS
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.identity.expiry import Expiry
from holdfast_chassis.identity.principal import OWN, Principal
from holdfast_chassis.identity.refusals import Unauthenticated
from holdfast_chassis.identity.reloaded import Reloaded, read_file

PREFIX = "holdfast_"
"""The prefix of every key, so that scanners for leaked secrets find it."""

GRANTABLE = frozenset(scope for method in METHODS for scope in method.scopes) - {OWN}
"""The scopes that a key may have. A buyer's scope needs a customer, which only a token names."""

_SECRET_BYTES = 32
_ID_CHARACTERS = 12
_MAX_NAME_CHARACTERS = 63


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key of the file. `expires_at` is None if the key does not expire."""

    name: str
    scopes: tuple[str, ...]
    digest: str
    expires_at: datetime | None

    @property
    def id(self) -> str:
        """A short id with which people distinguish keys of the same name."""
        return self.digest[:_ID_CHARACTERS]

    @property
    def principal(self) -> Principal:
        """The principal of the key."""
        return Principal(f"keys/{self.name}", frozenset(self.scopes))


def new_key(
    name: str, scopes: Sequence[str], expires_at: datetime | None, entropy: Entropy = SYSTEM_ENTROPY
) -> tuple[str, ApiKey]:
    """Return a new secret and its entry for the file. Raises ValueError for an invalid name or scope."""
    secret = PREFIX + entropy.token_bytes(_SECRET_BYTES).hex()
    return secret, _checked(ApiKey(name, tuple(scopes), digest_of(secret), expires_at))


def digest_of(secret: str) -> str:
    """Return the hash of a secret."""
    return sha256(secret.encode()).hexdigest()


def parse_keys(raw: bytes) -> Mapping[str, ApiKey]:
    """Return the keys of a file by their digests. Raises ValueError."""
    document = json.loads(raw)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a file of keys: it has no list `keys`")  # noqa: TRY004 - the caller's one error
    keys = [_parsed(entry) for entry in entries]
    return {key.digest: key for key in keys}


def render_keys(keys: Iterable[ApiKey]) -> str:
    """Return the text of a file with these keys."""
    return json.dumps({"keys": [_rendered(key) for key in keys]}, indent=2) + "\n"


def _parsed(entry: Any) -> ApiKey:  # noqa: ANN401 - whatever JSON has
    try:
        expiry = entry.get("expires")
        scopes = tuple(map(str, entry["scopes"]))
        expires_at = None if expiry is None else datetime.fromisoformat(expiry)
        return _checked(ApiKey(str(entry["name"]), scopes, str(entry["sha256"]).lower(), expires_at))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("a key needs name, scopes, sha256, and may have expires") from error


def _checked(key: ApiKey) -> ApiKey:
    if not 0 < len(key.name) <= _MAX_NAME_CHARACTERS or not key.name.isprintable():
        raise ValueError(f"a key's name has 1 to {_MAX_NAME_CHARACTERS} printable characters")
    if not key.scopes or not GRANTABLE.issuperset(key.scopes):
        raise ValueError(f"the scopes of key {key.name} must be some of {', '.join(sorted(GRANTABLE))}")
    if len(key.digest) != sha256().digest_size * 2:
        raise ValueError(f"sha256 of key {key.name} is not one")
    if key.expires_at is not None and key.expires_at.tzinfo is None:
        raise ValueError(f"expires of key {key.name} has no time zone")
    return key


def _rendered(key: ApiKey) -> dict[str, object]:
    expires = {} if key.expires_at is None else {"expires": key.expires_at.astimezone(UTC).isoformat()}
    return {"name": key.name, "id": key.id, "scopes": list(key.scopes), "sha256": key.digest, **expires}


class ApiKeys:
    """The keys of a file, which is read again when it changes, or of a text."""

    def __init__(self, source: Path | str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._now = clock.now
        nothing: Mapping[str, ApiKey] = {}
        self._keys = Reloaded(
            str(source) if isinstance(source, Path) else "a setting",
            (lambda: read_file(source)) if isinstance(source, Path) else source.encode,
            parse_keys,
            nothing,
            clock=clock,
        )

    async def start(self) -> None:
        """Start reading the keys. Raises OSError or ValueError if they are unusable."""
        await self._keys.start()

    async def stop(self) -> None:
        """Stop reading the keys."""
        await self._keys.stop()

    def expiries(self) -> Iterator[Expiry]:
        """Return when the keys expire that do."""
        for key in self._keys.value.values():
            if key.expires_at is not None:
                yield Expiry("api_key", key.name, key.expires_at)

    def principal_of(self, secret: str) -> Principal:
        """Return the principal of a key. Raises Unauthenticated."""
        key = self._keys.value.get(digest_of(secret))
        if key is None:
            raise Unauthenticated("the key is unknown")
        if key.expires_at is not None and self._now() >= key.expires_at:
            raise Unauthenticated("the key has expired")
        return key.principal
