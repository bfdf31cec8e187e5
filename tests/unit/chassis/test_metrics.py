"""The metrics port."""

import asyncio
import socket
import struct
import threading
import urllib.error
import urllib.request

import pytest
from prometheus_client import Counter, Gauge

from holdfast_chassis import metrics
from holdfast_chassis.metrics import MetricsServer, new_registry


@pytest.fixture
def registry():
    return new_registry()


async def told(path):
    return (200, b"fine") if path == "/health/live" else (503, b"not yet")


@pytest.fixture
async def server(registry):
    server = MetricsServer(registry, "127.0.0.1", 0, told)
    await server.start()
    yield server
    await server.stop()


async def get(server, path="/metrics"):
    def fetch():
        with urllib.request.urlopen(f"http://127.0.0.1:{server.bound_port}{path}", timeout=10) as answer:
            return answer.read().decode()

    return await asyncio.to_thread(fetch)


async def test_metrics_of_the_registry_the_process_and_the_interpreter_are_served(registry, server):
    Counter("holdfast_reservations", "Reservations made.", registry=registry).inc(3)
    text = await get(server)
    assert "holdfast_reservations_total 3.0" in text
    assert "process_resident_memory_bytes" in text
    assert "python_info" in text


async def test_health_is_what_the_service_says(server):
    assert await get(server, "/health/live") == "fine"
    with pytest.raises(urllib.error.HTTPError) as refused:
        await get(server, "/health/ready")
    with refused.value as answer:
        assert (answer.code, answer.read()) == (503, b"not yet")


async def test_a_service_whose_event_loop_hangs_is_not_alive(registry, monkeypatch):
    monkeypatch.setattr(metrics, "_HEALTH_SECONDS", 0.1)

    async def never(_):
        await asyncio.Event().wait()

    server = MetricsServer(registry, "127.0.0.1", 0, never)
    await server.start()
    with pytest.raises(urllib.error.HTTPError) as refused:
        await get(server, "/health/live")
    with refused.value as answer:
        assert answer.code == 503
    await server.stop()


async def test_nothing_else_is_served(server):
    with pytest.raises(urllib.error.HTTPError) as refused:
        await get(server, "/")
    with refused.value as answer:
        assert answer.code == 404


async def test_a_scrape_does_not_need_the_event_loop(registry, server):
    """A collector that blocks until the loop moves on would hang here if it ran in the loop."""
    asked, may_answer = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def value():
        loop.call_soon_threadsafe(asked.set)
        assert may_answer.wait(10)
        return 1.0

    Gauge("holdfast_slow", "Slow.", registry=registry).set_function(value)
    scrape = asyncio.create_task(get(server))
    await asked.wait()
    may_answer.set()
    assert "holdfast_slow 1.0" in await scrape


async def test_stopping_frees_the_port_and_may_be_repeated(registry):
    server = MetricsServer(registry, "127.0.0.1", 0, told)
    await server.stop()
    await server.start()
    port = server.bound_port
    await server.stop()
    await server.stop()
    with pytest.raises(RuntimeError):
        _ = server.bound_port
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))


async def test_a_taken_port_is_an_error(server, registry):
    with pytest.raises(OSError, match="in use"):
        await MetricsServer(registry, "127.0.0.1", server.bound_port, told).start()


async def test_a_scraper_that_goes_away_is_logged_and_harms_nothing(server, monkeypatch):
    logged = asyncio.Queue()
    loop = asyncio.get_running_loop()

    class Log:
        def warning(self, event, **details):
            loop.call_soon_threadsafe(logged.put_nowait, event)

    monkeypatch.setattr(metrics, "log", Log())
    with socket.create_connection(("127.0.0.1", server.bound_port)) as scraper:
        # Closing with linger 0 resets the connection, as a killed scraper does.
        scraper.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert await logged.get() == "scrape_failed"
    assert "python_info" in await get(server)
