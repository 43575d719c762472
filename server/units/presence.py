"""Which devices are there now, and what they say of themselves. Sans-IO; `wallclock` in s since 1970 UTC.

A device is online while it has a connection (a phone's WebSocket) or a stream that is being published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from server.model.ids import DeviceId

MINUTE: Final = 60.0  # an online device's `last_seen` moves on this often


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """`last_seen` None = not since the server started; `battery` in percent."""

    online: bool = False
    last_seen: float | None = None
    battery: int | None = None
    charging: bool | None = None
    network: str = ""


@dataclass(slots=True)
class _State:
    connections: int = 0
    publishing: bool = False
    last_seen: float | None = None
    battery: int | None = None
    charging: bool | None = None
    network: str = ""

    @property
    def online(self) -> bool:
        return self.connections > 0 or self.publishing


class Presence:
    """Every method that changes something returns whether `seen` is different now."""

    def __init__(self) -> None:
        self._states: dict[DeviceId, _State] = {}

    def connected(self, device: DeviceId, wallclock: float) -> bool:
        """One more connection."""
        state = self._state(device)
        was = state.online
        state.connections += 1
        state.last_seen = wallclock
        return not was

    def disconnected(self, device: DeviceId, wallclock: float) -> bool:
        """One connection less."""
        state = self._state(device)
        state.connections = max(0, state.connections - 1)
        state.last_seen = wallclock
        return not state.online

    def publishing(self, device: DeviceId, is_publishing: bool, wallclock: float) -> bool:
        state = self._state(device)
        if state.publishing == is_publishing:
            return False
        was = state.online
        state.publishing = is_publishing
        state.last_seen = wallclock
        return state.online != was

    def told(self, device: DeviceId, *, battery: int | None, charging: bool | None, network: str) -> bool:
        """What a phone says of itself."""
        state = self._state(device)
        before = (state.battery, state.charging, state.network)
        state.battery, state.charging, state.network = battery, charging, network
        return before != (battery, charging, network)

    def tick(self, wallclock: float) -> list[DeviceId]:
        """Devices whose `last_seen` moved on by a minute; the wall clock may have jumped either way."""
        moved = []
        for device, state in self._states.items():
            if state.online and (state.last_seen is None or abs(wallclock - state.last_seen) >= MINUTE):
                state.last_seen = wallclock
                moved.append(device)
        return moved

    def forget(self, keep: frozenset[DeviceId]) -> None:
        """Drop devices that are not registered any more."""
        for device in [device for device in self._states if device not in keep]:
            del self._states[device]

    def seen(self, device: DeviceId) -> Seen:
        state = self._states.get(device)
        if state is None:
            return Seen()
        return Seen(
            online=state.online,
            last_seen=state.last_seen,
            battery=state.battery,
            charging=state.charging,
            network=state.network,
        )

    def statistics(self) -> dict[str, object]:
        return {"online": sum(1 for state in self._states.values() if state.online)}

    def _state(self, device: DeviceId) -> _State:
        return self._states.setdefault(device, _State())
