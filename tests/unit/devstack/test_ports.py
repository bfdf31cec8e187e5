"""Ports are found and judged as servers see them."""

import socket
from contextlib import closing

import pytest

from holdfast_devstack.ports import free_port, is_taken


def test_free_port_is_not_taken():
    assert not is_taken(free_port())


def test_no_free_port_is_given_twice():
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == 500


def test_no_free_port_is_one_that_servers_get_who_take_any():
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        assert free_port() < server.getsockname()[1]


def test_port_with_a_listener_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert is_taken(listener.getsockname()[1])


def test_port_is_looked_at_by_the_address_of_its_host():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        assert is_taken(listener.getsockname()[1], "::1")
    assert not is_taken(free_port(), "::1")


def test_host_of_another_machine_is_no_taken_port():
    with pytest.raises(OSError, match="Cannot assign"):
        is_taken(free_port(), "192.0.2.1")
