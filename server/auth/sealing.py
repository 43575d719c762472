"""Secrets that we must be able to read again (camera passwords): AES-256-GCM with a key file of mode 0600.

The sealed text is bound to its owner, so that it cannot be moved to another row of the database.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.model.errors import FengsuiError
from server.start_error import StartError

KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
KEY_FILE: Final = "secrets.key"


class SealBroken(FengsuiError):
    """The sealed text was changed, moved, or made with another key file."""

    code = "seal_broken"


class UnsafeKeyFile(StartError):
    """The key file cannot be used."""


class Sealer:
    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, secret: str, owner: str) -> bytes:
        nonce = secrets.token_bytes(NONCE_SIZE)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), owner.encode())

    def open(self, sealed: bytes, owner: str) -> str:
        """Raises SealBroken."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], owner.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise SealBroken(
                f"the secret of {owner} cannot be read with this key file; set it again"
            ) from error


def load_sealer(folder: Path) -> Sealer:
    """The sealer of a data folder; its key file is made when there is none. Raises UnsafeKeyFile, OSError."""
    path = folder / KEY_FILE
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_SIZE))
            file.flush()
            os.fsync(file.fileno())
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise UnsafeKeyFile(f"others can read {path} (mode {mode:04o})", f"run: chmod 600 {path}")
    key = path.read_bytes()
    if len(key) != KEY_SIZE:
        raise UnsafeKeyFile(
            f"{path} has {len(key)} bytes instead of {KEY_SIZE}",
            "restore it from the backup of the data folder",
        )
    return Sealer(key)
