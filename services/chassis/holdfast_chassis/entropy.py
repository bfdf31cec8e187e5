"""The only source of randomness: ids, tokens and jitter, so that tests can control them."""

import os
import random
import secrets
import uuid
from typing import Protocol


class Entropy(Protocol):
    """A source of randomness."""

    def uuid4(self) -> uuid.UUID:
        """Return a random id with 122 bits, which cannot be guessed."""
        ...

    def token_hex(self) -> str:
        """Return 32 unguessable hexadecimal digits."""
        ...

    def token_bytes(self, size: int) -> bytes:
        """Return `size` unguessable bytes."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """Return a number between `low` and `high`. For jitter, never for secrets."""
        ...


class SystemEntropy:
    """The operating system's randomness, fetched in blocks, because a system call is the largest part of an id's cost.

    Ids may be made in any thread. A forked process does not use its parent's block.
    """

    token_bytes = staticmethod(secrets.token_bytes)
    uniform = staticmethod(random.uniform)

    def __init__(self) -> None:
        self._ids: list[bytes] = []
        os.register_at_fork(after_in_child=self._ids.clear)

    def uuid4(self) -> uuid.UUID:
        """Return a random id with 122 bits, which cannot be guessed."""
        number = int.from_bytes(self._id_bytes())
        return uuid.UUID(int=number & _RANDOM_BITS | _VERSION_4)

    def token_hex(self) -> str:
        """Return 32 unguessable hexadecimal digits."""
        return self._id_bytes().hex()

    def _id_bytes(self) -> bytes:
        # Popping and extending a list are atomic, so two threads never get the same bytes.
        while True:
            try:
                return self._ids.pop()
            except IndexError:
                block = os.urandom(_BLOCK_BYTES)
                self._ids += [block[start : start + _ID_BYTES] for start in range(0, _BLOCK_BYTES, _ID_BYTES)]


_ID_BYTES = 16
_BLOCK_BYTES = 256 * _ID_BYTES
# RFC 9562, 5.4: four bits are the version, two the variant.
_VERSION_4 = 0x4 << 76 | 0x2 << 62
_RANDOM_BITS = ~(0xF << 76 | 0x3 << 62)

SYSTEM_ENTROPY: Entropy = SystemEntropy()
