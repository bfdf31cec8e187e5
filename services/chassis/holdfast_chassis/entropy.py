"""The only source of randomness: ids, tokens and jitter, so that tests can control them."""

import random
import secrets
import uuid
from typing import Protocol


class Entropy(Protocol):
    """A source of randomness."""

    def uuid4(self) -> uuid.UUID:
        """Return a random id with 122 bits, which cannot be guessed."""
        ...

    def token_bytes(self, size: int) -> bytes:
        """Return `size` unguessable bytes."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """Return a number between `low` and `high`. For jitter, never for secrets."""
        ...


class SystemEntropy:
    """The operating system's randomness."""

    uuid4 = staticmethod(uuid.uuid4)
    token_bytes = staticmethod(secrets.token_bytes)
    uniform = staticmethod(random.uniform)


SYSTEM_ENTROPY: Entropy = SystemEntropy()
