"""`python ffmpeg_whip.py URL TOKEN NUMBER [OPTION=VALUE ...]`: publishes a scene with FFmpeg's whip muxer (PyAV).

A process of its own: the muxer does its whole handshake inside calls that keep the interpreter to themselves.
"""

from __future__ import annotations

import sys
import time

import av
import numpy as np

from media.agent.scene import Scene

RATE = 15
PACKET = 960  # samples


def main(url: str, token: str, number: int, options: dict[str, str]) -> None:
    """Publish until the process is ended."""
    scene = Scene(name="FFmpeg", number=number, width=320, height=180)
    with av.open(url, "w", format="whip", options={"authorization": token} | options) as output:
        video = output.add_stream(
            "libx264", rate=RATE, options={"profile": "baseline", "tune": "zerolatency"}
        )
        video.width, video.height, video.pix_fmt, video.gop_size = 320, 180, "yuv420p", RATE
        audio = output.add_stream("libopus", rate=48_000, layout="stereo")
        silence = np.zeros((1, PACKET * 2), np.int16)
        begun, pictures, samples = time.monotonic(), 0, 0
        while True:
            now = time.monotonic() - begun
            if pictures <= now * RATE:
                picture = av.VideoFrame.from_ndarray(scene.frame(time.time(), "ffmpeg"), format="rgb24")
                picture.pts = pictures
                pictures += 1
                output.mux(video.encode(picture))
            elif samples <= now * 48_000:
                sound = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
                sound.sample_rate, sound.pts = 48_000, samples
                samples += PACKET
                output.mux(audio.encode(sound))
            else:
                time.sleep(0.005)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), dict(each.split("=", 1) for each in sys.argv[4:]))
