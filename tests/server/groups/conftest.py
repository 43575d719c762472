from __future__ import annotations

import pytest

from support.driven_floor import DrivenFloor


@pytest.fixture
def group() -> DrivenFloor:
    return DrivenFloor()
