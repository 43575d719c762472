"""What a person does to one recording that is over: its row and the entry in the audit log, or neither."""

from __future__ import annotations

from collections.abc import Callable

from server.auth.audit import Audit
from server.model.errors import Conflict, NotFound
from server.model.ids import SpurtId
from server.recordings.index import SpurtIndex
from server.recordings.spurts import Spurt, SpurtState


async def act(
    index: SpurtIndex,
    audit: Audit,
    spurt_id: SpurtId,
    form: Callable[[Spurt], Spurt],
    *,
    action: str,
    actor: str,
    address: str,
    detail: Callable[[Spurt], str],
) -> Spurt:
    """`form` it and tell why, in `detail`; returns its new form.

    Raises NotFound (also when it is erased), Conflict (still being recorded), StorageAway, and what `form` raises.
    """

    def formed(spurt: Spurt) -> Spurt:
        if spurt.state is SpurtState.ERASED:
            raise _unknown()
        if spurt.state is SpurtState.RECORDING:
            raise Conflict("it is still being recorded")
        return form(spurt)

    changed = await index.change(
        [spurt_id],
        formed,
        lambda connection, changed: audit.append_in(
            connection,
            actor=actor,
            action=action,
            object=spurt_id,
            address=address,
            detail=detail(changed[0]),
        ),
    )
    if not changed:
        raise _unknown()
    return changed[0]


def _unknown() -> NotFound:
    return NotFound("there is no such recording", field="spurt")
