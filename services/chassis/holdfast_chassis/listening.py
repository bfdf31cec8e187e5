"""The addresses on which a service listens, and at which its own machine reaches it."""

import socket

EVERY_ADDRESS = "::"
"""The default address of services: every address, IPv4 and IPv6."""
_EVERY_IPV4_ADDRESS = "0.0.0.0"  # noqa: S104 - what a machine without IPv6 has instead


def listening_address(host: str) -> str:
    """Return the address to listen on for the setting `host`: a machine without IPv6 has IPv4 addresses only."""
    return _EVERY_IPV4_ADDRESS if host == EVERY_ADDRESS and not socket.has_dualstack_ipv6() else host


def own_address(host: str) -> str:
    """Return the address with which this machine connects to its own service on `host`."""
    return "127.0.0.1" if host in {EVERY_ADDRESS, _EVERY_IPV4_ADDRESS} else host


def authority(host: str, port: int) -> str:
    """Return host and port as in a URL: an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def take_ipv4_too(listener: socket.socket) -> None:
    """Let a listener on every IPv6 address accept IPv4 connections, too, regardless of the machine's default."""
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
