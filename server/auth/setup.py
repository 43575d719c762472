"""The one-time set-up code that makes the first administrator. Sans-IO.

12 characters of Crockford's base 32 (60 random bits), valid for a quarter of an hour, made anew on expiry, after
`MAX_WRONG` wrong tries and at every start. It is only printed where the server was started.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # without I, L, O, U
LENGTH: Final = 12
MAX_WRONG: Final = 10
_READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": ""})


class SetupCode:
    """`renew` is to be called about once a second; a new code is to be shown to the operator."""

    def __init__(self, valid_for: float) -> None:
        self._valid_for = valid_for
        self._code = ""
        self._until = 0.0
        self._wrong = 0

    def renew(self, now: float) -> str | None:
        """A new code when there is none or it has expired or was guessed at too often, else None."""
        if self._code and now < self._until and self._wrong < MAX_WRONG:
            return None
        self._code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        self._until = now + self._valid_for
        self._wrong = 0
        return self.shown

    @property
    def shown(self) -> str:
        """As people read it: XXXX-XXXX-XXXX."""
        return "-".join(self._code[start : start + 4] for start in range(0, len(self._code), 4))

    def check(self, offered: str, now: float) -> bool:
        """Whether this is the code now; counts a wrong one."""
        typed = offered.upper().translate(_READ_AS)[: LENGTH + 1]
        valid = bool(self._code) and now < self._until and self._wrong < MAX_WRONG
        if valid and hmac.compare_digest(typed.encode(), self._code.encode()):
            return True
        self._wrong += 1
        return False

    def forget(self) -> None:
        """It has done its work: nothing is accepted until `renew`."""
        self._code = ""
