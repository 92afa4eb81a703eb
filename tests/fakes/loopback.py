"""Addresses on loopback."""

import socket


def free_port() -> int:
    """Return a port that nobody has at this moment; who wants it tries again where somebody else was faster."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
