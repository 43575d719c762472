"""`/usr/bin/python3 gstreamer_whip.py URL TOKEN`: publishes with GStreamer's webrtcbin until it is ended.

Only the Python of the system has GStreamer, and it has nothing of this project. The picture is all of one
colour (0x3060c0 in RGB), VP8 and Opus.
"""

from __future__ import annotations

import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

PIPELINE = """
webrtcbin name=peer bundle-policy=max-bundle
videotestsrc is-live=true pattern=solid-color foreground-color=0xff3060c0
  ! video/x-raw,width=320,height=240,framerate=15/1
  ! vp8enc deadline=1 keyframe-max-dist=30 ! rtpvp8pay
  ! application/x-rtp,media=video,encoding-name=VP8,payload=96 ! peer.
audiotestsrc is-live=true ! opusenc ! rtpopuspay
  ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! peer.
"""


def main(url: str, token: str) -> None:
    Gst.init(None)
    pipeline = Gst.parse_launch(PIPELINE)
    peer = pipeline.get_by_name("peer")

    def offered(promise: Gst.Promise) -> None:
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        peer.emit("set-local-description", offer, Gst.Promise.new())
        request = urllib.request.Request(  # noqa: S310 - the test's own server
            url,
            data=offer.sdp.as_text().encode(),
            headers={"Content-Type": "application/sdp", "Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            text = answer.read()
        _, sdp = GstSdp.SDPMessage.new_from_text(text.decode())
        described = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        peer.emit("set-remote-description", described, Gst.Promise.new())

    peer.connect(
        "on-negotiation-needed",
        lambda element: element.emit("create-offer", None, Gst.Promise.new_with_change_func(offered)),
    )
    pipeline.set_state(Gst.State.PLAYING)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
