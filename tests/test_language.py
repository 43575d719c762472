"""What the oldest Python that we run on (3.11.2 of Debian 12) does otherwise than the newest, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLEANUP = ("abandon", "close", "drain", "end", "finish", "shutdown", "stop")  # names of functions begin so
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


def _sources() -> dict[str, str]:
    paths = [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
    ]
    assert len(paths) > 300
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def timeouts_in_cleanup(source: str) -> list[int]:
    """Lines of `asyncio.timeout` in what runs while a task is being cancelled: before 3.11.3 it never says TimeoutError
    there but lets the cancellation through, and what was to happen after the deadline does not. `wait_for` does."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Try | ast.TryStar):
            block: list[ast.stmt] = node.finalbody
        elif isinstance(node, ast.AsyncFunctionDef) and node.name.strip("_").startswith(CLEANUP):
            block = node.body
        else:
            continue
        found += [
            inner.lineno
            for statement in block
            for inner in ast.walk(statement)
            if isinstance(inner, ast.Attribute)
            and ast.unparse(inner) in ("asyncio.timeout", "asyncio.timeout_at")
        ]
    return sorted(set(found))


def test_nothing_new_is_raised_where_a_group_is_handled() -> None:
    found = {name: raising_handlers(source) for name, source in _sources().items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_deadlines_of_cleanup_hold_while_a_task_is_cancelled() -> None:
    found = {
        name: timeouts_in_cleanup(source)
        for name, source in _sources().items()
        if not name.startswith("tests")
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_such_a_handler_is_found() -> None:
    source = "try:\n    pass\nexcept* OSError as group:\n    if group:\n        raise ValueError from None\n"
    assert raising_handlers(source) == [3]
    assert raising_handlers(source.replace("raise ValueError from None", "raise")) == []


def test_such_a_deadline_is_found() -> None:
    deadline = "        async with asyncio.timeout(1):\n            pass\n"
    source = "async def {}():\n    try:\n        pass\n    {}:\n" + deadline
    assert timeouts_in_cleanup(source.format("run", "finally")) == [5]
    assert timeouts_in_cleanup(source.format("_stop", "except OSError")) == [5]
    assert timeouts_in_cleanup(source.format("run", "except OSError")) == []
