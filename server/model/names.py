"""Names that people type: made safe to show, compare and cut (H21). Pure."""

from __future__ import annotations

import unicodedata
from typing import Final

MAX_NAME: Final = 64  # characters

# What may stay of the categories that are otherwise removed: nothing shows without a glyph, nothing turns direction.
_REMOVED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def clean_name(text: str, limit: int = MAX_NAME) -> str:
    """`text` in NFC without control, format (bidi, zero-width), surrogate and unassigned characters; runs of white
    space are one space; at most `limit` characters, "" when nothing is left."""
    kept = (
        " " if character.isspace() else character
        for character in unicodedata.normalize("NFC", text[: limit * 16])
        if character.isspace() or unicodedata.category(character) not in _REMOVED
    )
    return " ".join("".join(kept).split())[:limit].rstrip()
