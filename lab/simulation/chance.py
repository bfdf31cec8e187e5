"""Chance, all of it from one seed: a stream of its own for each part, so that one does not disturb the other."""

import uuid
from random import Random


def stream(seed: int, part: str) -> Random:
    # A string's seed is a digest of it, not its hash(): PYTHONHASHSEED does not matter.
    return Random(f"{seed} {part}")


class SeededEntropy:
    """What the product takes for chance."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.uniform = random.uniform
        self.token_bytes = random.randbytes

    def token_hex(self) -> str:
        return self._random.randbytes(16).hex()

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self._random.getrandbits(128), version=4)
