"""Our ICE candidates: host candidates of an ICE-lite agent, UDP and TCP passive (RFC 8445 5.3, RFC 6544, RFC 8839)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

UDP_PREFERENCE: Final = 126
TCP_PREFERENCE: Final = 90  # below every UDP candidate: TCP is for networks that let nothing else through
TCP_PASSIVE: Final = 2 << 13  # direction preference of a passive candidate (RFC 6544 4.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An address we can be reached at."""

    host: str
    port: int
    tcp: bool = False


def candidates_for(hosts: Iterable[str], udp_port: int, tcp_port: int) -> tuple[Candidate, ...]:
    """One UDP and one TCP candidate for each host, best first; port 0 = none of that kind."""
    hosts = tuple(dict.fromkeys(hosts))
    udp = [Candidate(host=host, port=udp_port) for host in hosts if udp_port]
    tcp = [Candidate(host=host, port=tcp_port, tcp=True) for host in hosts if tcp_port]
    return (*udp, *tcp)


def candidate_lines(candidates: Sequence[Candidate]) -> list[str]:
    """`a=candidate` lines in the given order of preference, ended by `a=end-of-candidates`."""
    lines = []
    for index, candidate in enumerate(candidates):
        if candidate.tcp:
            priority = TCP_PREFERENCE << 24 | (TCP_PASSIVE + 0x1FFF - index) << 8 | 255
            tail = "tcp {} {} {} typ host tcptype passive"
        else:
            priority = UDP_PREFERENCE << 24 | (65535 - index) << 8 | 255
            tail = "udp {} {} {} typ host"
        lines.append(f"a=candidate:{index + 1} 1 " + tail.format(priority, candidate.host, candidate.port))
    return [*lines, "a=end-of-candidates"]


def connection_line(candidates: Sequence[Candidate]) -> tuple[int, str]:
    """Port and c= line of the first UDP candidate: what peers without ICE would use (RFC 8839 4.2.1.2)."""
    first = next((each for each in candidates if not each.tcp), None)
    if first is None:
        return 9, "c=IN IP4 0.0.0.0"
    family = "IP6" if ipaddress.ip_address(first.host).version == 6 else "IP4"
    return first.port, f"c=IN {family} {first.host}"
