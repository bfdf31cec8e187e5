"""Envoy's configuration: the YAML beside this package, with the settings inserted. See ADR 6.

Envoy does not substitute variables. They are inserted as JSON, which is valid YAML, so no value can break out of its
place. Envoy gets the result as JSON, because its file has no name that would tell YAML.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import yaml

from holdfast_chassis.envoy_tls import PLAIN, WorkloadTls
from holdfast_chassis.listening import EVERY_ADDRESS, listening_address
from holdfast_edge.kinds import path_patterns
from holdfast_edge.refusals import local_reply_config
from holdfast_edge.settings import EdgeSettings, address_of
from holdfast_edge.shoppers import shoppers_guards
from holdfast_edge.traces import add_traces

_ROUTE_INDENT = 24 * " "
DIRECTORY = Path(__file__).resolve().parent.parent


def render(settings: EdgeSettings, version: str, workload: WorkloadTls | None = None) -> str:
    """Return the whole configuration as JSON."""
    values = _values(settings, version) | _sockets(settings, workload)
    configuration = _filled(["envoy.yaml"], values)
    files = ["listener.yaml"] if settings.edge_tls_dir is None else ["listener.yaml", "tls_listener.yaml"]
    for listener in _listeners(settings):
        guards = shoppers_guards() if listener["shoppers"] else ()
        configuration["static_resources"]["listeners"] += _filled(files, {**values, **listener}, guards)
    add_traces(configuration, os.environ)
    return json.dumps(configuration, indent=1)


def _filled(files: Sequence[str], values: Mapping[str, Any], guards: Sequence[object] = ()) -> Any:  # noqa: ANN401
    """Return the document in the files with the values. `guards` are added to the list in which their name stands."""
    text = "".join((DIRECTORY / file).read_text(encoding="utf-8") for file in files)
    # Each on a line of its own; the list goes on after them.
    items = f"\n{_ROUTE_INDENT}".join(f"- {json.dumps(guard)}" for guard in guards)
    texts = {name: json.dumps(value) for name, value in values.items()}
    return yaml.load(Template(text).substitute(texts, guards=items), yaml.CSafeLoader)


def _listeners(settings: EdgeSettings) -> Sequence[Mapping[str, Any]]:
    plain, shoppers = settings.edge_http_port, settings.edge_shoppers_port
    tls, shoppers_tls = settings.edge_tls_port, settings.edge_shoppers_tls_port
    return [
        {
            "listener_name": f"{name}plain",
            "listener_port": port,
            "shoppers": bool(name),
            "tls_listener_name": f"{name}tls",
            "tls_listener_port": tls_port,
        }
        for name, port, tls_port in (("", plain, tls), ("shoppers_", shoppers, shoppers_tls))
    ]


def workload_tls(settings: EdgeSettings) -> WorkloadTls | None:
    """Return how the edge proves itself to the services, or None."""
    return None if settings.edge_workload_tls_dir is None else WorkloadTls(settings.edge_workload_tls_dir)


def _sockets(settings: EdgeSettings, workload: WorkloadTls | None) -> dict[str, Any]:
    if workload is None:
        return {"gateway_socket": PLAIN, "inventory_socket": PLAIN}
    return {
        "gateway_socket": workload.connecting_to(settings.edge_gateway_tls_name, "http/1.1"),
        "inventory_socket": workload.connecting_to(settings.edge_inventory_tls_name, "h2"),
    }


def _values(settings: EdgeSettings, version: str) -> dict[str, Any]:
    plain = {
        name.removeprefix("edge_"): value
        for name, value in settings.model_dump().items()
        if isinstance(value, str | int)
    }
    patterns = path_patterns()
    return plain | {
        "host": listening_address(settings.edge_host),
        "ipv4_compat": listening_address(settings.edge_host) == EVERY_ADDRESS,
        "metrics_host": listening_address(settings.edge_metrics_host),
        "metrics_ipv4_compat": listening_address(settings.edge_metrics_host) == EVERY_ADDRESS,
        "version": version,
        "half_request_limit": settings.edge_request_limit // 2,
        "read_limit": settings.edge_request_limit // 8,
        "half_read_limit": settings.edge_request_limit // 16,
        "half_sale_requests_per_second": max(1, settings.edge_sale_requests_per_second // 2),
        "connection_age": f"{settings.edge_connection_age_seconds:g}s",
        "header_timeout": f"{settings.edge_header_timeout_seconds:g}s",
        "request_timeout": f"{settings.edge_request_timeout_seconds:g}s",
        "gateways": _endpoints(settings.edge_gateways),
        "inventories": _endpoints(settings.edge_inventories),
        "cors_origins": [{"exact": origin} for origin in settings.cors_origins],
        "refusals": local_reply_config(),
        **patterns,
        "rest_begin_and_query": rf"({patterns['rest_begin']})(\?.*)?",
        "sale_of_message": (DIRECTORY / "sale.lua").read_text(encoding="utf-8"),
        "tls_certificate_file": str(DIRECTORY / "tls_certificate.yaml"),
    }


def _endpoints(texts: Iterable[str]) -> list[dict[str, Any]]:
    addresses = map(address_of, texts)
    return [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}} for host, port in addresses
    ]
