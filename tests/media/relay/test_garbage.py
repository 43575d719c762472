"""What a publisher has sent goes with it at once: kept pictures are megabytes, and the collector rarely runs."""

from __future__ import annotations

import asyncio
import gc

from media.relay.engine_python import PythonEngine
from media.relay.messages import RemoveSource
from media.relay.source import Source, SourceLayer
from support.relay import Bench, Vp8Stream, video_source
from support.waiting import until


def alive() -> int:
    return sum(isinstance(each, (Source, SourceLayer)) for each in gc.get_objects())


async def test_a_source_that_is_removed_leaves_nothing_for_the_collector() -> None:
    bench = Bench(PythonEngine(asyncio.get_running_loop()))
    stream = Vp8Stream(bench.peer(1), 555)
    gc.collect()
    gc.disable()
    try:
        before = alive()
        for number in range(10, 15):
            bench.apply(video_source(number, 1))
            stream.frame(key=True, packets=3)
            await asyncio.sleep(0)
            assert alive() > before
            bench.apply(RemoveSource(source=number))
        await until(lambda: alive() == before)
    finally:
        gc.enable()
        bench.close()
