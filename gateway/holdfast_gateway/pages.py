"""The gateway's own pages: health, metrics and documentation."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from holdfast_gateway.call import Reply
from holdfast_gateway.gateway import Page
from holdfast_gateway.health import Health
from holdfast_gateway.openapi import openapi_document
from holdfast_gateway.routes import Route
from holdfast_gateway.settings import GatewaySettings

_NO_STORE = ("cache-control", "no-store")
_BRIEFLY = ("cache-control", "public, max-age=60")
# The page is a single file and loads nothing from other servers.
_SELF_CONTAINED = (
    "content-security-policy",
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:",
)


def pages_of(
    health: Health, registry: CollectorRegistry, routes: Sequence[Route], version: str, settings: GatewaySettings
) -> Mapping[str, Page]:
    """Return the pages by their paths."""
    paths = ("/health", "/health/live", "/health/ready", "/health/startup")
    documents: Mapping[str, Page] = {
        "/openapi.json": _OpenApi(routes, version, knows_callers=settings.knows_callers).show,
        "/docs": _show_docs,
        "/": _go_to_docs,
    }
    return {
        **{path: partial(_show_health, health, path) for path in paths},
        # On a port of their own in any case.
        **({} if settings.knows_callers else {"/metrics": partial(_show_metrics, registry)}),
        **(documents if settings.documents else {}),
    }


async def _show_health(health: Health, path: str) -> Reply:
    status, body = await health.answer(path)
    return Reply(status, [("content-type", "application/json"), _NO_STORE], body)


async def _show_metrics(registry: CollectorRegistry) -> Reply:
    return Reply(200, [("content-type", CONTENT_TYPE_LATEST), _NO_STORE], generate_latest(registry))


class _OpenApi:
    """The OpenAPI document, generated at the first request."""

    def __init__(self, routes: Sequence[Route], version: str, *, knows_callers: bool) -> None:
        self._routes = routes
        self._version = version
        self._knows_callers = knows_callers
        self._body = b""

    async def show(self) -> Reply:
        if not self._body:
            document = openapi_document(self._routes, self._version, knows_callers=self._knows_callers)
            self._body = orjson.dumps(document)
        return Reply(200, [("content-type", "application/json"), _BRIEFLY], self._body)


async def _show_docs() -> Reply:
    page = resources.files("holdfast_gateway").joinpath("docs.html").read_bytes()
    return Reply(200, [("content-type", "text/html; charset=utf-8"), _BRIEFLY, _SELF_CONTAINED], page)


async def _go_to_docs() -> Reply:
    return Reply(302, [("location", "/docs")])
