"""Watchers that follow a sale, resume when their watch ends, and must see everything once and in order."""

import asyncio
from collections import Counter

from lab.kit import watching

_CATCH_UP_SECONDS = 20.0


class Watcher(watching.Watcher):
    """A watcher that records gaps between events. A slow one reads slowly."""

    def __init__(self, name, client, sale, *, stock=False, slow_seconds=0.0):
        super().__init__(sale, stock=stock)
        self.name = name
        self.resumed = 0
        self.gaps = []
        self.ends = Counter()
        self._client = client
        self._slow_seconds = slow_seconds

    async def has_seen(self, sequence):
        """Return whether it reaches the sequence within some time."""
        self._slow_seconds = 0.0
        try:
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                await self.until(sequence)
        except TimeoutError:
            return False
        return True

    def choose(self):
        return self._client

    async def on_event(self, event):
        if self.stock:
            # A snapshot starts from the beginning; a heartbeat has the present sequence.
            if event.WhichOneof("event") == "change":
                self._compare(event.change.previous_sequence, self.sequence)
            await asyncio.sleep(self._slow_seconds)
            return
        sequence = self.sequence
        for movement in event.movements:
            self._compare(movement.sequence - 1, sequence)
            sequence = movement.sequence
            await asyncio.sleep(self._slow_seconds)

    def on_ended(self, how):
        self.ends[how] += 1
        self.resumed += 1

    def _compare(self, previous, sequence):
        if previous != sequence:
            self.gaps.append(f"{self.name} was told of what follows on {previous} after {sequence}")
