"""The built front end: which hashed files belong to which page, and the files themselves, read once at start.

`make build` writes `static/`: the files, `manifest.json` (by Vite) and `.source-hash` (by .ci/setup), a digest of the
sources the build was made from. A build that is missing or older than its sources stops the start: a page that does
not fit the server it talks to is worse than none.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
STATIC: Final = HERE / "static"
SOURCES: Final = HERE / "frontend"
PREFIX: Final = "/static/"
REMEDY: Final = "run `make build` in the checkout"

_COMPRESSIBLE: Final = frozenset(
    {"text/css", "text/javascript", "image/svg+xml", "application/json", "application/manifest+json"}
)


class FrontEndMissing(Exception):
    """The console's files cannot be served. `problem` says what is wrong, `remedy` what to do."""

    def __init__(self, problem: str, remedy: str = REMEDY) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file, ready to be sent. `packed`: gzip of `body`, None where that saves nothing. `hashed`: its name changes
    with its content, so a browser may keep it for ever."""

    body: bytes
    packed: bytes | None
    content_type: str
    hashed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one page loads, as paths below the server's root."""

    script: str
    preload: tuple[str, ...]
    styles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnd:
    """Everything built. `assets` by path below `PREFIX`; `entries` by page name."""

    assets: dict[str, Asset]
    entries: dict[str, Entry]

    @classmethod
    def load(cls, static: Path = STATIC, sources: Path = SOURCES) -> FrontEnd:
        """Read the build. Raises FrontEndMissing."""
        manifest_file = static / "manifest.json"
        try:
            manifest = json.loads(manifest_file.read_bytes())
            entries = dict(_entries(manifest))
        except FileNotFoundError:
            raise FrontEndMissing("the console's front end has not been built") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FrontEndMissing(f"{manifest_file} cannot be read ({error})") from error
        if sources.is_dir():
            try:
                built_from = (static / ".source-hash").read_text(encoding="ascii")
            except (OSError, ValueError):
                raise FrontEndMissing("it is not known from which sources the front end was built") from None
            if built_from != source_hash(sources):
                raise FrontEndMissing("the console's front end is older than its sources")
        assets = {
            path.relative_to(static).as_posix(): _asset(path, hashed=path.parent != static)
            for path in sorted(static.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and path != manifest_file
        }
        for entry in entries.values():
            for url in (entry.script, *entry.preload, *entry.styles):
                if url.removeprefix(PREFIX) not in assets:
                    raise FrontEndMissing(f"{url} is in the manifest but was not built")
        return cls(assets=assets, entries=entries)


def source_hash(sources: Path) -> str:
    """SHA-256 over names and contents of the sources, hex; the same number as `frontend_build` of .ci/setup makes."""
    lines = sorted(_source_files(sources, b"."))
    digest = hashlib.sha256()
    for name in lines:
        content = hashlib.sha256((sources / os.fsdecode(name)).read_bytes()).hexdigest()
        digest.update(content.encode() + b"  " + name + b"\n")
    return digest.hexdigest()


def _source_files(folder: Path, name: bytes) -> Iterator[bytes]:
    for item in os.scandir(folder):
        if item.name == "node_modules" or (item.name.startswith(".") and item.name != ".npmrc"):
            continue
        below = name + b"/" + os.fsencode(item.name)
        if item.is_dir(follow_symlinks=False):
            yield from _source_files(folder / item.name, below)
        elif item.is_file(follow_symlinks=False):
            yield below


def _entries(manifest: dict[str, dict[str, object]]) -> Iterator[tuple[str, Entry]]:
    """Raises KeyError, TypeError, AttributeError on a manifest of another shape."""
    for chunk in manifest.values():
        if not chunk.get("isEntry"):
            continue
        chunks = list(_with_imports(manifest, chunk, set()))
        yield (
            str(chunk["name"]),
            Entry(
                script=PREFIX + str(chunk["file"]),
                preload=tuple(PREFIX + str(one["file"]) for one in chunks[1:]),
                styles=tuple(
                    dict.fromkeys(PREFIX + css for one in chunks[::-1] for css in _names(one, "css"))
                ),
            ),
        )


def _with_imports(
    manifest: dict[str, dict[str, object]], chunk: dict[str, object], seen: set[str]
) -> Iterator[dict[str, object]]:
    yield chunk
    for key in _names(chunk, "imports"):
        if key not in seen:
            seen.add(key)
            yield from _with_imports(manifest, manifest[key], seen)


def _names(chunk: dict[str, object], key: str) -> tuple[str, ...]:
    value = chunk.get(key, [])
    if not isinstance(value, list):
        raise TypeError(f"{key} is no list")
    return tuple(str(one) for one in value)


def _asset(path: Path, *, hashed: bool) -> Asset:
    body = path.read_bytes()
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    packed = gzip.compress(body, 9, mtime=0) if content_type in _COMPRESSIBLE else None
    if packed is not None and len(packed) >= len(body):
        packed = None
    return Asset(body=body, packed=packed, content_type=content_type, hashed=hashed)
