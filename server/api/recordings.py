"""Recordings over HTTP: search, listen (with ranges), verify, erase.

Listening is audited: who, what, from where; once a minute for each person and recording, because a player asks for one
file in many pieces.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Final

import msgspec
from aiohttp import hdrs, web

from server.api.body import json_answer, read_json
from server.api.middleware import client_address
from server.api.table import Route, required
from server.auth.audit import Audit
from server.auth.permissions import Action
from server.model.clock import Clock
from server.model.errors import BadRequest, NotFound
from server.model.ids import SpurtId
from server.recordings import files
from server.recordings.recorder import SpurtRecorder
from server.recordings.retention import Retention
from server.recordings.spurts import WITH_FILE, Spurt, SpurtQuery
from server.recordings.verify import verify

ONE: Final = "/recordings/{recording:[0-9a-f-]{36}}"
AUDITED: Final = 60.0  # s in which the same person's listening to the same recording is one entry
MAX_LISTENINGS: Final = 10_000  # remembered; of more the oldest is forgotten and audited again
MAX_REASON: Final = 500


class Reason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """`before`: ask with it for the next page, "" = there is none."""

    recordings: tuple[Spurt, ...]
    before: str


class RecordingsApi:
    def __init__(self, recorder: SpurtRecorder, retention: Retention, audit: Audit, clock: Clock) -> None:
        self._recorder = recorder
        self._retention = retention
        self._audit = audit
        self._clock = clock
        self._listened: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._played = 0

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/recordings",
                handler=self.search,
                action=Action.RECORDING_SEARCH,
            ),
            Route(method="GET", path=ONE, handler=self.play, action=Action.RECORDING_PLAY),
            Route(method="GET", path=ONE + "/verify", handler=self.verify, action=Action.RECORDING_SEARCH),
            Route(
                method="DELETE",
                path=ONE,
                handler=self.erase,
                action=Action.RECORDING_ERASE,
                body_limit=4096,
            ),
        )

    async def search(self, request: web.Request) -> web.Response:
        """Query: group (repeated), unit, user, text, since, until, emergency, before, limit. Raises BadRequest."""
        asked = request.query
        known = set(SpurtQuery.__struct_fields__) - {"groups"} | {"group"}
        if unknown := set(asked) - known:
            raise BadRequest(f"there is no parameter {sorted(unknown)[0]}", field=sorted(unknown)[0])
        values: dict[str, object] = {name: value for name, value in asked.items() if name != "group"}
        try:
            query = msgspec.convert(
                {"groups": tuple(asked.getall("group", [])[:100]), **values}, SpurtQuery, strict=False
            )
        except msgspec.ValidationError as error:
            raise BadRequest(str(error)) from error
        found = await self._recorder.search(query)
        more = found[-1].id if len(found) == query.limit else ""
        return json_answer(Page(recordings=found, before=more))

    async def play(self, request: web.Request) -> web.StreamResponse:
        """The file, or of one that is still growing what is there. Raises NotFound, StorageAway."""
        spurt = await self._found(request)
        folder = self._recorder.folder
        if folder is None or spurt.state not in WITH_FILE:
            raise NotFound("there is no such recording")
        file = await asyncio.to_thread(files.inside, folder, spurt.path)
        await self._audit_listening(request, spurt)
        self._played += 1
        name = f"{datetime.fromtimestamp(spurt.started, UTC):%Y%m%dT%H%M%SZ}-{spurt.id[:8]}.ogg"
        return web.FileResponse(
            file,
            headers={
                hdrs.CONTENT_TYPE: "audio/ogg",
                hdrs.CONTENT_DISPOSITION: f'inline; filename="{name}"',
            },
        )

    async def verify(self, request: web.Request) -> web.Response:
        """Whether the file is what was recorded. Raises NotFound, StorageAway."""
        spurt = await self._found(request)
        if self._recorder.folder is None:
            raise NotFound("there is no such recording")
        return json_answer(await verify(self._recorder.folder, spurt))

    async def erase(self, request: web.Request) -> web.Response:
        """Body {"reason": …}. Raises NotFound, Conflict, BadRequest, StorageAway."""
        reason = (await read_json(request, Reason)).reason.strip()
        if not 1 <= len(reason) <= MAX_REASON:
            raise BadRequest(f"a reason of 1 to {MAX_REASON} characters is needed", field="reason")
        gone = await self._retention.erase(
            SpurtId(request.match_info["recording"]),
            actor=required(request).actor,
            address=client_address(request),
            reason=reason,
        )
        return json_answer(gone)

    def statistics(self) -> dict[str, object]:
        return {"played_total": self._played}

    async def _found(self, request: web.Request) -> Spurt:
        spurt = await self._recorder.get(SpurtId(request.match_info["recording"]))
        if spurt is None:
            raise NotFound("there is no such recording")
        return spurt

    async def _audit_listening(self, request: web.Request, spurt: Spurt) -> None:
        who = required(request)
        key, now = (who.id, spurt.id), self._clock.now()
        if now - self._listened.get(key, float("-inf")) < AUDITED:
            return
        await self._audit.append(
            actor=who.actor, action="recording.play", object=spurt.id, address=client_address(request)
        )
        self._listened[key] = now
        self._listened.move_to_end(key)
        while len(self._listened) > MAX_LISTENINGS:
            self._listened.popitem(last=False)
