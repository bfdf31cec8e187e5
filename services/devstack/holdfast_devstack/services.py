"""The services as child processes, each with its environment and a readiness check."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast_chassis import direct
from holdfast_chassis.listening import authority
from holdfast_chassis.settings import environment_name
from holdfast_devstack.child_process import ChildProcess
from holdfast_devstack.ports import LOOPBACK
from holdfast_devstack.settings import SHARED_NAMES, DevstackSettings

_PROBE_TIMEOUT_SECONDS = 2.0
_STOP_TIMEOUT_SECONDS = 60.0
_READ_BY_US = {"DATABASE_URL_FILE", "REDIS_URL_FILE"}


class Service:
    """`python -m <module> serve` as a child process."""

    def __init__(
        self,
        name: str,
        module: str,
        address: str,
        *,
        environment: Callable[[], Mapping[str, str]],
        is_ready: Callable[[], bool],
        log_directory: Path,
        start_timeout_seconds: float,
    ) -> None:
        """`environment` is called when the process is spawned, because it needs the addresses of earlier servers."""
        self.name = name
        self.address = address
        self._module = module
        self._environment = environment
        self._is_ready = is_ready
        self._log_path = log_directory / f"{name}.log"
        self._start_timeout_seconds = start_timeout_seconds
        self._child: ChildProcess | None = None

    @property
    def child(self) -> ChildProcess:
        """Its process. Raises RuntimeError before the first `spawn`."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child

    def prepare(self) -> None:
        """Do nothing: it needs no preparation."""

    def spawn(self) -> None:
        """Start it without waiting. Call it on the main thread (see ChildProcess)."""
        command = [sys.executable, "-m", self._module, "serve"]
        self._child = ChildProcess(self.name, command, self._log_path, environment=self._environment())
        self._child.spawn()

    def wait_until_ready(self) -> None:
        """Wait until it is ready. Raises StartError if it ends or the time is up."""
        self.child.wait_until(self._is_ready, self._start_timeout_seconds)

    def stop(self) -> None:
        """Let it drain and stop."""
        if self._child is not None:
            self._child.stop(_STOP_TIMEOUT_SECONDS)


def inventory(settings: DevstackSettings, environment: Callable[[], Mapping[str, str]], log_directory: Path) -> Service:
    """Return the inventory service."""
    target = authority(settings.grpc_host, settings.grpc_port)
    return Service(
        "inventory",
        "holdfast_inventory",
        f"{target}  metrics {authority(settings.metrics_host, settings.metrics_port)}",
        environment=environment,
        is_ready=lambda: _serves_grpc(target),
        log_directory=log_directory,
        start_timeout_seconds=settings.start_timeout_seconds,
    )


def gateway(settings: DevstackSettings, environment: Callable[[], Mapping[str, str]], log_directory: Path) -> Service:
    """Return the REST gateway."""
    target = authority(settings.http_host, settings.http_port)
    return Service(
        "gateway",
        "holdfast_gateway",
        f"http://{target}  metrics {authority(settings.metrics_host, settings.gateway_metrics_port)}",
        environment=environment,
        is_ready=lambda: _serves_http(f"http://{target}/health/ready"),
        log_directory=log_directory,
        start_timeout_seconds=settings.start_timeout_seconds,
    )


def edge(settings: DevstackSettings, environment: Callable[[], Mapping[str, str]], log_directory: Path) -> Service:
    """Return the edge in front of both, for REST, gRPC and gRPC-Web."""
    return Service(
        "edge",
        "holdfast_edge",
        f"http://{authority(settings.edge_host, settings.edge_http_port)}  "
        f"shoppers {authority(settings.edge_host, settings.edge_shoppers_port)}  "
        f"metrics {authority(settings.edge_metrics_host, settings.edge_metrics_port)}",
        environment=environment,
        is_ready=lambda: _serves_http(f"http://{LOOPBACK}:{settings.edge_admin_port}/ready"),
        log_directory=log_directory,
        start_timeout_seconds=settings.start_timeout_seconds,
    )


def environment_of_services(settings: DevstackSettings, database_url: str, redis_url: str) -> dict[str, str]:
    """Return this process's environment with the runner's values."""
    inherited = {name: value for name, value in os.environ.items() if name not in _READ_BY_US}
    decided = {environment_name(field): str(getattr(settings, field)) for field in SHARED_NAMES}
    return {
        # One of each, unless these are set.
        "HOLDFAST_INVENTORY_TARGET": f"dns:///{authority(settings.grpc_host, settings.grpc_port)}",
        "HOLDFAST_EDGE_INVENTORIES": authority(settings.grpc_host, settings.grpc_port),
        "HOLDFAST_EDGE_GATEWAYS": authority(settings.http_host, settings.http_port),
        **inherited,
        **decided,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
    }


def _serves_grpc(target: str) -> bool:
    # A new channel for each check, because a channel that was refused waits before it reconnects.
    with grpc.insecure_channel(target, options=direct.CHANNEL_OPTIONS) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_PROBE_TIMEOUT_SECONDS
            )
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _serves_http(url: str) -> bool:
    try:
        with direct.urlopen(url, _PROBE_TIMEOUT_SECONDS) as answer:
            return answer.status == 200
    except OSError:
        return False
