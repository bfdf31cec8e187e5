"""gRPC by Envoy, in whose process this Python runs (see `envoy_process`): controls when it listens, drains and ends."""

import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from holdfast_chassis.lifecycle import STOP_SIGNALS, Lifecycle
from holdfast_chassis.logs import exit_now, get_logger
from holdfast_chassis.waiting import first_of
from holdfast_inventory.ports import Endpoint, NewServer, ServerLimits
from holdfast_inventory.transports.asgi import Application, Receive, Scope, Send
from holdfast_inventory.transports.envoy_process import ADMIN_VARIABLE, CALLS_UNDER_WAY, LISTENER, TEMPORARY_VARIABLE

log = get_logger("holdfast.server")

_LOOK_SECONDS = 0.02
_ADMIN_SECONDS = 2.0
_FLUSH_SECONDS = 1.0


class Server:
    """A server of endpoints. Envoy waits in its own start until `start` allows it to listen."""

    def __init__(self, limits: ServerLimits, endpoints: Iterable[Endpoint]) -> None:
        self.application = Application(limits, endpoints)
        self.address = ""
        """The address on which it listens, once it has started."""
        self.may_listen = asyncio.Event()
        self.envoy_ends = asyncio.Event()
        self._limits = limits

    async def start(self) -> None:
        """Let Envoy listen, and wait until it does. Raises OSError if it ends."""
        limits = self._limits
        self.may_listen.set()
        while not (port := await asyncio.to_thread(_port)):
            if await first_of(self.envoy_ends, timeout_seconds=_LOOK_SECONDS):
                raise OSError(f"cannot listen on {limits.addresses}: is the port taken?")
        self.address = limits.address_with(port)
        if temporary := os.environ.get(TEMPORARY_VARIABLE):
            await asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True)
        log.info("listening", address=self.address)

    async def stop(self, grace_seconds: float) -> None:
        """Accept no more calls, and give calls in progress `grace_seconds`. Wait for quiet first (see
        `Calls.arrivals`).
        """
        await asyncio.to_thread(_ask, "POST", "/drain_listeners?graceful&skip_exit")
        await self.application.stop(grace_seconds)
        await self._flush()

    async def _flush(self) -> None:
        """Wait until Envoy has sent all answers of the application."""
        give_up_at = asyncio.get_running_loop().time() + _FLUSH_SECONDS
        while await asyncio.to_thread(_calls_under_way):
            if asyncio.get_running_loop().time() > give_up_at:
                log.warning("answers_not_sent")
                return
            await asyncio.sleep(_LOOK_SECONDS)


class Embedded:
    """The ASGI application in Envoy's filter. Its lifespan runs the service and ends the process."""

    def __init__(self, new_service: Callable[[NewServer], Lifecycle]) -> None:
        """`new_service` is called on the event loop and makes one server."""
        self._new_service = new_service
        self._servers: list[Server] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the lifespan, or answer a request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._servers[0].application(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        lifecycle = self._begin()
        _pass_signals_on(lifecycle)
        life = asyncio.create_task(_run(lifecycle))
        (server,) = self._servers
        await server.may_listen.wait()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # Envoy requests the shutdown only if it ends by itself. During the start of the server, this makes the start
        # fail.
        server.envoy_ends.set()
        if server.address:
            lifecycle.request_stop("Envoy has ended by itself", failed=True)
        await life

    def _begin(self) -> Lifecycle:
        try:
            return self._new_service(self._new_server)
        except BaseException:
            # Without this, Envoy would serve although the lifespan failed.
            log.exception("cannot_begin")
            exit_now(1)

    def _new_server(self, limits: ServerLimits, endpoints: Iterable[Endpoint]) -> Server:
        self._servers.append(Server(limits, endpoints))
        return self._servers[0]


async def _run(lifecycle: Lifecycle) -> None:
    """Serve, and end the process when everything has stopped, because Envoy has nothing left to do."""
    code = 1
    try:
        code = await lifecycle.serve()
    finally:
        shutil.rmtree(Path(os.environ[ADMIN_VARIABLE]).parent, ignore_errors=True)
        exit_now(code)


def _pass_signals_on(lifecycle: Lifecycle) -> None:
    """Wait for the signals that are blocked in all threads (see `envoy_process.become_envoy`)."""
    loop = asyncio.get_running_loop()

    def wait() -> None:
        while True:
            number = signal.Signals(signal.sigwait(STOP_SIGNALS))
            loop.call_soon_threadsafe(lifecycle.on_signal, number)

    threading.Thread(target=wait, name="signals", daemon=True).start()


class _Admin(http.client.HTTPConnection):
    """A connection to Envoy's socket for commands."""

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.environ[ADMIN_VARIABLE])


def _ask(method: str, path: str) -> bytes:
    """Return Envoy's answer. Raises OSError."""
    connection = _Admin("envoy", timeout=_ADMIN_SECONDS)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"Envoy does not answer {path}: {error!r}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise OSError(f"Envoy answers {path} by {answer.status}: {body!r}")
    return body


def _port() -> int:
    """Return the port on which it listens; 0: not yet."""
    try:
        listeners = json.loads(_ask("GET", "/listeners?format=json"))["listener_statuses"]
    except (OSError, KeyError):
        return 0
    ports = [each["local_address"]["socket_address"]["port_value"] for each in listeners if each["name"] == LISTENER]
    return int(ports[0]) if ports else 0


def _calls_under_way() -> int:
    stats = json.loads(_ask("GET", f"/stats?format=json&filter=^{CALLS_UNDER_WAY}$"))["stats"]
    return int({stat.get("name"): stat.get("value") for stat in stats}[CALLS_UNDER_WAY])
