"""Evidence hold 存证: a recording that nothing erases, neither its age, nor want of room, nor a person."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from server.auth.audit import Audit
from server.model.errors import BadRequest, Conflict, NotFound
from server.model.ids import SpurtId
from server.recordings.acts import act
from server.recordings.index import SpurtIndex
from server.recordings.spurts import WITH_FILE, Spurt


class Evidence:
    """Each of `changed` is told of every recording that is held, or let go."""

    def __init__(self, index: SpurtIndex, audit: Audit, *changed: Callable[[Spurt], None]) -> None:
        self._index = index
        self._audit = audit
        self._changed = changed

    async def hold(self, spurt_id: SpurtId, *, reason: str, actor: str, name: str, address: str) -> Spurt:
        """Keep it; `name` is who is shown as its keeper. Held already, the new reason stands.

        Raises NotFound, Conflict, BadRequest, StorageAway.
        """
        return await self._set(spurt_id, True, reason, actor, name, address)

    async def release(self, spurt_id: SpurtId, *, reason: str, actor: str, address: str) -> Spurt:
        """Retention may have it again. Raises NotFound, Conflict, BadRequest, StorageAway."""
        return await self._set(spurt_id, False, reason, actor, "", address)

    async def _set(
        self, spurt_id: SpurtId, on: bool, reason: str, actor: str, name: str, address: str
    ) -> Spurt:
        if not reason.strip():
            raise BadRequest("say why", field="reason")

        def form(spurt: Spurt) -> Spurt:
            if spurt.state not in WITH_FILE:
                raise NotFound("nothing of it was recorded", field="spurt")
            if not on and not spurt.hold:
                raise Conflict("it is not held as evidence")
            return msgspec.structs.replace(spurt, hold=on, held_by=name, held_why=reason if on else "")

        changed = await act(
            self._index,
            self._audit,
            spurt_id,
            form,
            action="recording.hold" if on else "recording.release",
            actor=actor,
            address=address,
            detail=lambda _: reason,
        )
        for listener in self._changed:
            listener(changed)
        return changed
