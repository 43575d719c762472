"""The addresses of this machine: offered to clients, written into the certificate, accepted as our own origin."""

from __future__ import annotations

import ipaddress
import socket

import ifaddr

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def interface_addresses() -> list[str]:
    """Addresses that another machine could reach, IPv4 first; loopback only when there is no other. Link-local ones
    are left out: they mean nothing without an interface."""
    found: list[Address] = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            found.append(ipaddress.ip_address(text.partition("%")[0]))
    useful = [one for one in found if not (one.is_link_local or one.is_multicast or one.is_unspecified)]
    reachable = [one for one in useful if not one.is_loopback] or useful
    ordered = sorted(set(reachable), key=lambda one: (one.version, int(one)))
    return [str(one) for one in ordered]


def host_names() -> list[str]:
    """This machine's name, and localhost."""
    name = socket.gethostname().strip().rstrip(".").lower()
    return list(dict.fromkeys([*([name] if name else []), "localhost"]))


def url_host(host: str) -> str:
    """As it stands in an address: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
