"""What a relay engine says that it measured."""

from __future__ import annotations

from typing import Any

from media.relay.messages import LayerStatistics


def measured_layer(bitrate: int, **others: Any) -> LayerStatistics:
    """A layer of which only this matters, and what a test says besides."""
    plain: dict[str, Any] = {
        **{"rid": "", "ssrc": 1, "codec": 1, "packets": 1, "bytes": 1, "frames_per_second": 25.0, "lost": 0},
        **{"jitter": 0.0, "key_frames": 1, "width": 0, "height": 0, "last_packet_age": 0.0},
    }
    return LayerStatistics(bitrate=bitrate, **(plain | others))
