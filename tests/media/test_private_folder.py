"""The folder of the media process for its workers' sockets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from media.private_folder import PREFIX, private_folder

HOLD = (
    "import sys, pathlib; from media.private_folder import private_folder\n"
    "with private_folder(pathlib.Path(sys.argv[1])) as folder:\n"
    "    (folder / 'recorder').touch(); print(folder, flush=True); sys.stdin.read()"
)


def test_it_is_gone_at_the_end_and_for_nobody_else(tmp_path: Path) -> None:
    with private_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_killed_process_is_removed_and_that_of_a_living_one_kept(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        with private_folder(tmp_path):
            assert (theirs / "recorder").exists()
        other.kill()
        other.wait(10)
        assert (theirs / "recorder").exists()
        with private_folder(tmp_path) as ours:
            assert list(tmp_path.iterdir()) == [ours]


def test_what_only_has_its_name_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    with private_folder(tmp_path):
        pass
    assert {one.name for one in tmp_path.iterdir()} == {"elsewhere", f"{PREFIX}file", f"{PREFIX}link"}
