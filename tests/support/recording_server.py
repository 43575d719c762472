"""The recording part of a server as a process of its own, so that a test can kill it; its argument is a folder.

Control (index, recorder, routing) and a real media process with its worker. It speaks to itself: a tone is injected
into the relay and recorded in a spurt that nobody releases. Prints a JSON line with the process ids once it records,
then after each packet how many were sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from pathlib import Path

import structlog

from media.client import MediaProcess
from media.relay.messages import AddInjection, AddSource, Codec, MediaKind, SetRoutes, SourceCodec
from media.relay.taps import PACKET, Record
from media.settings import MediaSettings
from server.clock import SystemClock
from server.media_events import MediaEvents
from server.model.ids import SpurtId
from server.model.uuid7 import new_id
from server.recordings.index import SpurtIndex
from server.recordings.recorder import SpurtRecorder
from server.recordings.spurts import Spurt, SpurtGroup, Talker
from server.routing.joining import recorder_sink
from server.routing.node import Routing
from server.routing.settings import RoutingSettings
from server.storage.engine import open_database
from support.talking import tone

OPUS = SourceCodec(codec=Codec.OPUS, payload_type=111, clock_rate=48_000)


async def main(folder: Path) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    clock, events = SystemClock(), MediaEvents()
    recordings = folder / "recordings"
    async with open_database("", folder) as database, asyncio.TaskGroup() as tasks:
        index = SpurtIndex(database)
        recorder = SpurtRecorder(index, clock, recordings)
        events.on_recording_state(recorder.state)
        routing = Routing(RoutingSettings(host="127.0.0.1"), events, clock, list)
        media = MediaProcess(MediaSettings(log_level="error", recordings=str(recordings)))
        tasks.create_task(index.run())
        tasks.create_task(recorder.run())
        tasks.create_task(routing.run(media))
        await routing.up.wait()
        link, path = routing._lifetimes.link, str(folder / "injection")
        await link.apply(
            [
                AddSource(source=9, transport=0, kind=MediaKind.AUDIO, mid="", codecs=(OPUS,)),
                AddInjection(injection=9, path=path, sources=(9,)),
                recorder_sink(99),
            ]
        )
        injection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        injection.connect(path)
        started = asyncio.Event()
        events.on_recording_state(lambda report: started.set())
        spurt = Spurt(
            id=SpurtId(new_id(time.time())),
            started=time.time(),
            groups=(SpurtGroup(id="g1", name="消防一组"),),
            talker=Talker(name="张伟"),
        )
        assert await routing.start_recording(spurt.id, 9, recorder.begin(spurt)) == ""
        await started.wait()
        await link.apply([SetRoutes(source=9, revision=1, sinks=(99,))])
        await index.flush()
        pids = [os.getpid(), routing.media_pid]
        print(json.dumps({"pids": pids, "spurt": spurt.id}), flush=True)
        due = time.monotonic()
        for number, payload in enumerate(tone(10.0)):
            record = Record(
                kind=PACKET,
                source=9,
                codec=Codec.OPUS,
                sequence=number,
                timestamp=960 * number,
                payload=payload,
            )
            injection.send(record.to_bytes())
            print(number + 1, flush=True)
            due += 0.02
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
