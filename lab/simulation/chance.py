"""Randomness from one seed: each part has its own stream, so that parts do not influence each other."""

import uuid
from random import Random


def stream(seed: int, part: str) -> Random:
    # The seed of a string is a digest of it, not its hash(), which depends on PYTHONHASHSEED.
    return Random(f"{seed} {part}")


class SeededEntropy:
    """The product's source of randomness, from a stream."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.uniform = random.uniform
        self.token_bytes = random.randbytes

    def token_hex(self) -> str:
        return self._random.randbytes(16).hex()

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self._random.getrandbits(128), version=4)
