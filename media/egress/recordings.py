"""The node's side of recording: one worker process for all recordings, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import structlog

from media.egress.recorder import Alive, Begin, Report
from media.egress.seam import Apply, Tell
from media.protocol import RECORDER_TAP, RecordingState, StartRecording, StopRecording
from media.relay.messages import AddTap

MAX_RECORDINGS: Final = 500  # at once
FIRST_WAIT: Final = 0.2  # s until a worker that died is started again, doubled up to
LONGEST_WAIT: Final = 10.0
STEADY: Final = 30.0  # s after which the wait starts from the beginning
SILENT: Final = 6.0  # s without a sign of life, then it hangs
FINISHING: Final = 0.5  # s that we wait for its last pages; it goes on without us
MAX_REPORT: Final = 64 * 1024
REPORTS: Final = 256  # read at once
OVER: Final = frozenset({"ended", "failed"})


class WorkerRecordings:
    """Fulfils `media.egress.seam.Recordings`. `folder` holds the tap's socket, recordings go below `root`.

    What does not fit into the worker's socket is refused and counted, not kept: a worker so slow is of no use to it.
    While there is no worker, recordings wait (MAX_RECORDINGS) and begin late.
    """

    def __init__(self, folder: Path, root: str, reserve: int, apply: Apply, tell: Tell) -> None:
        self._tap = str(folder / "recorder")
        self._root = root
        self._reserve = reserve
        self._tell = tell
        self._active: dict[str, StartRecording] = {}
        self._sent: set[str] = set()  # recordings that the present worker has
        self._channel: socket.socket | None = None
        self._heard = 0.0
        self._counters = Counter[str]()
        self._workers = Counter[str]()  # of the workers before the present one
        self._worker = Counter[str]()
        self._reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        error = apply([AddTap(tap=RECORDER_TAP, path=self._tap)])
        if error:
            raise RuntimeError(f"the engine refused the recorder's tap: {error}")

    def start(self, request: StartRecording) -> str:
        if request.recording in self._active:
            return "this recording is already running"
        if len(self._active) >= MAX_RECORDINGS:
            self._counters["recordings_refused"] += 1
            return f"{MAX_RECORDINGS} recordings are running; no more fit"
        self._active[request.recording] = request
        if self._channel is not None and not self._send(request):
            del self._active[request.recording]
            return "the recorder does not keep up"
        return ""

    def stop(self, recording: str) -> str:
        request = self._active.get(recording)
        if request is None:
            return "this recording is not running"
        if recording not in self._sent:
            del self._active[recording]
            self._tell(RecordingState(recording=recording, state="failed", detail="recorder_away"))
            return ""
        return (
            ""
            if self._send(StopRecording(number=0, recording=recording))
            else "the recorder does not keep up"
        )

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        wait = FIRST_WAIT
        while True:
            began = loop.time()
            code = await self._once()
            cut = [recording for recording in self._sent if recording in self._active]
            self._log.error("recorder_died", code=code, cut=len(cut))
            self._counters["recorder_deaths"] += 1
            for recording in cut:
                del self._active[recording]
                self._tell(RecordingState(recording=recording, state="failed", detail="recorder_died"))
            self._sent.clear()
            if loop.time() - began >= STEADY:
                wait = FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    def counters(self) -> dict[str, int]:
        return {
            **(self._counters + self._workers + self._worker),
            "recordings": len(self._active),
        }

    # ------------------------------------------------------------------ one worker

    async def _once(self) -> int:
        """One life of a worker; its exit code."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "media.egress.recorder",
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
            )
            theirs.close()
            gone = asyncio.Event()
            self._heard = loop.time()
            ours.send(msgspec.msgpack.encode(Begin(tap=self._tap, folder=self._root, reserve=self._reserve)))
            loop.add_reader(ours.fileno(), self._spoke, ours, gone, loop)
            try:
                await self._until_gone(gone, loop)
            finally:
                self._channel = None
                loop.remove_reader(ours.fileno())
                ours.close()  # now it ends
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), FINISHING)
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                self._workers, self._worker = self._workers + self._worker, Counter()
            return await process.wait()

    async def _until_gone(self, gone: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        """Until it closed its socket, or hangs."""
        while not gone.is_set():
            if loop.time() - self._heard > SILENT:
                self._counters["recorder_hung"] += 1
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await gone.wait()

    def _spoke(self, ours: socket.socket, gone: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(REPORTS):
            try:
                data = ours.recv(MAX_REPORT)
                report = self._reports.decode(data) if data else None
            except BlockingIOError:
                return
            except (OSError, msgspec.DecodeError):
                report = None
            if report is None:
                loop.remove_reader(ours.fileno())
                gone.set()
                return
            self._heard = loop.time()
            if self._channel is None:  # its first word: it reads the tap now
                self._channel = ours
                for request in tuple(self._active.values()):
                    self._send(request)
            if isinstance(report, Alive):
                self._worker = Counter(report.counters)
            else:
                self._told(report)

    def _told(self, report: RecordingState) -> None:
        if report.recording not in self._active:
            return
        if report.state in OVER:
            del self._active[report.recording]
            self._sent.discard(report.recording)
            if report.state == "failed":
                self._log.warning("recording_failed", recording=report.recording, detail=report.detail)
        self._tell(report)

    def _send(self, message: StartRecording | StopRecording) -> bool:
        """At once and by ourselves: a transport of the loop might wait until its next turn, after the packets."""
        if self._channel is None:
            return False
        try:
            self._channel.send(msgspec.msgpack.encode(message))
        except OSError:
            self._counters["recordings_orders_dropped"] += 1
            return False
        if isinstance(message, StartRecording):
            self._sent.add(message.recording)
        return True
