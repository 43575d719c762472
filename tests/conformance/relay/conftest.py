"""The engines that are put through the suite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from media.relay.engine import RelayEngine
from media.relay.engine_python import PythonEngine
from support.relay import Bench

Factory = Callable[[], RelayEngine]


def _python() -> RelayEngine:
    return PythonEngine(asyncio.get_running_loop())


ENGINES: dict[str, Factory] = {"python": _python}
try:
    from media.relay.engine_native import NativeEngine
except ImportError:  # it was not built
    pass
else:
    ENGINES["native"] = NativeEngine


@pytest.fixture(params=sorted(ENGINES))
def factory(request: pytest.FixtureRequest) -> Factory:
    """Makes an engine on the running loop."""
    return ENGINES[request.param]


@pytest.fixture
async def bench(factory: Factory) -> AsyncIterator[Bench]:
    """A started engine with one dual-stack UDP mux listener."""
    made = Bench(factory())
    yield made
    made.close()
    assert made.failures == []
