"""How the server is: rows of /health with a plain remedy each, and whether /ready may say yes.

Each row is one line of CHECKS below; a row that is not well is logged when it becomes so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import text

from server.datafolder import MEGABYTE, REFUSE_BELOW, WARN_BELOW, free_bytes
from server.model.clock import Clock
from server.recordings import files
from server.recordings.recorder import SpurtRecorder
from server.signalling.entities import Device, HealthRow, Stream
from server.state import EntityStore
from server.storage.engine import Database, StorageAway
from server.tls import CertificateInfo

EVERY: Final = 2.0  # s
SLOW: Final = 1.0  # s until the database counts as slow
PLAUSIBLE_AFTER: Final = 1_767_225_600.0  # 2026-01-01; a clock before that was never set
CERTIFICATE_WARNING: Final = 14 * 86400.0
LOW, VERY_LOW = 0.10, 0.05  # of the recordings' disk free
RECENT: Final = 600.0  # s that a trouble which is over is still told
NAMED: Final = 5  # cameras that are told by name

log = structlog.get_logger("server.health")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`state` ok | warning | error; `value` in `unit`."""

    state: str
    detail: str = ""
    remedy: str = ""
    value: float | None = None
    unit: str = ""


OK: Final = Finding(state="ok")


class Health:
    """`run` puts the rows into the store; `checks` are what /ready asks."""

    def __init__(
        self,
        store: EntityStore,
        clock: Clock,
        *,
        data: Path,
        database: Database,
        media_up: Callable[[], bool],
        media_restarts: Callable[[], int],
        set_up: Callable[[], bool],
        certificate: Callable[[], CertificateInfo],
        loop: Callable[[], Mapping[str, object]],
        clients: Callable[[], Mapping[str, object]],
        bus: Callable[[], Mapping[str, object]] | None = None,
        recorder: SpurtRecorder | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._data = data
        self._database = database
        self._media_up = media_up
        self._media_restarts = media_restarts
        self._set_up = set_up
        self._certificate = certificate
        self._loop = loop
        self._clients = clients
        self._rows: dict[str, tuple[str, Callable[[], Awaitable[Finding]]]] = {
            "media": ("media process", self._media),
            "storage": ("database", self._storage),
            "disk": ("data folder's disk", self._disk),
            "certificate": ("TLS certificate", self._tls),
            "clock": ("clock", self._wallclock),
            "loop": ("event loop", self._event_loop),
            "cameras": ("cameras", self._cameras),
            "clients": ("consoles and phones", self._sockets),
        }
        if bus is not None:  # there are other nodes to be connected with
            self._rows["bus"] = ("Redis", lambda: _bus(bus()))
        if recorder is not None and recorder.folder is not None:
            self._rows["recordings"] = ("recordings", lambda: recordings_finding(recorder))
        self._states: dict[str, str] = {}
        self._stalls = 0
        self._restarts = 0
        self._restarted_at = float("-inf")
        self._failures = 0
        self._cut_off = 0
        self._cut_off_at = float("-inf")

    @property
    def checks(self) -> dict[str, Callable[[], Awaitable[str]]]:
        """What must be well for /ready; each answers "" or one word."""

        async def set_up() -> str:
            return "" if self._set_up() else "needs-set-up"

        async def media() -> str:
            return "" if self._media_up() else "away"

        async def storage() -> str:
            return "" if (await self._storage()).state == "ok" else "away"

        async def disk() -> str:
            return "full" if free_bytes(self._data) < REFUSE_BELOW else ""

        return {"setup": set_up, "media": media, "storage": storage, "disk": disk}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for name, (shown, check) in self._rows.items():
                finding = await check()
                self._note(name, finding)
                self._store.put(
                    HealthRow(
                        id=name,
                        name=shown,
                        state=finding.state,
                        detail=finding.detail,
                        remedy=finding.remedy,
                        value=finding.value,
                        unit=finding.unit,
                        at=round(self._clock.wallclock()),
                    )
                )
            await asyncio.sleep(EVERY)

    def warnings(self) -> list[str]:
        """What an operator should know at the start."""
        free = free_bytes(self._data)
        low = [f"only {free // MEGABYTE} MB free on the data folder's disk"] if free < WARN_BELOW else []
        never = self._clock.wallclock() < PLAUSIBLE_AFTER
        return [*low, *(["this machine's clock is wrong; set it or start NTP"] if never else [])]

    def statistics(self) -> dict[str, object]:
        return {
            "not_well": sum(state != "ok" for state in self._states.values()),
            "became_bad_total": self._failures,
        }

    def _note(self, name: str, finding: Finding) -> None:
        before = self._states.get(name, "ok")
        self._states[name] = finding.state
        if finding.state == before:
            return
        if finding.state == "ok":
            log.info("well again", part=name)
            return
        self._failures += 1
        log.warning("not well", part=name, state=finding.state, detail=finding.detail, remedy=finding.remedy)

    # ------------------------------------------------------------------ one method a row

    async def _media(self) -> Finding:
        if not self._media_up():
            return Finding(
                state="error",
                detail="the media process is being started again",
                remedy="wait a moment; if it stays away, look at the log for its reason",
            )
        restarts, now = self._media_restarts(), self._clock.now()
        if restarts != self._restarts:
            self._restarts, self._restarted_at = restarts, now
        if now - self._restarted_at < RECENT:
            return Finding(
                state="warning",
                detail="the media process was restarted in the last ten minutes",
                remedy="look at the log for its reason",
                value=float(restarts),
            )
        return Finding(state="ok", value=float(restarts))

    async def _storage(self) -> Finding:
        began = self._clock.now()
        try:
            async with asyncio.timeout(EVERY), self._database.read() as connection:
                await connection.execute(text("SELECT 1"))
        except (StorageAway, TimeoutError) as error:
            return Finding(
                state="error",
                detail=f"the database does not answer: {error}",
                remedy="look at the disk and at storage.url; calls and pictures go on meanwhile",
            )
        took = self._clock.now() - began
        return Finding(state="warning" if took > SLOW else "ok", value=round(took * 1000), unit="ms")

    async def _disk(self) -> Finding:
        free = await asyncio.to_thread(free_bytes, self._data)
        if free >= WARN_BELOW:
            return Finding(state="ok", value=free // MEGABYTE, unit="MB")
        return Finding(
            state="error" if free < REFUSE_BELOW else "warning",
            detail=f"{free // MEGABYTE} MB are free",
            remedy=f"make room on the disk of {self._data}",
            value=free // MEGABYTE,
            unit="MB",
        )

    async def _tls(self) -> Finding:
        left = self._certificate().not_after - self._clock.wallclock()
        days = left // 86400
        if left > CERTIFICATE_WARNING:
            return Finding(state="ok", value=days, unit="d")
        return Finding(
            state="error" if left <= 0 else "warning",
            detail="the TLS certificate has expired" if left <= 0 else f"it expires in {days:g} days",
            remedy="replace the files of tls.certificate and tls.key; they are taken over without a restart",
            value=days,
            unit="d",
        )

    async def _wallclock(self) -> Finding:
        if self._clock.wallclock() >= PLAUSIBLE_AFTER:
            return OK
        return Finding(
            state="warning", detail="this machine's clock was never set", remedy="set it, or start NTP"
        )

    async def _event_loop(self) -> Finding:
        told = self._loop()["stalls_total"]
        stalls = told if isinstance(told, int) else 0
        new, self._stalls = stalls - self._stalls, stalls
        if new <= 0:
            return Finding(state="ok", value=float(stalls))
        return Finding(
            state="warning",
            detail=f"held up {new} times just now",
            remedy="the machine is too busy; the log says what took long",
            value=float(stalls),
        )

    async def _cameras(self) -> Finding:
        """Cameras that should be pulled and give no picture, each with its cause."""
        devices = (device for device in self._store.all("device") if isinstance(device, Device))
        names = {device.id: device.name for device in devices if device.kind == "rtsp" and not device.revoked}
        without = [
            f"{names[stream.device]} ({stream.cause or stream.state})"
            for stream in self._store.all("stream")
            if isinstance(stream, Stream) and stream.device in names and stream.state != "live"
        ]
        if not without:
            return Finding(state="ok", value=0.0)
        more = f" and {len(without) - NAMED} more" if len(without) > NAMED else ""
        return Finding(
            state="warning",
            detail=f"no picture from {', '.join(sorted(without)[:NAMED])}{more}",
            remedy="the list of streams says of each how far it came and what to do",
            value=float(len(without)),
        )

    async def _sockets(self) -> Finding:
        told = self._clients()
        counts = [told.get("goodbye_too_slow_total", 0), told.get("not_reading_total", 0)]
        cut_off, now = sum(count for count in counts if isinstance(count, int)), self._clock.now()
        if cut_off > self._cut_off:
            self._cut_off_at = now
        self._cut_off = cut_off
        connections = told.get("connections", 0)
        value = float(connections) if isinstance(connections, int) else 0.0
        if now - self._cut_off_at >= RECENT:
            return Finding(state="ok", value=value)
        return Finding(
            state="warning",
            detail="a console or phone that did not keep up was cut off in the last ten minutes",
            remedy="it came back by itself; if it repeats look at its network and close tabs on its machine",
            value=value,
        )


async def _bus(told: Mapping[str, object]) -> Finding:
    if told["connected"]:
        return OK
    return Finding(
        state="error",
        detail="Redis does not answer; this server works alone",
        remedy="look at the Redis server and at bus.url; the connection comes back by itself",
    )


async def recordings_finding(recorder: SpurtRecorder) -> Finding:
    """Room for recordings (P16): a warning at 10 % of the disk, an error at 5 %."""
    assert recorder.folder is not None  # noqa: S101  the caller looked
    try:
        free, total = await asyncio.to_thread(files.room, recorder.folder)
    except OSError as error:
        return Finding(
            state="error",
            detail=f"the recordings folder cannot be used: {error.strerror}",
            remedy="look at recordings.folder, its disk and its owner; talk goes on without being recorded",
        )
    value = round(100 * free / total, 1) if total else 0.0
    if recorder.disk_full or value < 100 * VERY_LOW:
        detail = (
            "recordings stopped: the disk is full"
            if recorder.disk_full
            else f"{value:g} % of the disk are free"
        )
        remedy = "make room, or lower recordings.keep_days; talk goes on"
        return Finding(state="error", detail=detail, remedy=remedy, value=value, unit="%")
    if value < 100 * LOW:
        return Finding(
            state="warning",
            detail=f"{value:g} % of the disk are free",
            remedy="make room, or lower recordings.keep_days",
            value=value,
            unit="%",
        )
    return Finding(state="ok", value=value, unit="%")
