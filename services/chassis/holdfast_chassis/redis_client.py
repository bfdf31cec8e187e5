"""Connections to Redis or Valkey, which may be away at any time: every wait is short, and nothing is tried again."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def redis_client(url: str, *, answer_seconds: float, connections: int) -> Redis:
    """Return a client that connects when it is used. Raises ValueError for an invalid URL.

    `answer_seconds` limits each connect and each answer; the caller decides when to try again.
    """
    # Without RESP3 and client info: this works with any server since Redis 2, and saves a round trip.
    return Redis.from_url(
        url,
        protocol=2,
        driver_info=None,
        socket_timeout=answer_seconds,
        socket_connect_timeout=answer_seconds,
        retry=Retry(NoBackoff(), 0),
        max_connections=connections,
    )
