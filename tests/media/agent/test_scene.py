"""The simulated scene: what is drawn can be read back, after scaling and after a real encoder."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from media.agent import colour_code
from media.agent.scene import Scene


@given(number=st.integers(0, 255), time=st.floats(0, 4e9))
def test_code_is_read_back(number: int, time: float) -> None:
    luma = np.zeros((90, 160), dtype=np.uint8)
    colour_code.draw(luma, number, time)
    found = colour_code.read(luma)
    assert found is not None
    assert found[0] == number
    assert abs(colour_code.age(found[1], time)) <= 0.011


def test_no_code_in_a_plain_picture() -> None:
    assert colour_code.read(np.full((360, 640), 128, dtype=np.uint8)) is None
    assert colour_code.read(np.zeros((90, 160), dtype=np.uint8)) is None


def test_age_crosses_the_wrap() -> None:
    assert colour_code.age(167772.10, 0.04) == pytest.approx(0.10, abs=0.011)
    assert colour_code.age(0.04, 167772.10) == pytest.approx(-0.10, abs=0.011)


@pytest.mark.parametrize("size", [(160, 90), (320, 180), (640, 360), (1280, 720)])
def test_scene_survives_scaling(size: tuple[int, int]) -> None:
    frame = Scene(name="突击一队", number=7).frame(1000.25, "12:34:56.7")
    luma = np.asarray(Image.fromarray(frame).convert("L").resize(size))
    assert colour_code.read(luma) == (7, 1000.25)


@pytest.mark.parametrize(("codec", "bitrate"), [("libx264", 200_000), ("libvpx", 200_000)])
def test_scene_survives_encoding(codec: str, bitrate: int) -> None:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 640, 360, "yuv420p"
    encoder.bit_rate, encoder.framerate = bitrate, 15
    decoder = av.CodecContext.create("h264" if codec == "libx264" else "vp8", "r")
    scene = Scene(name="无人机二号", number=201)
    seen = []
    packets = []
    for n in range(30):
        picture = av.VideoFrame.from_ndarray(scene.frame(50 + n / 15, "00:00:00.0"), format="rgb24")
        packets += encoder.encode(picture.reformat(format="yuv420p"))
    packets += encoder.encode(None)
    for packet in packets:
        seen += [colour_code.read(frame.to_ndarray(format="gray")) for frame in decoder.decode(packet)]
    good = [found for found in seen if found is not None]
    assert len(good) >= 0.9 * len(seen) > 20
    assert {number for number, _ in good} == {201}
    times = [time for _, time in good]
    assert times == sorted(times)


def test_pictures_move_and_the_tone_is_the_units_own() -> None:
    one, two = Scene(name="甲", number=1), Scene(name="乙", number=2)
    assert (one.frame(10.0, "0") != one.frame(10.5, "0")).mean() > 0.01
    spectrum_one = np.abs(np.fft.rfft(one.tone(0, 4800)))
    spectrum_two = np.abs(np.fft.rfft(two.tone(0, 4800)))
    assert int(spectrum_one.argmax()) * 10 == pytest.approx(385, abs=10)
    assert int(spectrum_two.argmax()) * 10 == pytest.approx(440, abs=10)
