"""A real database in a temporary folder for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.auth.audit import Audit
from server.storage.engine import Database, open_database
from support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def database(storage_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(storage_url, tmp_path) as opened:
        yield opened


@pytest.fixture
def audit(database: Database, clock: FakeClock) -> Audit:
    return Audit(database, clock)
