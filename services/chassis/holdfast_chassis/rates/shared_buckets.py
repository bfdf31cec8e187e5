"""The buckets of all replicas, in Redis or Valkey."""

import asyncio
from collections.abc import Sequence
from typing import Any

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.rates.gcra import Rate, Verdict
from holdfast_chassis.redis_client import redis_client

_ANSWER_SECONDS = 0.1
"""A request waits for it. Longer, and the replica decides alone."""
_MOST_KEYS = 512
_PRESENT_MICROSECONDS = 10_000_000

# `take` of gcra.py, for many keys in one trip, by the server's clock. And which replicas have asked lately.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[4]))
redis.call('PEXPIRE', KEYS[1], 60000)
local verdicts = { redis.call('ZCARD', KEYS[1]) }
for i = 2, #KEYS do
  local full_at = math.max(tonumber(redis.call('GET', KEYS[i]) or '0'), now)
  local ahead = full_at + interval - now
  if ahead > burst then
    verdicts[i] = { full_at - now, ahead - burst }
  else
    redis.call('SET', KEYS[i], string.format('%.0f', full_at + interval), 'PX', math.ceil(ahead / 1000))
    verdicts[i] = { ahead, 0 }
  end
end
return verdicts
"""


class SharedBuckets:
    """The shared buckets. Requests that arrive while an answer is pending are sent together."""

    def __init__(self, url: str, rate: Rate, prefix: str, tier: str, entropy: Entropy = SYSTEM_ENTROPY) -> None:
        """`tier`: the replicas among which the rate is shared without a server. Raise ValueError for an invalid URL."""
        self._client = redis_client(url, answer_seconds=_ANSWER_SECONDS, connections=2)
        self._script = self._client.register_script(_SCRIPT)
        self._rate, self._prefix, self._tier = rate, prefix, tier
        self._own_name = entropy.token_hex()
        self._wanted: list[tuple[str, asyncio.Future[Verdict]]] = []
        self._asking: asyncio.Task[None] | None = None
        self.replicas = 1
        """How many replicas of the tier have asked in the last ten seconds, by the last answer."""

    async def take(self, keys: Sequence[str]) -> list[Verdict]:
        """Take one request out of the bucket of each key. Raises ConnectionError when there is no answer in time."""
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Verdict]] = [loop.create_future() for _ in keys]
        self._wanted += zip(keys, futures, strict=True)
        if self._asking is None:
            self._asking = loop.create_task(self._ask_for_all(), name="rate limits")
        return await asyncio.gather(*futures)

    async def stop(self) -> None:
        """End what is under way, and close the connections."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self._client.aclose()

    async def _ask_for_all(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted[:_MOST_KEYS], self._wanted[_MOST_KEYS:]
                await self._ask(wanted)
        finally:
            self._asking = None
            for _, future in self._wanted:
                future.cancel()
            self._wanted = []

    async def _ask(self, wanted: Sequence[tuple[str, asyncio.Future[Verdict]]]) -> None:
        keys = [f"{self._prefix}:{self._tier}", *(f"{self._prefix}:{key}" for key, _ in wanted)]
        arguments: list[Any] = [self._rate.interval, self._rate.burst, self._own_name, _PRESENT_MICROSECONDS]
        try:
            async with asyncio.timeout(2 * _ANSWER_SECONDS):
                self.replicas, *verdicts = await self._script(keys=keys, args=arguments)
        except asyncio.CancelledError:
            for _, future in wanted:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - errors of the library and of the server are treated alike
            fault = ConnectionError(f"no rate limits from Redis: {error or type(error).__name__}")
            for _, future in wanted:
                if not future.done():
                    future.set_exception(fault)
            return
        for (_, future), (full_in, retry_in) in zip(wanted, verdicts, strict=True):
            if not future.done():
                future.set_result(Verdict(full_in, retry_in))
