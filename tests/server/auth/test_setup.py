"""The set-up code: once, for a quarter of an hour, and not to be guessed."""

from __future__ import annotations

import re

from server.auth.setup import SetupCode


def test_a_code_is_shown_once_and_accepted_as_people_type_it() -> None:
    code = SetupCode(900.0)
    shown = code.renew(0.0)
    assert shown is not None
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}", shown)
    assert code.renew(899.0) is None
    assert code.check(shown, 1.0)
    assert code.check(shown.lower().replace("-", " "), 1.0)
    assert code.check(shown.replace("0", "O").replace("1", "l"), 1.0)


def test_wrong_old_and_forgotten_codes_are_refused() -> None:
    code = SetupCode(900.0)
    shown = code.renew(0.0) or ""
    assert not code.check("", 1.0)
    assert not code.check("0000-0000-0000", 1.0)
    assert not code.check(shown + "0", 1.0)
    assert not code.check(shown, 900.0)
    newer = code.renew(900.0) or ""
    assert newer != shown
    assert not code.check(shown, 901.0)
    assert code.check(newer, 901.0)
    code.forget()
    assert not code.check(newer, 902.0)
    assert not code.check("", 902.0)


def test_ten_wrong_tries_make_a_new_code() -> None:
    code = SetupCode(900.0)
    shown = code.renew(0.0) or ""
    for _ in range(9):
        assert not code.check("0000-0000-0000", 1.0)
    assert code.renew(1.0) is None
    assert not code.check("0000-0000-0000", 1.0)
    assert not code.check(shown, 1.0)
    assert code.renew(1.0) not in (None, shown)


def test_nothing_is_accepted_before_there_is_a_code() -> None:
    assert not SetupCode(900.0).check("", 0.0)
