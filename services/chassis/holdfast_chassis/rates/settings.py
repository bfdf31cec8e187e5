"""The settings of rates. Gateways and inventories have them, and must be given the same."""

from pydantic import Field

from holdfast_chassis.redis_url import RedisUrlSetting
from holdfast_chassis.settings import Duration, ServiceSettings


class RateSettings(ServiceSettings):
    """The rate of each caller, and where it is counted."""

    rate_limit_requests: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="The most requests of one caller and kind in a window; 0: no limit. Counted exactly in Redis; "
        "while that does not answer, each replica gives its share.",
    )
    rate_limit_window: Duration = Field(
        60.0, ge=1, le=86_400, description="The window, which may also be written as 30s, 1m or 1h."
    )
    trusted_hops: int = Field(
        0,
        ge=0,
        le=10,
        description="How many proxies in front append to X-Forwarded-For, and are believed: 1 behind the edge.",
    )
    redis_url: RedisUrlSetting | None = Field(
        None,
        description="A Redis or Valkey that tells replicas of each other's changes, and counts rates. Without one they "
        "poll.",
    )
    redis_channel_prefix: str = Field(
        "holdfast", min_length=1, description="What the names of its channels and keys begin with."
    )
