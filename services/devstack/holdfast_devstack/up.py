"""`holdfast up`: starts everything in order on one machine, and stops it in the reverse order."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Protocol

from pydantic import SecretStr

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_chassis.lifecycle import CannotStartError, Lifecycle, Step
from holdfast_chassis.listening import authority
from holdfast_chassis.settings import environment_name
from holdfast_devstack import demo, services, stock_line
from holdfast_devstack.child_process import ChildProcess, StartError
from holdfast_devstack.console import Console
from holdfast_devstack.data_directory import DataDirectory
from holdfast_devstack.demo_issuer import DemoIssuer
from holdfast_devstack.ports import LOOPBACK, is_taken
from holdfast_devstack.postgres import PostgresServer
from holdfast_devstack.prometheus import PrometheusServer
from holdfast_devstack.settings import DevstackSettings
from holdfast_devstack.valkey import ValkeyServer
from holdfast_inventory.postgres.migrations import migrate
from holdfast_inventory.transports.envoy_process import UnusableError, shared_python

_DATABASE = "holdfast"
_START_TIMEOUT_SECONDS = 180.0
_STOP_TIMEOUT_SECONDS = 90.0
_REMAINS_SECONDS = 30.0
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_BETWEEN_SIGNALS = 0.1


class Server(Protocol):
    """A server in a child process. Only `spawn` needs the main thread."""

    @property
    def name(self) -> str:
        """Its name for people."""

    @property
    def address(self) -> str:
        """Its address."""

    @property
    def child(self) -> ChildProcess:
        """Its process, once spawned."""

    def prepare(self) -> None:
        """Prepare its start. Raises StartError."""

    def spawn(self) -> None:
        """Start it without waiting. Raises StartError."""

    def wait_until_ready(self) -> None:
        """Wait until it serves. Raises StartError."""

    def stop(self) -> None:
        """Stop it, within a time limit."""


_NO_DEMO = (
    "No demo sale: callers need a credential of the issuer or of the keys that are set. AUTH=1 makes a demo issuer."
)


class Stack:
    """The servers that `holdfast up` runs."""

    def __init__(
        self,
        settings: DevstackSettings,
        directory: DataDirectory,
        console: Console,
        *,
        with_edge: bool,
        with_monitoring: bool,
        issuer: DemoIssuer | None,
    ) -> None:
        """Only callers of `issuer` are admitted; None: every caller is."""
        self._settings = settings
        self._console = console
        self._issuer = issuer
        self._has_demo = False
        self._remains_seconds = _REMAINS_SECONDS if directory.was_abandoned else 0.0
        self._base_url = f"http://{authority(settings.http_host, settings.http_port)}"
        self._grpc_target = authority(settings.grpc_host, settings.grpc_port)
        self._postgres = PostgresServer(directory.path / "postgres", port=settings.postgres_port)
        self._valkey = ValkeyServer(directory.path / "valkey", port=settings.valkey_port)
        logs = directory.path / "logs"
        self._inventory = services.inventory(settings, self._environment, logs)
        self._gateway = services.gateway(settings, self._environment, logs)
        self._edge = services.edge(settings, self._environment, logs) if with_edge else None
        self._prometheus = _prometheus(settings, directory, with_edge=with_edge) if with_monitoring else None
        self._serving: list[Server] = []
        self._background: list[asyncio.Task[None]] = []
        self._lifecycle = Lifecycle(list(self._steps()))

    async def run(self) -> int:
        """Start everything, wait for Ctrl-C or SIGTERM, and stop everything. Return the exit code.

        Raises StartError if a port is taken or a host is not one of this machine.
        """
        await self._require_ports()
        self._tell_of_transport()
        return await self._lifecycle.run()

    async def _require_ports(self) -> None:
        """Wait for ports of children of a killed run, which end as soon as they notice."""
        deadline = SYSTEM_CLOCK.monotonic() + self._remains_seconds
        while taken := self._taken_ports():
            if SYSTEM_CLOCK.monotonic() >= deadline:
                raise StartError("\n".join(taken))
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    def _taken_ports(self) -> list[str]:
        with_edge, with_monitoring = self._edge is not None, self._prometheus is not None
        return _taken_ports(self._settings, with_edge=with_edge, with_monitoring=with_monitoring)

    def _steps(self) -> Iterator[Step]:
        """Return the servers in the order of their start. They stop in the reverse order, dependencies last."""
        if self._settings.database_url is None:
            yield self._serve(self._postgres)
        if self._settings.redis_url is None:
            yield self._serve(self._valkey)
        yield self._do_once("schema", "up to date", self._migrate)
        yield self._serve(self._inventory)
        yield self._serve(self._gateway)
        if self._edge is not None:
            yield self._serve(self._edge)
        if self._prometheus is not None:
            yield self._serve(self._prometheus)
        yield self._do_once("demo", f"sale {demo.SALE}, schedule {demo.SCHEDULE}", self._create_demo)
        yield Step("watching", self._watch, self._end_watching, 1.0, 5.0)

    def _tell_of_transport(self) -> None:
        if self._settings.transport == "auto":
            try:
                shared_python()
            except UnusableError as error:
                self._console.say(f"  gRPC by grpc.aio, which costs more CPU than Envoy: {error}")

    def _database_url(self) -> str:
        return _given(self._settings.database_url) or self._postgres.url(_DATABASE)

    def _environment(self) -> dict[str, str]:
        redis_url = _given(self._settings.redis_url) or self._valkey.url
        known = {} if self._issuer is None else dict(self._issuer.environment)
        return services.environment_of_services(self._settings, self._database_url(), redis_url) | known

    async def _migrate(self) -> None:
        if self._settings.database_url is None:
            await asyncio.to_thread(self._postgres.ensure_database, _DATABASE)
        try:
            await migrate(self._database_url(), patience_seconds=self._settings.database_wait_seconds)
        except CannotStartError as error:
            raise StartError(f"the schema could not be migrated: {error}") from error

    async def _create_demo(self) -> None:
        self._has_demo = await asyncio.to_thread(demo.create, self._base_url, self._issuer)

    def _do_once(self, name: str, result: str, work: Callable[[], Awaitable[None]]) -> Step:
        return Step(name, lambda: self._told(name, result, work()), _nothing, _START_TIMEOUT_SECONDS, 1.0)

    def _serve(self, server: Server) -> Step:
        async def start() -> None:
            await self._told(server.name, server.address, self._start(server))

        return Step(server.name, start, partial(self._stop, server), _START_TIMEOUT_SECONDS, _STOP_TIMEOUT_SECONDS)

    async def _told(self, name: str, result: str, work: Awaitable[None]) -> None:
        """Report that a part has started, or why it has not; then everything else is stopped."""
        began_at = SYSTEM_CLOCK.monotonic()
        try:
            await work
        except StartError as error:
            self._console.say(f"\n{error}\n")
            self._lifecycle.request_stop(f"{name} could not start", failed=True)
            raise
        self._console.say(f"  {name:<11} {result}  ({SYSTEM_CLOCK.monotonic() - began_at:.1f} s)")

    async def _start(self, server: Server) -> None:
        await asyncio.to_thread(server.prepare)
        server.spawn()
        try:
            await asyncio.to_thread(server.wait_until_ready)
        except BaseException:
            await asyncio.to_thread(server.stop)
            raise
        self._serving.append(server)

    async def _stop(self, server: Server) -> None:
        if server in self._serving:
            self._serving.remove(server)
        self._console.say(f"  stopping {server.name} ...")
        began_at = SYSTEM_CLOCK.monotonic()
        stopping = asyncio.ensure_future(asyncio.to_thread(server.stop))
        hurrying = asyncio.ensure_future(self._lifecycle.hurry.wait())
        await asyncio.wait([stopping, hurrying], return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not stopping.done():
            # Signals in quick succession are delivered as one.
            await asyncio.sleep(_SECONDS_BETWEEN_SIGNALS)
            server.child.ask_to_stop()
        await stopping
        self._console.say(f"  stopped {server.name} after {SYSTEM_CLOCK.monotonic() - began_at:.1f} s")

    def _entrance(self) -> tuple[str, str]:
        """Return the addresses for clients, REST and gRPC: those of the edge, if there is one."""
        if self._edge is None:
            return self._base_url, self._grpc_target
        edge = authority(self._settings.edge_host, self._settings.edge_http_port)
        return f"http://{edge}", edge

    async def _watch(self) -> None:
        self._console.say()
        if self._has_demo:
            self._console.say(await asyncio.to_thread(demo.tour, *self._entrance(), self._issuer))
        else:
            self._console.say(_NO_DEMO)
        self._console.say("Ctrl-C stops it; the data is kept.\n")
        self._background = [asyncio.create_task(self._notice_deaths(), name="notice deaths")]
        if self._has_demo:
            self._background.append(asyncio.create_task(self._follow_stock(), name="stock line"))

    async def _follow_stock(self) -> None:
        credential = None if self._issuer is None else self._issuer.credential("operator")
        await stock_line.follow(self._grpc_target, demo.SALE, self._console, credential)

    async def _end_watching(self) -> None:
        for task in self._background:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._console.end_live()

    async def _notice_deaths(self) -> None:
        """Stop everything if a child ends by itself, because half a stack is useless."""
        while True:
            for server in self._serving:
                if not server.child.is_running:
                    self._console.say(
                        f"{server.name} has ended by itself, with status {server.child.exit_status}. "
                        f"The end of {server.child.log_path}:\n{server.child.log_tail()}"
                    )
                    self._lifecycle.request_stop(f"{server.name} has ended", failed=True)
                    return
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


def _prometheus(settings: DevstackSettings, directory: DataDirectory, *, with_edge: bool) -> PrometheusServer:
    targets = {
        "inventory": authority(settings.metrics_host, settings.metrics_port),
        "gateway": authority(settings.metrics_host, settings.gateway_metrics_port),
    }
    if with_edge:
        targets["edge"] = authority(settings.edge_metrics_host, settings.edge_metrics_port)
    return PrometheusServer(directory.path / "prometheus", targets, settings.prometheus_port)


async def _nothing() -> None:
    """Do nothing: there is nothing to stop."""


def _given(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _taken_ports(settings: DevstackSettings, *, with_edge: bool, with_monitoring: bool) -> list[str]:
    """Return a sentence about each port that another process uses."""
    uses = {
        "http_port": ("REST", settings.http_host),
        "grpc_port": ("gRPC", settings.grpc_host),
        "metrics_port": ("the inventory's metrics", settings.metrics_host),
        "gateway_metrics_port": ("the gateway's metrics", settings.metrics_host),
    }
    if settings.database_url is None:
        uses["postgres_port"] = ("PostgreSQL", LOOPBACK)
    if settings.redis_url is None:
        uses["valkey_port"] = ("Valkey", LOOPBACK)
    if with_edge:
        uses["edge_http_port"] = ("the edge", settings.edge_host)
        uses["edge_shoppers_port"] = ("the edge for shoppers", settings.edge_host)
        uses["edge_metrics_port"] = ("the edge's metrics", settings.edge_metrics_host)
        uses["edge_admin_port"] = ("Envoy's administration", LOOPBACK)
    if with_monitoring:
        uses["prometheus_port"] = ("Prometheus", LOOPBACK)
    return [
        f"port {getattr(settings, field)} ({use}) is taken: stop what listens there, "
        f"or choose another with {environment_name(field)}"
        for field, (use, host) in uses.items()
        if _is_taken(getattr(settings, field), host)
    ]


def _is_taken(port: int, host: str) -> bool:
    try:
        return is_taken(port, host)
    except OSError as error:
        raise StartError(f"nothing can listen on {host}: {error.strerror}") from error
