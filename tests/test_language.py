"""What the oldest Python that we run on (3.11.2 of Debian 12) does otherwise than the newest, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("media", "radio_bridge", "satellite", "server", "tests", "web_console")


def raising_handlers(source: str) -> list[int]:
    """Lines of `except*` in whose block something new is raised: before 3.11.4 that comes out inside a group."""
    return [
        handler.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.TryStar)
        for handler in node.handlers
        for inner in ast.walk(handler)
        if isinstance(inner, ast.Raise) and inner.exc is not None
    ]


def test_nothing_new_is_raised_where_a_group_is_handled() -> None:
    sources = [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
    ]
    assert len(sources) > 300
    found = {
        str(path.relative_to(ROOT)): raising_handlers(path.read_text(encoding="utf-8")) for path in sources
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_such_a_handler_is_found() -> None:
    source = "try:\n    pass\nexcept* OSError as group:\n    if group:\n        raise ValueError from None\n"
    assert raising_handlers(source) == [3]
    assert raising_handlers(source.replace("raise ValueError from None", "raise")) == []
