"""WHIP by other hands: FFmpeg's muxer, which wants to be the DTLS server, and GStreamer's webrtcbin."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from server.model.ids import StreamId
from support.media_site import Player, media_site

ROOT = Path(__file__).resolve().parents[2]
CAM = StreamId("1-main")


@contextlib.asynccontextmanager
async def peer(
    script: str, *arguments: str, python: str = sys.executable
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A peer as a process of its own, from tests/support."""
    process = await asyncio.create_subprocess_exec(
        python,
        str(ROOT / "tests" / "support" / script),
        *arguments,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def certificate(tmp_path: Path) -> list[str]:
    """Options for a certificate on P-256. FFmpeg with GnuTLS makes its own on P-224, which OpenSSL 4 knows no more."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(made.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return [f"cert_file={cert_file}", f"key_file={key_file}"]


@pytest.mark.parametrize("role", ["server", "client"])
async def test_ffmpeg_publishes_in_either_dtls_role(role: str, certificate: list[str]) -> None:
    options = certificate if role == "server" else [*certificate, "whip_flags=dtls_active"]
    async with (
        media_site() as site,
        peer("ffmpeg_whip.py", site.url("/whip"), "fsd_1_good", "55", *options),
    ):
        await site.until_live()
        async with Player(site.http, site.url("/whep/1-main"), "fsd_2_good") as watching:
            await watching.until_shows(55)
            assert await watching.samples() == 0
        view = site.routing.stream(CAM)
        assert view is not None
        assert ([layer.codec for layer in view.layers], view.audio) == (["h264"], "opus")


async def test_gstreamer_publishes() -> None:
    async with (
        media_site() as site,
        peer("gstreamer_whip.py", site.url("/whip"), "fsd_1_good", python="/usr/bin/python3"),
    ):
        await site.until_live()
        async with Player(site.http, site.url("/whep/1-main"), "fsd_2_good") as watching:
            picture = await watching.picture()
            assert picture.shape == (240, 320)
            # 0x3060c0 is 95 in the luma of BT.601 studio range
            assert abs(float(picture.mean()) - 95) < 4
            assert max([await watching.samples() for _ in range(25)]) > 500
        view = site.routing.stream(CAM)
        assert view is not None
        assert ([layer.codec for layer in view.layers], view.audio) == (["vp8"], "opus")
