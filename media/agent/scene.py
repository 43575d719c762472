"""A simulated field unit's picture and sound: its name, a running clock, something that moves, a tone.

Pure: a picture is a function of (unit, time). Used by the demo, by simulated units and by tests.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from media.agent import colour_code

FONTS: Sequence[str] = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
)
PALETTE: Sequence[tuple[int, int, int]] = (
    (38, 84, 124),
    (106, 76, 48),
    (52, 96, 60),
    (96, 52, 88),
    (84, 88, 40),
    (44, 96, 104),
)
SAMPLE_RATE = 48_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One unit's picture. `number` 0–255 is in the colour code; width and height are even pixels."""

    name: str
    number: int
    width: int = 640
    height: int = 360

    def frame(self, wallclock: float, clock: str) -> NDArray[np.uint8]:
        """The picture at `wallclock` (s since 1970) with `clock` written into it: (height, width, 3) RGB."""
        picture = _background(self.name, self.number, self.width, self.height).copy()
        self._move(picture, wallclock)
        text = _text(clock, max(16, self.height // 12))
        top, left = self.height // 4, self.width // 20
        picture[top : top + text.shape[0], left : left + text.shape[1]] = text[
            : picture.shape[0] - top, : picture.shape[1] - left
        ]
        colour_code.draw(picture, self.number, wallclock)
        return picture

    def _move(self, picture: NDArray[np.uint8], wallclock: float) -> None:
        radius = self.height // 9
        x = self.width * (0.5 + 0.38 * math.sin(wallclock * 1.1))
        y = self.height * (0.6 + 0.15 * math.sin(wallclock * 1.7))
        y0, y1 = int(y) - radius, int(y) + radius
        x0, x1 = max(0, int(x) - radius), min(self.width, int(x) + radius)
        rows, columns = np.ogrid[y0:y1, x0:x1]
        inside = (rows - y) ** 2 + (columns - x) ** 2 < radius * radius
        picture[y0:y1, x0:x1][inside] = (245, 185, 66)

    def tone(self, start: int, count: int) -> NDArray[np.int16]:
        """`count` samples (48 kHz mono int16) from `start`: a soft tone of the unit's own pitch, 0.2 s each s."""
        n = np.arange(start, start + count)
        envelope = (n % SAMPLE_RATE < SAMPLE_RATE // 5) * 0.2
        pitch = 330 + 55 * (self.number % 12)
        return (envelope * 32767 * np.sin(2 * np.pi * pitch * n / SAMPLE_RATE)).astype(np.int16)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for path in FONTS:
        if Path(path).exists():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)


@functools.lru_cache(maxsize=16)
def _background(name: str, number: int, width: int, height: int) -> NDArray[np.uint8]:
    colour = np.array(PALETTE[number % len(PALETTE)], dtype=np.float32)
    shade = np.linspace(1.35, 0.6, height, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(np.clip(colour * shade, 0, 255), (height, width, 3)).astype(np.uint8)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    draw.text((width // 20, height // 14), name, font=_font(height // 8), fill=(255, 255, 255))
    return np.asarray(image)


@functools.lru_cache(maxsize=256)
def _glyph(character: str, size: int) -> NDArray[np.uint8]:
    font = _font(size)
    image = Image.new("RGB", (math.ceil(font.getlength(character)), size + size // 3), (11, 15, 20))
    ImageDraw.Draw(image).text((0, 0), character, font=font, fill=(230, 237, 243))
    return np.asarray(image)


def _text(text: str, size: int) -> NDArray[np.uint8]:
    return np.concatenate([_glyph(character, size) for character in text], axis=1)
