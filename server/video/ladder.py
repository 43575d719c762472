"""The onboarding ladder of one stream: how far its publisher has come, how it is now, and why there is no picture.

Sans-IO. registered → signalled → ice → dtls → packets → key_frame → shown; a camera that we pull has no ice and dtls.
`now` is monotonic, `wallclock` s since 1970 UTC. The causes are those of `server/signalling/PROTOCOL.md`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from server.model.ids import MediaSessionId
from server.model.ports import StreamView
from server.signalling.entities import Step

PUSHED: Final = ("registered", "signalled", "ice", "dtls", "packets", "key_frame", "shown")
PULLED: Final = ("registered", "signalled", "packets", "key_frame", "shown")
PATIENCE: Final = 2.0  # s that a step may take until it is said what is missing

# A StreamView's step -> the step of the ladder it is on.
REACHED: Final = {
    "signalled": "signalled",
    "connecting": "signalled",
    "ice": "ice",
    "dtls": "dtls",
    "packets": "packets",
    "key_frame": "key_frame",
}
# The step a publisher is on for longer than PATIENCE -> what is missing.
MISSING: Final = {"signalled": "ice_timeout", "dtls": "no_packets", "packets": "no_key_frame"}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """`state`: offline | connecting | live | stalled | retrying, `since` when; `cause` "" = all is well."""

    state: str
    since: float
    cause: str
    detail: str
    steps: tuple[Step, ...]


class Ladder:
    """`registered`: when the device was. Give it every new view, every end, and `shown`; ask `standing`."""

    def __init__(self, registered: float, *, pulled: bool) -> None:
        self._steps = PULLED if pulled else PUSHED
        self._pulled = pulled
        self._reached: dict[str, float] = {"registered": registered}
        self._view: StreamView | None = None
        self._session: MediaSessionId | None = None  # of the newest view, kept after its end
        self._told_end: MediaSessionId | None = None  # the session whose end was told with its reason
        self._step_since = 0.0  # monotonic
        self._state = "offline"
        self._since = registered
        self._end = ("disabled" if pulled else "never_connected", "")  # cause and detail while offline

    @property
    def view(self) -> StreamView | None:
        """The newest that `see` was given."""
        return self._view

    def see(self, view: StreamView | None, now: float, wallclock: float) -> None:
        """What media knows of the stream now; None = nothing publishes it."""
        before, self._view = self._view, view
        if view is None:
            if before is not None and not self._pulled and self._told_end != self._session:
                self._end = ("closed", "")  # `ended` may know better, before this or after it
            return
        again = view.step == "connecting" and before is not None and before.step != "connecting"
        if view.session != self._session or before is None or again:
            self._session = view.session
            self._reached = {"registered": self._reached["registered"]}
            before = None
        if before is None or before.step != view.step:
            self._step_since = now
        step = REACHED.get(view.step)
        if step is not None:
            for name in self._steps[: self._steps.index(step) + 1]:
                self._reached.setdefault(name, wallclock)

    def ended(self, session: MediaSessionId, cause: str, detail: str) -> None:
        """A media session ended; one that was replaced already does not count."""
        if session == self._session:
            self._told_end = session
            self._end = (cause, detail)

    def withheld(self, cause: str, detail: str) -> None:
        """Why nothing is done for the stream, for as long as media knows nothing of it."""
        self._end = (cause, detail)

    def shown(self, wallclock: float) -> None:
        """Somebody sees it."""
        if self._view is not None:
            self._reached.setdefault("shown", wallclock)

    def standing(self, now: float, wallclock: float) -> Standing:
        state, cause, detail = self._judge(now)
        if state != self._state:
            self._state, self._since = state, wallclock
        return Standing(
            state=state,
            since=self._since,
            cause=cause,
            detail=detail,
            steps=tuple(Step(name=name, at=self._reached.get(name)) for name in self._steps),
        )

    def _judge(self, now: float) -> tuple[str, str, str]:
        view = self._view
        if view is None:
            return ("offline", *self._end)
        if view.step == "retrying":
            return "retrying", view.error or "timeout", view.detail
        sound_only = not view.layers and view.audio_live
        if view.live and (view.step == "key_frame" or sound_only):
            return "live", view.error, view.detail
        flowing = view.step in ("packets", "key_frame")
        if flowing and not view.live:
            return "stalled", "stalled", view.detail
        missing = MISSING.get(view.step, "") if now - self._step_since >= PATIENCE else ""
        return "connecting", view.error or missing, view.detail
