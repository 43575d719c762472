"""What a media process is told when it starts."""

from __future__ import annotations

import msgspec


class MediaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Handed over as JSON on the command line; control makes it from its own configuration.

    `engine`: "python", "native" (in Rust, where `.ci/setup` built it) or "auto", the native one where it is there.
    Rates in bit/s. `max_transports`: peers at once, connected or not. `handshakes_per_second`: DTLS
    handshakes begun; more have to repeat their hello, so that a storm of joins cannot starve others' packets.
    """

    log_level: str = "info"
    engine: str = "auto"
    start_bitrate: int = 1_000_000
    max_bitrate: int = 20_000_000
    max_transports: int = 5_000
    handshakes_per_second: int = 200
    statistics_interval: float = 1.0
    pull_retry_min: float = 1.0  # s until a camera is tried again, doubled up to pull_retry_max
    pull_retry_max: float = 60.0
    recordings: str = ""  # folder that recordings are written below, "" = nothing is recorded
    recordings_reserve: int = 0  # bytes of that disk that recordings leave to others


def load_settings(text: str) -> MediaSettings:
    """Raises msgspec.DecodeError (and its ValidationError) with the name of what is wrong."""
    return msgspec.json.decode(text.encode(), type=MediaSettings)
