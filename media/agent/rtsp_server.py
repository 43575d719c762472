"""An RTSP camera from raw pictures on standard input, by GStreamer's RTSP server.

Run by the system's Python (Debian: python3-gst-1.0, gir1.2-gst-rtsp-server-1.0), not by the project's: it imports only
the standard library and `gi`. Reads width*height*3-byte RGB pictures; serves the newest one to every client, so
a client that comes late or leaves never holds old pictures up. Prints the bound port as its first line.
"""

from __future__ import annotations

import argparse
import array
import math
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  the version must be required first

VIDEO = {
    "h264": (
        "x264enc tune=zerolatency speed-preset=superfast bitrate={kbps} key-int-max={gop} ! "
        "video/x-h264,profile=baseline ! rtph264pay name=pay0 pt=96 config-interval=1"
    ),
    "h264-bframes": (
        "x264enc speed-preset=superfast bframes=2 b-adapt=false bitrate={kbps} key-int-max={gop} ! "
        "video/x-h264,profile=main ! rtph264pay name=pay0 pt=96 config-interval=1"
    ),
    "mjpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
}
SOUND = (
    "appsrc name=sound is-live=true do-timestamp=true format=time "
    "caps=audio/x-raw,format=S16LE,layout=interleaved,rate=8000,channels=1 ! audioconvert ! audioresample ! "
)
AUDIO = {
    "none": "",
    "pcma": SOUND + "alawenc ! rtppcmapay name=pay1 pt=8",
    "pcmu": SOUND + "mulawenc ! rtppcmupay name=pay1 pt=0",
    "aac": SOUND + "audio/x-raw,rate=16000 ! voaacenc bitrate=32000 ! aacparse ! rtpmp4gpay name=pay1 pt=97",
}
SOUND_STEP = 320  # samples in 40 ms


def tone(start: int) -> bytes:
    """40 ms of a 500 Hz tone that sounds for 0.2 s of each second, from sample `start`."""
    samples = (
        int(6000 * math.sin(2 * math.pi * 500 * n / 8000)) if n % 8000 < 1600 else 0
        for n in range(start, start + SOUND_STEP)
    )
    return array.array("h", samples).tobytes()


class Newest:
    """The newest picture read from a file; the reader never waits for a consumer."""

    def __init__(self, size: int) -> None:
        self.picture = bytes(size)
        self._size = size

    def read_for_ever(self, stop: GLib.MainLoop) -> None:
        while picture := sys.stdin.buffer.read(self._size):
            if len(picture) == self._size:
                self.picture = picture
        stop.quit()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0")
    parser.add_argument("--path", default="/live")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--rate", type=int, default=15)
    parser.add_argument("--kbps", type=int, default=700)
    parser.add_argument("--video", choices=sorted(VIDEO), default="h264")
    parser.add_argument("--audio", choices=sorted(AUDIO), default="pcma")
    parser.add_argument("--user", default="")
    args = parser.parse_args()
    password = sys.stdin.buffer.readline().decode().strip()  # first line, so that no process list shows it

    Gst.init(None)
    loop = GLib.MainLoop()
    newest = Newest(args.width * args.height * 3)
    threading.Thread(target=newest.read_for_ever, args=(loop,), daemon=True).start()

    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    factory = GstRtspServer.RTSPMediaFactory()
    video = VIDEO[args.video].format(kbps=args.kbps, gop=args.rate * 2)
    factory.set_launch(
        f"( appsrc name=pictures is-live=true do-timestamp=true format=time "
        f"caps=video/x-raw,format=RGB,width={args.width},height={args.height},framerate={args.rate}/1 ! "
        f"videoconvert ! video/x-raw,format=I420 ! {video} {AUDIO[args.audio]} )"
    )
    factory.set_shared(True)

    def configured(_: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
        source = media.get_element().get_by_name("pictures")

        def push() -> bool:
            flow = source.emit("push-buffer", Gst.Buffer.new_wrapped(newest.picture))
            return bool(flow == Gst.FlowReturn.OK)

        GLib.timeout_add(1000 // args.rate, push)
        if (sound := media.get_element().get_by_name("sound")) is None:
            return
        start = time.monotonic()
        sent = 0

        def push_sound() -> bool:
            nonlocal sent
            flow = Gst.FlowReturn.OK
            while sent < (time.monotonic() - start) * 8000 and flow == Gst.FlowReturn.OK:
                flow = sound.emit("push-buffer", Gst.Buffer.new_wrapped(tone(sent)))
                sent += SOUND_STEP
            return bool(flow == Gst.FlowReturn.OK)

        GLib.timeout_add(40, push_sound)

    factory.connect("media-configure", configured)
    if args.user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.set_supported_methods(2)  # digest
        auth.add_digest(args.user, password, token)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.from_string(
                "viewer,media.factory.access=(boolean)true,media.factory.construct=(boolean)true"
            )[0]
        )
    server.get_mount_points().add_factory(args.path, factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
