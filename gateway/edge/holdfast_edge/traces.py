"""The edge's traces: Envoy's OpenTelemetry tracer, by the standard variables `OTEL_*` that the services use, too."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from holdfast_chassis.otel_variables import exporter_value, protocol_of_traces, sends_traces

_CLUSTER = "traces"
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_PORTS = {"grpc": 4317, "http/protobuf": 4318}
_TYPE = "type.googleapis.com/envoy."
_PATH = "/v1/traces"


def add_traces(configuration: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Add the tracer to all connection managers, and the collector's cluster. The environment has no faults."""
    if not sends_traces(environment):
        return
    protocol = protocol_of_traces(environment)
    endpoint = urlsplit(exporter_value(environment, "ENDPOINT"))
    host, port = endpoint.hostname or "", endpoint.port or _PORTS[protocol]
    headers = _headers(exporter_value(environment, "HEADERS"))
    if protocol == "grpc":
        target: dict[str, Any] = {"grpc_service": _over_grpc(headers)}
    else:
        # The endpoint of all signals has none of their paths.
        is_own = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        path = endpoint.path if is_own else endpoint.path.rstrip("/") + _PATH
        target = {"http_service": _over_http(f"{endpoint.scheme}://{host}:{port}{path}", headers)}
    resources = configuration["static_resources"]
    resources["clusters"].append(_cluster(host, port, protocol, _authorities(environment, endpoint.scheme)))
    for manager in _connection_managers(resources["listeners"]):
        manager["tracing"] = _tracing(target, environment)


def _connection_managers(listeners: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the connection managers for clients; that of the metrics has another prefix."""
    for listener in listeners:
        for chain in listener.get("filter_chains", ()):
            for each in chain["filters"]:
                if each["typed_config"].get("stat_prefix") == "edge":
                    yield each["typed_config"]


def _authorities(environment: Mapping[str, str], scheme: str) -> str | None:
    return (exporter_value(environment, "CERTIFICATE") or _AUTHORITIES) if scheme == "https" else None


def _headers(text: str) -> list[tuple[str, str]]:
    pairs = (pair.split("=", 1) for pair in text.split(",") if "=" in pair)
    return [(name.strip(), value.strip()) for name, value in pairs]


def _cluster(host: str, port: int, protocol: str, authorities: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {"http2_protocol_options": {}} if protocol == "grpc" else {"http_protocol_options": {}}
    address = {"socket_address": {"address": host, "port_value": port}}
    cluster = {
        "name": _CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": _CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": options,
            }
        },
    }
    if authorities is not None:
        cluster["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_TYPE}extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": host,
                "auto_sni_san_validation": True,
                "common_tls_context": {"validation_context": {"trusted_ca": {"filename": authorities}}},
            },
        }
    return cluster


def _over_grpc(headers: list[tuple[str, str]]) -> dict[str, Any]:
    metadata = [{"key": name, "value": value} for name, value in headers]
    return {"envoy_grpc": {"cluster_name": _CLUSTER}, "timeout": "1s", "initial_metadata": metadata}


def _over_http(uri: str, headers: list[tuple[str, str]]) -> dict[str, Any]:
    added = [{"header": {"key": name, "value": value}} for name, value in headers]
    return {
        "http_uri": {"uri": uri, "cluster": _CLUSTER, "timeout": "1s"},
        "request_headers_to_add": added,
    }


def _tracing(target: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        # A caller's own decision goes before this share.
        "random_sampling": {"value": 100 * _share(environment)},
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": f"{_TYPE}config.trace.v3.OpenTelemetryConfig",
                "service_name": environment.get("OTEL_SERVICE_NAME") or "holdfast-edge",
                **target,
            },
        },
    }


def _share(environment: Mapping[str, str]) -> float:
    sampler = environment.get("OTEL_TRACES_SAMPLER", "parentbased_always_on").removeprefix("parentbased_")
    if sampler == "traceidratio":
        return float(environment.get("OTEL_TRACES_SAMPLER_ARG") or 1)
    return 0.0 if sampler == "always_off" else 1.0
