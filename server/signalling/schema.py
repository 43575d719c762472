"""TypeScript types of all messages, made from `messages.py`: `python -m server.signalling.schema > …/src/messages.ts`.

What the server sends has every field. What a client sends may leave out a field that has a default.
"""

from __future__ import annotations

import sys
import textwrap
import types
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from server.signalling.entities import ENTITY_KINDS, Change
from server.signalling.messages import (
    RESULTS,
    SCHEMA,
    ClientCommand,
    HelloClient,
    HelloServer,
    Ping,
    Reply,
    ServerMessage,
)
from server.signalling.talk import FloorAlive

HEAD: Final = """\
/** Made by `python -m server.signalling.schema`; do not edit. Times: s since 1970 UTC. */
"""
# What the console calls a type otherwise than Python does.
NAMES: Final[dict[type, str]] = {HelloServer: "Hello"}
WIDTH: Final = 120

SERVER: Final[tuple[type[msgspec.Struct], ...]] = get_args(ServerMessage)
COMMANDS: Final[tuple[type[msgspec.Struct], ...]] = get_args(ClientCommand)
CLIENT: Final[tuple[type[msgspec.Struct], ...]] = (HelloClient, Ping, FloorAlive)
PLAIN: Final[dict[object, str]] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
    msgspec.Raw: "unknown",
}


def typescript() -> str:
    """The whole file, the same for the same messages."""
    sent = list(reachable((*SERVER, *ENTITY_KINDS.values(), *RESULTS.values())))
    taken = [kind for kind in reachable((*CLIENT, *COMMANDS)) if kind not in sent]
    parts = [HEAD, f"export const SCHEMA = {SCHEMA};\n"]
    parts += [_interface(kind, optional=False) for kind in sent]
    parts += [_entities()]
    parts += [_interface(kind, optional=True) for kind in taken if kind not in COMMANDS]
    parts += [_alias("ServerMessage", [_name(kind) for kind in SERVER]), _commands()]
    return "\n".join(parts)


def reachable(roots: tuple[type, ...]) -> Iterator[type[msgspec.Struct]]:
    """Each struct that a root has a field of, before what has it; a root after its fields."""
    seen: set[type] = set()

    def visit(kind: Any) -> Iterator[type[msgspec.Struct]]:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if kind in seen:
                return
            seen.add(kind)
            for hint in get_type_hints(kind, include_extras=True).values():
                yield from visit(hint)
            yield kind
        for part in get_args(kind):
            yield from visit(part)

    for root in roots:
        yield from visit(root)


def _interface(kind: type[msgspec.Struct], *, optional: bool) -> str:
    lines = [*_comment(kind), f"export interface {_name(kind)} {{"]
    tag = kind.__struct_config__.tag
    if tag is not None:
        lines.append(f'  type: "{tag}";')
    lines += [f"  {field};" for field in _fields(kind, optional=optional)]
    return "\n".join([*lines, "}", ""])


def _fields(kind: type[msgspec.Struct], *, optional: bool) -> Iterator[str]:
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        mark = "?" if optional and not field.required else ""
        shown = _type(hints[field.name])
        if kind is Change and field.name == "value":
            shown = "Entities[Kind] | null"
        if kind is Reply and field.name == "result":
            shown = "unknown"
        yield f"{field.encode_name}{mark}: {shown}"


def _entities() -> str:
    lines = [f"  {kind}: {_name(entity)};" for kind, entity in ENTITY_KINDS.items()]
    return "\n".join(["export interface Entities {", *lines, "}", "export type Kind = keyof Entities;", ""])


def _commands() -> str:
    lines = [
        "/** Fields of each command beside `type` and `id`, and what its reply carries. */",
        "export interface Commands {",
    ]
    results: dict[type, type] = dict(RESULTS)
    for kind in COMMANDS:
        fields = [field for field in _fields(kind, optional=True) if not field.startswith("id: ")]
        result = results.get(kind)
        lines += [f"  {line}" for line in _comment(kind)]
        lines.append(f'  "{kind.__struct_config__.tag}": {{')
        lines.append(
            f"    fields: {{ {'; '.join(fields)} }};" if fields else "    fields: Record<never, never>;"
        )
        lines += [f"    result: {_name(result) if result else 'null'};", "  };"]
    return "\n".join([*lines, "}", "export type CommandType = keyof Commands;", ""])


def _alias(name: str, options: list[str]) -> str:
    line = f"export type {name} = {' | '.join(options)};"
    if len(line) > WIDTH:
        line = f"export type {name} =\n  | " + "\n  | ".join(options) + ";"
    return line + "\n"


def _comment(kind: type) -> list[str]:
    """The first paragraph of its docstring."""
    sentence = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    if len(sentence) <= WIDTH - 10:
        return [f"/** {sentence} */"] if sentence else []
    return ["/**", *(f" * {line}" for line in textwrap.wrap(sentence, WIDTH - 10)), " */"]


def _name(kind: type) -> str:
    return NAMES.get(kind, kind.__name__)


def _type(hint: Any) -> str:
    """A type annotation in TypeScript. Raises TypeError for one that is not used in messages yet."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return " | ".join(f'"{part}"' for part in parts)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(_type(part) for part in parts))
    if origin is tuple and len(parts) == 2 and parts[1] is Ellipsis:
        inner = _type(parts[0])
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _name(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    raise TypeError(f"{hint!r} has no TypeScript form here")


if __name__ == "__main__":
    sys.stdout.write(typescript())
