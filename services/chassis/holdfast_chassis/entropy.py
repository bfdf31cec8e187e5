"""The one door to chance: ids, tokens and jitter, so that tests can decide them."""

import random
import secrets
import uuid
from typing import Protocol


class Entropy(Protocol):
    """Where chance comes from."""

    def uuid4(self) -> uuid.UUID:
        """Return a random id that nobody can guess (122 bits)."""
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
