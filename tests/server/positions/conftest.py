from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.control import Control, control


@pytest.fixture
async def centre(storage_url: str, tmp_path: Path) -> AsyncIterator[Control]:
    async with control(tmp_path, url=storage_url) as made:
        yield made
