"""How far a file is whole: files cut and damaged anywhere, and the recorder's own pages against other programs."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.egress import ogg as writing
from server.recordings.ogg import NotOgg, probe
from support.spurts import ogg
from support.talking import decoding_complaints, probed, tone

WHOLE = ogg(5.0, tags=(("RECORDING", "r-1"), ("STARTED", "12.5"), ("名", "值")))


def test_a_whole_file() -> None:
    found = probe(WHOLE)
    assert (found.duration, found.whole, found.over) == (5.0, len(WHOLE), True)
    assert found.tags["RECORDING"] == "r-1"
    assert found.tags["STARTED"] == "12.5"


def test_the_checksum_is_that_of_the_specification() -> None:
    def slow(data: bytes) -> int:
        crc = 0
        for byte in data:
            crc ^= byte << 24
            for _ in range(8):
                crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
        return crc

    for data in (b"", b"\0", b"a", bytes(range(256)), random.Random(1).randbytes(999)):
        assert writing.checksum(data) == slow(data)


@given(cut=st.integers(0, len(WHOLE)), junk=st.binary(max_size=40))
def test_a_file_that_ends_anywhere_plays_to_its_last_whole_page(cut: int, junk: bytes) -> None:
    try:
        found = probe(WHOLE[:cut] + junk)
    except NotOgg:
        assert cut < 200
        return
    assert found.whole <= cut + len(junk)
    assert probe(WHOLE[: found.whole]).duration == found.duration
    assert found.over == (found.whole == len(WHOLE))
    if len(WHOLE) > cut > 400:
        assert not found.over
        assert found.duration >= 5.0 * (cut - 250) / (len(WHOLE) - 250) - 0.45


@given(at=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_ends_it_there(at: int, bit: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[at] ^= 1 << bit
    try:
        found = probe(bytes(damaged))
    except NotOgg:
        assert at < 200
        return
    assert not found.over
    assert found.whole <= at


@given(data=st.binary(max_size=300))
def test_bytes_at_random(data: bytes) -> None:
    for start in (b"", b"OggS", WHOLE[:47], WHOLE[:150]):
        with contextlib.suppress(NotOgg):
            probe(start + data)


def test_64_kib_of_anything_take_no_time() -> None:
    for data in (b"OggS" * 16_384, bytes(65_536), (WHOLE * 100)[:65_536], random.Random(2).randbytes(65_536)):
        began = time.perf_counter()
        with contextlib.suppress(NotOgg):
            probe(data)
        assert time.perf_counter() - began < 0.25


packets = st.lists(
    st.tuples(st.integers(1, 1300) | st.sampled_from([254, 255, 256, 510, 7662]), st.just(960)),
    min_size=1,
    max_size=60,
)


@given(sizes=packets, page=st.sampled_from([0, 960, 9600, 48_000]), flushes=st.sets(st.integers(0, 60)))
def test_pages_of_packets_of_any_size(sizes: list[tuple[int, int]], page: int, flushes: set[int]) -> None:
    writer = writing.OggOpusWriter(1, page)
    data = writer.head(())
    for index, (size, samples) in enumerate(sizes):
        data += writer.add(b"\xf8" + bytes(size - 1), samples)
        if index in flushes:
            data += writer.flush()
            assert probe(data).duration * 48_000 == writer.written
    data += writer.finish()
    found = probe(data)
    assert (found.over, found.whole, round(found.duration * 50)) == (True, len(data), len(sizes))


@pytest.mark.parametrize("cut", [0, 1, 500, 3000])
def test_other_programs_play_what_was_cut(tmp_path: Path, cut: int) -> None:
    writer = writing.OggOpusWriter(1, 19_200)
    data = writer.head((("RECORDING", "x"),))
    for packet in tone(2.0):
        data += writer.add(packet, 960)
    data += writer.finish()
    file = tmp_path / "cut.ogg"
    file.write_bytes(data[: len(data) - cut])
    found = probe(file.read_bytes())
    file.write_bytes(data[: found.whole])
    assert abs(probed(file) - found.duration) < 0.02
    assert decoding_complaints(file) == ""
