"""Ports for a server that may be restarted and must find them free again.

The kernel gives clients and port 0 whatever is free of `ip_local_port_range`: also the port of a server that is just
being restarted, of which hundreds of sockets of browsers make use. These lie below it.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

LEAST: Final = 10_240
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def lasting_port() -> int:
    """Free for UDP and TCP on all addresses at this moment, and nobody's by chance later."""
    end = int(_RANGE.read_text().split()[0])
    for port in random.sample(range(LEAST, end), 100):
        if all(_is_free(kind, port) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            return port
    raise AssertionError(f"no free port was found from {LEAST} to {end}")


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET6, kind) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            sock.bind(("::", port))
        except OSError:
            return False
        return True
