"""The data folder: private, one server at a time, with room."""

from __future__ import annotations

import os
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from server.datafolder import FolderUnusable, folder_lock, metrics_token, prepare_folder


def test_it_is_made_private_and_stays_so(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "data"
    prepare_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    prepare_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir()) == []


def test_a_full_disk_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage(10**9, 10**9, 19_999_999))
    with pytest.raises(FolderUnusable, match="19 MB free, at least 20") as caught:
        prepare_folder(tmp_path / "data")
    assert "make room" in caught.value.remedy


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a tmpfs of 1 MiB")
def test_a_really_full_disk_stops_the_start(tmp_path: Path) -> None:
    """P16"""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    try:
        with pytest.raises(FolderUnusable, match="the disk of"):
            prepare_folder(tmp_path / "data")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderUnusable, match="cannot be written") as caught:
        prepare_folder(tmp_path / "file" / "data")
    assert "server.data" in caught.value.remedy


def test_one_server_at_a_time(tmp_path: Path) -> None:
    with (
        folder_lock(tmp_path),
        pytest.raises(FolderUnusable, match=f"process {os.getpid()}"),
        folder_lock(tmp_path),
    ):
        pass
    with folder_lock(tmp_path):
        pass


def test_metrics_token_is_made_once(tmp_path: Path) -> None:
    path = metrics_token(tmp_path)
    first = path.read_text()
    assert len(first.strip()) == 43
    assert path.stat().st_mode & 0o777 == 0o600
    assert metrics_token(tmp_path).read_text() == first
