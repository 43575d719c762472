"""Why a server or a command cannot start: one sentence and what to do about it. Each kind is a subclass beside what
it is about: configuration, data folder, port, certificate, database, key file, front end, media process.
"""

from __future__ import annotations


class StartError(Exception):
    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.remedy = remedy
