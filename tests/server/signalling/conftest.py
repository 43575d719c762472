from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.control import Control, control
from support.talk_net import Net, open_net


@pytest.fixture
async def centre(tmp_path: Path) -> AsyncIterator[Control]:
    async with control(tmp_path) as made:
        yield made


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Net]:
    async with open_net(tmp_path) as made:
        yield made
