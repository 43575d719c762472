"""A media node without media: remembers what it was asked, and tells what a test makes happen."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from server.media_events import MediaEvents
from server.model.errors import BadSdp, FengsuiError, NotFound, StreamNotLive
from server.model.ids import MediaSessionId, StreamId
from server.model.ports import Answer, RestartAnswer, SectionInfo, SlotState, SlotWish, StreamView, VoiceRoute


class FakeMedia:
    """Fulfils `MediaNode`. `fail` is raised by the next call that can fail."""

    def __init__(self, events: MediaEvents | None = None) -> None:
        self.events = events or MediaEvents()
        self.calls: list[tuple[str, ...]] = []
        self.wishes: list[SlotWish] = []
        self.views: dict[StreamId, StreamView] = {}
        self.sessions: dict[MediaSessionId, StreamId | None] = {}
        self.routes: dict[MediaSessionId, VoiceRoute] = {}
        self.fail: FengsuiError | None = None
        self._count = 0

    # ------------------------------------------------------------------ what a test makes happen

    def show(self, stream: StreamId, step: str, **fields: object) -> StreamView:
        """The stream is at this step now."""
        view = self.views.get(stream) or StreamView(
            stream=stream, session=None, via="whip", step=step, since=0.0, live=False
        )
        view = msgspec.structs.replace(view, step=step, **fields)
        self.views[stream] = view
        if view.session is not None:
            self.sessions[view.session] = stream
        self.events.stream_changed(stream)
        return view

    def lose(self, session: MediaSessionId, detail: str, step: str = "lost") -> None:
        """The session ended."""
        stream = self.sessions.pop(session, None)
        if stream is not None and (view := self.views.get(stream)) and view.session == session:
            del self.views[stream]
            self.events.stream_changed(stream)
        self.events.session_step(session, step, detail)

    def slot(self, session: MediaSessionId, slot: int, state: SlotState) -> None:
        self.events.slot_changed(session, slot, state)

    def speak(self, session: MediaSessionId, active: bool, clipped: float = 0.0) -> None:
        self.events.voice_activity(session, active, clipped)

    # ------------------------------------------------------------------ MediaNode

    async def publish(self, stream: StreamId, offer: str, via: str) -> Answer:
        self._called("publish", stream, via)
        answer = self._answer(offer)
        self.sessions[answer.session] = stream
        self.show(stream, "signalled", session=answer.session, via=via)
        return answer

    async def play(self, stream: StreamId, offer: str) -> Answer:
        self._called("play", stream)
        if stream not in self.views:
            raise StreamNotLive("nobody publishes it")
        return self._answer(offer)

    async def open_console(self, offer: str, session: MediaSessionId | None) -> Answer:
        self._called("open_console", session or "")
        answer = self._answer(offer)
        if session is not None:
            answer = msgspec.structs.replace(answer, session=session)
        self.sessions[answer.session] = None
        return answer

    async def offer_again(self, session: MediaSessionId, offer: str) -> Answer:
        self._called("offer_again", session)
        return msgspec.structs.replace(self._answer(offer), session=session)

    async def set_slots(self, session: MediaSessionId, wishes: Sequence[SlotWish]) -> None:
        self._called("set_slots", session)
        self.wishes = list(wishes)

    async def open_voice(self, offer: str, session: MediaSessionId | None) -> Answer:
        self._called("open_voice", session or "")
        answer = self._answer(offer)
        if session is not None:
            answer = msgspec.structs.replace(answer, session=session)
        self.sessions[answer.session] = None
        slots = tuple(SectionInfo(slot=slot, audio_mid=str(slot + 1), video_mid="") for slot in range(8))
        return msgspec.structs.replace(answer, slots=slots)

    async def route_voice(self, routes: Sequence[VoiceRoute]) -> None:
        self._called("route_voice", *(route.talker for route in routes))
        for route in routes:
            self.routes[route.talker] = route

    async def restart_ice(self, session: MediaSessionId, ufrag: str, password: str) -> RestartAnswer:
        self._called("restart_ice", session)
        return RestartAnswer(fragment="", etag="2")

    async def trickle(self, session: MediaSessionId, fragment: str) -> RestartAnswer | None:
        self._called("trickle", session)
        return None

    async def close(self, session: MediaSessionId, reason: str) -> None:
        self._called("close", session, reason)
        self.lose(session, reason, "closed")

    async def close_stream(self, stream: StreamId, reason: str) -> None:
        self._called("close_stream", stream, reason)
        view = self.views.pop(stream, None)
        self.events.stream_changed(stream)
        if view is not None and view.session is not None:
            self.events.session_step(view.session, "closed", reason)

    async def pull(self, stream: StreamId, url: str, username: str, password: str, transport: str) -> None:
        self._called("pull", stream, url, username, password, transport)
        self.show(stream, "connecting", via="rtsp", session=None)

    async def set_urgent(self, streams: Collection[StreamId]) -> None:
        self._called("set_urgent", *sorted(streams))

    async def start_recording(self, recording: str, source: int, path: str) -> str:
        self._called("start_recording", recording, str(source), path)
        return ""

    async def stop_recording(self, recording: str) -> None:
        self._called("stop_recording", recording)

    def stream(self, stream: StreamId) -> StreamView | None:
        return self.views.get(stream)

    def streams(self) -> Sequence[StreamView]:
        return tuple(self.views.values())

    def session_stream(self, session: MediaSessionId) -> StreamId | None:
        if session not in self.sessions:
            raise NotFound("there is no such session")
        return self.sessions[session]

    def statistics(self) -> dict[str, object]:
        return {"streams": len(self.views)}

    def _called(self, *call: str) -> None:
        self.calls.append(call)
        if self.fail is not None:
            error, self.fail = self.fail, None
            raise error

    def _answer(self, offer: str) -> Answer:
        if not offer.startswith("v=0"):
            raise BadSdp("this is no SDP", field="sdp")
        self._count += 1
        return Answer(
            session=MediaSessionId(f"media-session-{self._count:08}"),
            sdp="v=0\r\nanswer\r\n",
            etag="1",
            slots=(SectionInfo(slot=0, audio_mid="0", video_mid="1"),),
        )
