"""The link to the database carries all bytes, and makes requests late but not answers."""

import asyncio
import socket
import threading
import time
from contextlib import suppress

import pytest

from lab.bench.delay import DatabaseLink

DELAY_SECONDS = 0.02
WAIT_SECONDS = 30


@pytest.fixture
def echo_port():
    """An echo server."""

    def serve():
        connection, _ = listener.accept()
        with connection, suppress(ConnectionResetError):  # So a link ends.
            while data := connection.recv(65_536):
                connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT_SECONDS)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(WAIT_SECONDS)


def echoed(client, sent):
    client.sendall(sent)
    received = b""
    while len(received) < len(sent):
        received += client.recv(65_536)
    return received


def test_a_round_trip_is_late_by_no_less_than_the_delay_and_whole(echo_port):
    with DatabaseLink(echo_port) as link, socket.create_connection(("127.0.0.1", link.port), WAIT_SECONDS) as client:
        assert echoed(client, b"read" * 50_000) == b"read" * 50_000
        link.request_delay_seconds = DELAY_SECONDS
        began = time.monotonic()
        assert echoed(client, b"append") == b"append"
        assert time.monotonic() - began >= DELAY_SECONDS


def test_answers_are_not_late_too(echo_port, monkeypatch):
    slept = []
    sleep = asyncio.sleep

    async def noted(seconds):
        slept.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr("lab.bench.delay.asyncio.sleep", noted)
    with DatabaseLink(echo_port) as link, socket.create_connection(("127.0.0.1", link.port), WAIT_SECONDS) as client:
        link.request_delay_seconds = DELAY_SECONDS
        echoed(client, b"append")
        assert slept == [DELAY_SECONDS]
