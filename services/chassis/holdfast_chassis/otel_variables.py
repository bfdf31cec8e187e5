"""The standard variables `OTEL_*` that say where traces go. docs/tracing.md explains them."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from urllib.parse import urlsplit

_PROTOCOLS = ("grpc", "http/protobuf")
_EXPORTER = "OTEL_EXPORTER_OTLP_"


def sends_traces(environment: Mapping[str, str]) -> bool:
    """Return whether there is a collector, and traces are not turned off."""
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_elsewhere = environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return not is_off and not is_elsewhere and bool(exporter_value(environment, "ENDPOINT"))


def exporter_value(environment: Mapping[str, str], name: str) -> str:
    """Return a variable of the exporter: that of traces, or else that of all signals; empty if neither is set."""
    return environment.get(f"{_EXPORTER}TRACES_{name}") or environment.get(f"{_EXPORTER}{name}", "")


def protocol_of_traces(environment: Mapping[str, str]) -> str:
    """Return `grpc` or `http/protobuf`, if there is no fault."""
    return exporter_value(environment, "PROTOCOL") or "grpc"


def faults_of_traces(environment: Mapping[str, str], *, by_sdk: bool) -> Iterator[str]:
    """Yield what is wrong with the variables. `by_sdk`: this process needs OpenTelemetry's SDK to send traces."""
    if not sends_traces(environment):
        return
    protocol = protocol_of_traces(environment)
    if protocol not in _PROTOCOLS:
        yield f"{_EXPORTER}PROTOCOL is {protocol!r}, not {' or '.join(_PROTOCOLS)}"
    if not _is_url(exporter_value(environment, "ENDPOINT")):
        yield f"{_EXPORTER}ENDPOINT is not http://host:port or https://host:port"
    if by_sdk and not _has_sdk():
        yield f"{_EXPORTER}ENDPOINT is set, but OpenTelemetry is not installed: install holdfast[tracing]"


def _has_sdk() -> bool:
    # The SDK is a part of a namespace that other packages have parts of, too.
    return find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
