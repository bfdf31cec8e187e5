"""A service listens on all addresses of its machine, and can be reached on its own machine."""

import socket
from unittest.mock import AsyncMock

import pytest
from prometheus_client import CollectorRegistry

from holdfast_chassis.listening import EVERY_ADDRESS, authority, listening_address, own_address
from holdfast_chassis.metrics import MetricsServer


@pytest.fixture
def without_ipv6(monkeypatch):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)


def test_every_address_is_every_ipv4_address_on_a_machine_without_ipv6(without_ipv6):
    assert listening_address(EVERY_ADDRESS) == "0.0.0.0"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_an_address_that_was_chosen_is_listened_on_and_asked(without_ipv6, host):
    assert listening_address(host) == own_address(host) == host


@pytest.mark.parametrize("host", ["::", "0.0.0.0"])
def test_what_listens_on_every_address_is_asked_on_loopback(host):
    """Over IPv4, because a container may have no IPv6 address, not even that of loopback."""
    assert own_address(host) == "127.0.0.1"


def test_an_ipv6_address_is_written_in_brackets():
    assert (authority("::1", 80), authority("127.0.0.1", 80)) == ("[::1]:80", "127.0.0.1:80")


async def reached(host):
    """Return which addresses of loopback reach a metrics server on `host`."""
    server = MetricsServer(CollectorRegistry(), host, 0, AsyncMock())
    await server.start()
    try:
        return [address for address in ("127.0.0.1", "::1") if is_reached(address, server.bound_port)]
    finally:
        await server.stop()


def is_reached(address, port):
    try:
        socket.create_connection((address, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


async def test_metrics_are_served_on_every_address():
    assert await reached(EVERY_ADDRESS) == ["127.0.0.1", "::1"]


async def test_metrics_are_served_on_a_machine_without_ipv6(without_ipv6):
    assert await reached(EVERY_ADDRESS) == ["127.0.0.1"]


async def test_metrics_are_served_on_ipv6_alone_where_that_is_asked_for():
    assert await reached("::1") == ["::1"]
