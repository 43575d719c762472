"""The worker process of one camera pull: `python -m media.ingest.worker`.

Reads one JSON line (`Order`) from standard input, writes JSON lines (`Report`) to standard output, and feeds the
engine over the injection socket. It ends when the camera ends, its input closes, or it is killed; the supervisor
(`media.ingest.workers`) decides what comes next. It has no rights beyond its sockets: no new privileges, another user
when started as root, limits on memory, files and cores; FFmpeg may open nothing but RTSP, RTP, UDP and TCP.
"""

from __future__ import annotations

import contextlib
import ctypes
import encodings.idna  # noqa: F401  loaded now: once the rights are dropped, Python's own files may be out of reach
import os
import resource
import signal
import sys
import threading
import time
from urllib.parse import quote, urlsplit

import av
import av.subtitles.codeccontext
import av.subtitles.stream  # `av` itself loads these only when a container is open, too late as well
import msgspec

from media.ingest.camera import Camera, CameraError
from media.ingest.errors import classify
from media.ingest.injection import InjectionWriter
from media.ingest.splice import Splice
from media.priority import go_back
from media.relay.messages import MediaKind

NOBODY = 65534
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
MEMORY = 1 << 30  # bytes of data
FILES = 64
DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to pull and where to put it; see `media.protocol.StartPull`."""

    url: str
    username: str
    password: str
    addresses: tuple[str, ...]
    transport: str
    injection: str
    video_source: int
    audio_source: int


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`state` "live" (codecs, again when B-frames were seen) or "failed" (error, detail); then nothing more comes."""

    state: str
    error: str = ""
    detail: str = ""
    video_codec: str = ""
    audio_codec: str = ""
    b_frames: bool = False


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    go_back()
    av.logging.set_level(av.logging.PANIC)  # its messages may hold the address with the password
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    sources = {MediaKind.VIDEO: order.video_source, MediaKind.AUDIO: order.audio_source}
    writer = InjectionWriter(order.injection, sources)
    _drop_rights()
    threading.Thread(target=_end_with_input, name="input", daemon=True).start()
    splice: Splice | None = None
    try:
        parts = urlsplit(order.url)
        tls_name = (parts.hostname or "") if parts.scheme == "rtsps" else ""
        splice = Splice(order.addresses, parts.port or DEFAULT_PORTS[parts.scheme], tls_name)
        _pull(order, writer, _local_url(order, splice.port))
        _report(Report(state="failed", error="ended", detail="the camera closed the stream"))
    except CameraError as error:
        _report(Report(state="failed", error=error.code, detail=error.detail))
    except (OSError, av.FFmpegError) as error:
        if splice is not None and splice.cut is not None:
            code, detail = splice.cut.code, str(splice.cut)
        else:
            code, detail = classify(error)
        _report(Report(state="failed", error=code, detail=detail))
    finally:
        if splice is not None:
            splice.close()


def _pull(order: Order, writer: InjectionWriter, url: str) -> None:
    camera = Camera(url, transport=order.transport)
    try:
        report = Report(state="live", video_codec=camera.video_codec, audio_codec=camera.audio_codec)
        _report(report)
        said = False
        for frame in camera.frames():
            if camera.b_frames and not said:
                said = True
                _report(msgspec.structs.replace(report, b_frames=True))
            writer.write(frame, time.monotonic())
    finally:
        camera.close()


def _local_url(order: Order, port: int) -> str:
    """The camera's address as FFmpeg gets it: through the splice, with credentials that appear nowhere else."""
    parts = urlsplit(order.url)
    login = ""
    if order.username:
        login = f"{quote(order.username, safe='')}:{quote(order.password, safe='')}@"
    query = f"?{parts.query}" if parts.query else ""
    return f"rtsp://{login}127.0.0.1:{port}{parts.path or '/'}{query}"


def _drop_rights() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user clears it


def _end_with_input() -> None:
    """The supervisor keeps our input open as long as it wants us."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(0)


def _report(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
