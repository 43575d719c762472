"""What every message of the WebSocket protocol is built from: bases and bounded field types."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Id = Annotated[str, Meta(pattern=r"^[!-~]{1,64}\Z")]  # printable ASCII
MaybeId = Annotated[str, Meta(pattern=r"^[!-~]{0,64}\Z")]
Text = Annotated[str, Meta(max_length=512)]


class Message(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False, tag_field="type", rename="camel"
):
    """Base: the `type` field tells which."""


class Value(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what messages carry."""


class Command(Message, frozen=True, kw_only=True):
    """Base of commands: each gets exactly one reply with its id; a repeated id gets the first reply again."""

    id: Id
