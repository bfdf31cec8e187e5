"""Ports are found and judged as servers see them."""

import socket

from holdfast_devstack.ports import free_port, is_taken


def test_free_port_is_not_taken():
    assert not is_taken(free_port())


def test_port_with_a_listener_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert is_taken(listener.getsockname()[1])
