"""Sealed secrets: readable with their key for their owner, and for nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.auth.sealing import SealBroken, UnsafeKeyFile, load_sealer


def test_sealed_text_opens_for_its_owner_only(tmp_path: Path) -> None:
    sealer = load_sealer(tmp_path)
    sealed = sealer.seal("Pa55 摄像头", "device-1")
    assert "摄像头".encode() not in sealed
    assert sealer.seal("Pa55 摄像头", "device-1") != sealed
    assert load_sealer(tmp_path).open(sealed, "device-1") == "Pa55 摄像头"
    for broken, owner in (
        (sealed, "device-2"),
        (sealed[:-1], "device-1"),
        (b"", "device-1"),
        (bytes([sealed[0] ^ 1]) + sealed[1:], "device-1"),
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), "device-1"),
    ):
        with pytest.raises(SealBroken):
            sealer.open(broken, owner)


def test_key_file_is_private_and_whole(tmp_path: Path) -> None:
    load_sealer(tmp_path)
    key = tmp_path / "secrets.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    key.chmod(0o644)
    with pytest.raises(UnsafeKeyFile) as caught:
        load_sealer(tmp_path)
    assert "chmod 600" in caught.value.remedy
    key.chmod(0o600)
    key.write_bytes(b"short")
    with pytest.raises(UnsafeKeyFile, match="5 bytes"):
        load_sealer(tmp_path)


def test_another_key_file_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    sealed = load_sealer(tmp_path / "a").seal("secret", "x")
    with pytest.raises(SealBroken):
        load_sealer(tmp_path / "b").open(sealed, "x")
