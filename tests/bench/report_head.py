"""How every benchmark's report begins, and the lines in which people read it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, where, of what and how."""

    bench: str
    machine: dict[str, str | int | float]
    versions: dict[str, str]
    method: dict[str, object]


def first_lines(report: Head, names: Sequence[str], to_reach: Mapping[str, str]) -> list[str]:
    """The machine, then a line a figure, with what is to be reached beside it."""
    lines = [
        f"{report.machine['processor']}, {report.machine['cores']} cores; fengsui {report.versions['fengsui']}"
    ]
    for name in names:
        value = getattr(report, name)
        shown = "-" if value is None else f"{value:g}"
        lines.append(f"{name:22} {shown:>9}   {to_reach.get(name, '')}".rstrip())
    return lines


def json_of(report: Head) -> str:
    return msgspec.json.encode(report).decode()
