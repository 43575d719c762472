"""Which camera addresses we connect to (H25 of reliability.md): only what an administrator's networks allow.

Pure. First `camera_address` reads the URL; the shell resolves the host once; `admitted` keeps what is allowed, and
only those addresses are ever connected to, whatever a name resolves to later or a camera answers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from server.model.errors import AddressNotAdmitted

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SCHEMES: Final = {"rtsp": 554, "rtsps": 322}
MAX_URL: Final = 1024

# Nothing here is a camera unless an administrator allows a network that lies within it.
SPECIAL: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8",
        "::1/128",
        "169.254.0.0/16",  # link-local; in clouds the metadata service
        "fe80::/10",
        "0.0.0.0/8",
        "::/128",
        "224.0.0.0/4",
        "ff00::/8",
        "240.0.0.0/4",
    )
)
# IPv4 addresses written as IPv6: mapped, compatible, NAT64, 6to4.
EMBEDDED: Final = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPolicy:
    """`networks` in CIDR form; none = nothing is admitted. `own`: this machine's addresses, `own_ports` its ports."""

    networks: tuple[str, ...] = ()
    ports: tuple[int, ...] = (554, 8554)
    own: frozenset[str] = field(default_factory=frozenset)
    own_ports: frozenset[int] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraAddress:
    """Where a camera is said to be. `literal`: the host is an address and needs no resolving."""

    url: str
    host: str
    port: int
    literal: bool


def camera_address(url: str, policy: CameraPolicy) -> CameraAddress:
    """Read a camera's URL.

    Raises:
        AddressNotAdmitted: not rtsp or rtsps, with credentials in it, a port that is not allowed, no plain host.
    """
    if len(url) > MAX_URL or any(not 32 < ord(character) < 127 for character in url):
        raise _refused("it is too long or has characters that do not belong into an address")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise _refused(str(error)) from error
    if parts.scheme not in SCHEMES:
        raise _refused("it must begin with rtsp:// or rtsps://")
    if "@" in parts.netloc:
        raise _refused("user and password are given apart from it")
    if "\\" in url or not host:
        raise _refused("it names no host")
    port = SCHEMES[parts.scheme] if port is None else port
    if port not in policy.ports:
        raise _refused(f"port {port} is not among ingest.rtsp.ports")
    literal = _literal(host)
    if not literal and _looks_numeric(host):
        raise _refused("the host is a number that is no usual address")
    return CameraAddress(url=url, host=host, port=port, literal=literal)


def admitted(camera: CameraAddress, resolved: Iterable[str], policy: CameraPolicy) -> tuple[str, ...]:
    """The addresses of `resolved` that may be connected to, in their order.

    Raises:
        AddressNotAdmitted: none of them may.
    """
    networks = [ipaddress.ip_network(network, strict=False) for network in policy.networks]
    own = {ipaddress.ip_address(address) for address in policy.own}
    found = []
    for text in dict.fromkeys(resolved):
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
        ours = (address in own or address.is_loopback) and camera.port in policy.own_ports
        if not ours and any(_allows(network, address) for network in networks):
            found.append(str(address))
    if not found:
        raise _refused(f"{camera.host} is in no network of ingest.rtsp.networks")
    return tuple(dict.fromkeys(found))


def _allows(network: Network, address: IpAddress) -> bool:
    if address.version != network.version or address not in network:
        return False
    special = [each for each in SPECIAL if each.version == address.version and address in each]
    return all(
        network.subnet_of(each)  # type: ignore[arg-type]  # same version, checked above
        for each in special
    )


def _plain(address: IpAddress) -> IpAddress:
    """An IPv4 address that hides in an IPv6 one comes out."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    for network, shift in EMBEDDED:
        if address in network and int(address) > 1:  # ::1 is loopback, not 0.0.0.1
            return ipaddress.IPv4Address(int(address) >> shift & 0xFFFF_FFFF)
    return address


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _looks_numeric(host: str) -> bool:
    """2130706433, 0x7f.1, 127.1: resolvers read these as addresses (inet_aton)."""
    last = host.split(".")[-1].lower()
    return last.isdigit() or (last.startswith("0x") and all(c in "0123456789abcdef" for c in last[2:]))


def _refused(reason: str) -> AddressNotAdmitted:
    return AddressNotAdmitted(f"this camera address is not used: {reason}", field="url")
