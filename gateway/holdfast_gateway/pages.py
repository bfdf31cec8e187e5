"""What the gateway itself shows: health, metrics, and what it can be asked for."""

from collections.abc import Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from holdfast_gateway.call import Reply
from holdfast_gateway.gateway import Page
from holdfast_gateway.health import Health
from holdfast_gateway.routes import Route

_NO_STORE = ("cache-control", "no-store")


def pages_of(health: Health, registry: CollectorRegistry, routes: Sequence[Route], version: str) -> Mapping[str, Page]:
    """Return the pages by their paths."""
    pages: dict[str, Page] = {
        path: _health_page(health, path) for path in ("/health", "/health/live", "/health/ready", "/health/startup")
    }
    pages["/metrics"] = _metrics_page(registry)
    return pages


def _health_page(health: Health, path: str) -> Page:
    async def show() -> Reply:
        status, body = await health.answer(path)
        return Reply(status, [("content-type", "application/json"), _NO_STORE], body)

    return show


def _metrics_page(registry: CollectorRegistry) -> Page:
    async def show() -> Reply:
        return Reply(200, [("content-type", CONTENT_TYPE_LATEST), _NO_STORE], generate_latest(registry))

    return show
