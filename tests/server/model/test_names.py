from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.model.names import clean_name


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("一号员", "一号员"),
        ("  a \t b\n c ", "a b c"),
        ("abc\u202edef", "abcdef"),
        ("a\u200b\u200d\ufeffb", "ab"),
        ("\u0000\u0007x", "x"),
        ("\ud800x", "x"),
        ("e\u0301", "é"),
        ("👩‍🚒", "👩🚒"),
        ("<b>x</b>", "<b>x</b>"),
        ("x" * 100, "x" * 64),
        ("\u202e\u200b", ""),
        ("", ""),
    ],
)
def test_names(typed: str, kept: str) -> None:
    assert clean_name(typed) == kept


@given(st.text(max_size=2000))
def test_any_name_is_short_visible_and_stays_as_it_is(typed: str) -> None:
    name = clean_name(typed)
    assert len(name) <= 64
    assert clean_name(name) == name
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in name)
    name.encode()
