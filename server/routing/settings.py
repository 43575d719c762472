"""What routing is told when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from server.video.admission import CameraPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingSettings:
    """Times in s. `host` "" = every address. `public_address`: in front of this machine, offered besides.

    `grace`: how long a WHEP viewer of a stream that went away is kept for its return.
    """

    host: str = ""
    udp_port: int = 0
    tcp_port: int = 0
    public_address: str = ""
    connect_timeout: float = 15.0
    consent_timeout: float = 30.0
    publishers: int = 200
    viewers: int = 1000
    sound_paths: int = 1000
    full_load: float = 0.8  # share of a core that media may use before new pictures are refused
    recorded: bool = True  # media has a recorder
    grace: float = 30.0
    cameras: CameraPolicy = field(default_factory=CameraPolicy)
