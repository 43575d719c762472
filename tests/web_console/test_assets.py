"""The built front end: what is accepted, and what stops the start."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from web_console.assets import SOURCES, FrontEnd, FrontEndMissing, source_hash

MANIFEST: dict[str, Any] = {
    "src/entries/console.tsx": {
        "file": "assets/console-1.js",
        "name": "console",
        "src": "src/entries/console.tsx",
        "isEntry": True,
        "imports": ["_shared-2.js"],
        "css": ["assets/console-3.css"],
    },
    "_shared-2.js": {
        "file": "assets/shared-2.js",
        "name": "shared",
        "imports": ["_deep-4.js"],
        "css": ["assets/base-5.css"],
    },
    "_deep-4.js": {"file": "assets/deep-4.js", "name": "deep", "imports": ["_shared-2.js"]},
}
FILES = ("console-1.js", "console-3.css", "shared-2.js", "base-5.css", "deep-4.js")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "frontend"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a.ts").write_text("export const a = 1;\n")
    (folder / "package.json").write_text("{}\n")
    return folder


@pytest.fixture
def static(tmp_path: Path, sources: Path) -> Path:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    for name in FILES:
        (folder / "assets" / name).write_text("x" * 2000)
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    (folder / ".source-hash").write_text(source_hash(sources))
    return folder


def test_a_page_gets_its_script_what_that_imports_and_styles_in_their_order(
    static: Path, sources: Path
) -> None:
    entry = FrontEnd.load(static, sources).entries["console"]
    assert entry.script == "/static/assets/console-1.js"
    assert entry.preload == ("/static/assets/shared-2.js", "/static/assets/deep-4.js")
    assert entry.styles == ("/static/assets/base-5.css", "/static/assets/console-3.css")


def test_files_are_read_packed_where_that_helps_and_never_the_build_s_own(
    static: Path, sources: Path
) -> None:
    assets = FrontEnd.load(static, sources).assets
    assert set(assets) == {*(f"assets/{name}" for name in FILES), "favicon.svg"}
    script = assets["assets/console-1.js"]
    assert script.content_type == "text/javascript"
    assert script.hashed
    assert script.packed is not None
    assert gzip.decompress(script.packed) == script.body == b"x" * 2000
    icon = assets["favicon.svg"]
    assert not icon.hashed
    assert icon.packed is None


def problem(static: Path, sources: Path) -> str:
    with pytest.raises(FrontEndMissing) as raised:
        FrontEnd.load(static, sources)
    assert "make build" in str(raised.value)
    return raised.value.problem


def test_nothing_built(tmp_path: Path, sources: Path) -> None:
    assert problem(tmp_path / "none", sources) == "the console's front end has not been built"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"a": {"isEntry": true}}', '{"a": {"isEntry": true, "imports": 3}}']
)
def test_a_broken_manifest(static: Path, sources: Path, text: str) -> None:
    (static / "manifest.json").write_text(text)
    assert "cannot be read" in problem(static, sources)


def test_a_build_older_than_its_sources(static: Path, sources: Path) -> None:
    (sources / "src" / "a.ts").write_text("export const a = 2;\n")
    assert problem(static, sources) == "the console's front end is older than its sources"


def test_a_source_that_was_removed_or_renamed_counts(static: Path, sources: Path) -> None:
    (sources / "src" / "a.ts").rename(sources / "src" / "b.ts")
    assert "older" in problem(static, sources)


def test_a_build_of_unknown_sources(static: Path, sources: Path) -> None:
    (static / ".source-hash").unlink()
    assert "not known from which sources" in problem(static, sources)


def test_a_file_of_the_manifest_is_gone(static: Path, sources: Path) -> None:
    (static / "assets" / "deep-4.js").unlink()
    assert problem(static, sources) == "/static/assets/deep-4.js is in the manifest but was not built"


def test_installed_without_sources_there_is_nothing_to_be_older_than(static: Path, tmp_path: Path) -> None:
    assert "console" in FrontEnd.load(static, tmp_path / "none").entries


def test_what_npm_installs_and_hidden_files_are_no_sources(static: Path, sources: Path) -> None:
    before = source_hash(sources)
    (sources / "node_modules" / "x").mkdir(parents=True)
    (sources / "node_modules" / "x" / "y.js").write_text("z")
    (sources / ".cache").write_text("z")
    os.symlink("a.ts", sources / "src" / "link.ts")
    assert source_hash(sources) == before
    (sources / ".npmrc").write_text("z")
    assert source_hash(sources) != before


def test_the_hash_is_the_one_that_set_up_writes() -> None:
    """The lines of `frontend_build` in .ci/setup, run over the real sources."""
    setup = (SOURCES.parent.parent / ".ci" / "setup").read_text(encoding="utf-8")
    start = setup.index('value=$(cd "$frontend" && find')
    script = setup[start : setup.index("\n  [", start)].replace("$frontend", str(SOURCES))
    written = subprocess.run(
        ["bash", "-c", script + '\nprintf %s "$value"'], check=True, capture_output=True, text=True
    ).stdout
    assert len(written) == 64
    assert source_hash(SOURCES) == written
