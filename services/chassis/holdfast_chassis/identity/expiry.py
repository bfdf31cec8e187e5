"""The metric of how long credentials are still valid, which alerts are made of."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock


class Expiry(NamedTuple):
    """When a credential ends. `kind` is certificate, api_key or jwks; `name` tells those of one kind apart."""

    kind: str
    name: str
    at: datetime


class CredentialExpiries(Collector):
    """The remaining time of credentials, by kind and name. Those that never end are left out."""

    def __init__(
        self, registry: CollectorRegistry, look: Callable[[], Iterable[Expiry]], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """`look` is called at each scrape, in another thread."""
        self._look = look
        self._now = clock.now
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Return the metric."""
        remaining = GaugeMetricFamily(
            "holdfast_credential_remaining_seconds",
            "Seconds until a credential ends: a certificate, an API key, or keys of an issuer that does not answer.",
            labels=("kind", "name"),
        )
        now = self._now()
        # Two keys of a name are valid while one replaces the other: the later end counts.
        latest = {(expiry.kind, expiry.name): expiry.at for expiry in sorted(self._look(), key=lambda each: each.at)}
        for labels, at in latest.items():
            remaining.add_metric(labels, (at - now).total_seconds())
        yield remaining
