"""A strip of black and white blocks in a picture that says which stream it is and when it was drawn.

Two rows of 20 blocks at the bottom of the picture hold 40 bits: stream number (8), time in hundredths of a
second modulo 2^24 (24), CRC-8 of both (8). Blocks are large enough to survive scaling to 160x90 and low-rate
encoding, so that a test can read from any viewer's picture *which* stream it shows and how old it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COLUMNS = 20
ROWS = 2
STRIP = 0.1  # share of the picture's height
PERIOD = 1 << 24  # hundredths of a second

BLACK, WHITE = 16, 235


def _crc8(data: bytes) -> int:
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else (crc << 1) & 0xFF
    return crc


def draw(luma: NDArray[np.uint8], number: int, time: float) -> None:
    """Draw the code into a (height, width) or (height, width, 3) picture, in place.

    `number` 0–255; `time` in seconds of any clock that the reader shares, >= 0.
    """
    height, width = luma.shape[:2]
    body = bytes([number & 0xFF]) + (int(time * 100) % PERIOD).to_bytes(3, "big")
    bits = int.from_bytes(body + bytes([_crc8(body)]), "big")
    top = height - round(height * STRIP)
    for row in range(ROWS):
        y0 = top + (height - top) * row // ROWS
        y1 = top + (height - top) * (row + 1) // ROWS
        for column in range(COLUMNS):
            bit = bits >> (ROWS * COLUMNS - 1 - row * COLUMNS - column) & 1
            luma[y0:y1, width * column // COLUMNS : width * (column + 1) // COLUMNS] = WHITE if bit else BLACK


def read(luma: NDArray[np.uint8]) -> tuple[int, float] | None:
    """Read (number, time) from a (height, width) picture of any size, or None where no valid code stands."""
    height, width = luma.shape
    top = height - round(height * STRIP)
    bits = 0
    for row in range(ROWS):
        y = round(top + (height - top) * (row + 0.5) / ROWS)
        for column in range(COLUMNS):
            x = round(width * (column + 0.5) / COLUMNS)
            patch = luma[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            bits = bits << 1 | int(float(patch.mean()) > (BLACK + WHITE) / 2)
    raw = bits.to_bytes(5, "big")
    if _crc8(raw[:4]) != raw[4]:
        return None
    return raw[0], int.from_bytes(raw[1:4], "big") / 100


def age(drawn: float, now: float) -> float:
    """Seconds from `drawn` (as read) to `now` on the same clock, across the code's wrap-around."""
    period = PERIOD / 100
    difference = (now - drawn) % period
    return difference - period if difference > period / 2 else difference
