"""ONE table: what a client may ask, which action it requires, and who does it. What is not in it is refused."""

from __future__ import annotations

from typing import Final

import msgspec
import structlog

from server.auth.permissions import Action, allowed, require
from server.model.errors import BadRequest, FengsuiError, NotFound, NotLoggedIn, Refused, TooLarge
from server.model.ids import DeviceId, MediaSessionId, StreamId
from server.model.names import clean_name
from server.model.ports import SlotWish
from server.signalling.clients import Client, Media
from server.signalling.entities import JoinLink
from server.signalling.messages import (
    AuditEntry,
    AuditPage,
    AuditRead,
    LinkCreate,
    LinkCreated,
    LinkRevoke,
    LogIn,
    LogIns,
    MediaAnswer,
    MediaClose,
    MediaOffer,
    PhoneState,
    PositionReport,
    Problem,
    Reply,
    SessionEnd,
    SessionList,
    SlotChanged,
    SlotInfo,
    SlotSet,
    SlotShown,
    StreamClose,
    UnitRename,
)
from server.signalling.table import Row, Services, row
from server.signalling.talk_commands import TALK_ROWS, leg_of
from server.signalling.wire import Command, Value
from server.units.directory import DeviceRecord
from server.units.links import checked_hours, link_url, qr_svg

MAX_SDP: Final = {"console": 128 * 1024, "phone": 16 * 1024, "voice": 32 * 1024}  # bytes
ACTIONS: Final = {
    "console": Action.STREAM_WATCH,
    "phone": Action.STREAM_PUBLISH,
    "voice": Action.TALK_USE,
}
VERDICT_LIFE: Final = 30.0  # s that a verification of the audit chain counts: it reads every entry
MAX_REASON: Final = 200  # characters

log = structlog.get_logger("server.signalling")


async def perform(services: Services, client: Client, command: Command) -> Reply:
    """Do a command; never raises but for cancellation."""
    entry = COMMANDS[type(command)]
    try:
        _check_permission(client)
        require(client.principal, entry.action(command))
        result = await entry.handle(services, client, command)
        return Reply(id=command.id, ok=True, result=msgspec.Raw(msgspec.json.encode(result)))
    except FengsuiError as error:
        problem = Problem(
            code=error.code, message=str(error), field=error.field, retry_after=error.retry_after
        )
    except Exception:
        log.exception("a command failed", command=type(command).__name__, client=client.key[0])
        problem = Problem(code="internal", message="this is a fault of the server; it was logged")
    return Reply(id=command.id, ok=False, error=problem)


def _check_permission(client: Client) -> None:
    """Raises NotLoggedIn, Refused (`expired`, `revoked`) when what the client came with is worth nothing any more."""
    if client.ended in ("expired", "revoked"):
        raise Refused(f"the permission was {client.ended}", code=client.ended)
    if client.ended:
        raise NotLoggedIn("log in again")


# --------------------------------------------------------------------------- media


def _action_of_offer(command: MediaOffer) -> Action:
    return ACTIONS[command.kind]


async def _offer(services: Services, client: Client, command: MediaOffer) -> Value:
    limit = MAX_SDP[command.kind]
    if len(command.sdp) > limit or len(command.sdp.encode()) > limit:
        raise TooLarge(f"an offer may have {limit} bytes", field="sdp")
    if command.session:
        session: MediaSessionId | None = _own(client, command.session, command.kind).session
    else:
        session = None
    if command.kind == "console":
        answer = await services.node.open_console(command.sdp, session)
    elif command.kind == "voice":
        answer = await services.node.open_voice(command.sdp, session)
    elif session is not None:
        answer = await services.node.offer_again(session, command.sdp)
    else:
        _own_device(services, client)
        answer = await services.node.publish(StreamId(client.stream), command.sdp, "phone")
    if client.ended:  # meanwhile
        await services.node.close(answer.session, client.ended)
        _check_permission(client)
    if answer.session != session:
        before = services.clients.opened(client, answer.session, command.kind)
        if command.kind == "voice":
            services.exchange.opened(leg_of(services, client).id, answer.session)
        if before is not None:
            await services.node.close(before, "replaced")
    return MediaAnswer(
        session=answer.session,
        sdp=answer.sdp,
        slots=tuple(
            SlotInfo(slot=slot.slot, audio_mid=slot.audio_mid, video_mid=slot.video_mid)
            for slot in answer.slots
        ),
    )


async def _close(services: Services, client: Client, command: MediaClose) -> None:
    media = _own(client, command.session)
    services.clients.media_gone(client, media.kind)
    await services.node.close(media.session, "closed")


async def _set_slots(services: Services, client: Client, command: SlotSet) -> None:
    media = _own(client, command.session, "console")
    for wish in command.wishes:
        if wish.stream is not None:
            services.catalogue.record(wish.stream)
    wishes = [
        SlotWish(
            slot=wish.slot,
            stream=StreamId(wish.stream) if wish.stream is not None else None,
            height=wish.height,
            priority=wish.priority,
            audio=wish.audio,
        )
        for wish in command.wishes
    ]
    await services.node.set_slots(media.session, wishes)


async def _shown(services: Services, client: Client, command: SlotShown) -> None:
    media = _own(client, command.session, "console")
    slot = media.slots.get(command.slot)
    if isinstance(slot, SlotChanged) and slot.stream == command.stream:
        services.catalogue.shown(command.stream, command.state)


def _own(client: Client, session: str, kind: str = "") -> Media:
    """The client's live media session. Raises NotFound."""
    media = client.media_of(session)
    if media is None or not media.alive or kind not in ("", media.kind):
        raise NotFound("there is no such media session: offer without one", field="session")
    return media


# --------------------------------------------------------------------------- links, units, streams


async def _create_link(services: Services, client: Client, command: LinkCreate) -> Value:
    hours = checked_hours(
        command.hours, default=services.join_link_hours, longest=services.max_join_link_hours
    )
    link, secret = await services.registration.create_link(
        name=command.name,
        unit=command.unit,
        hours=hours,
        who=client.principal,
        address=client.admission.address,
    )
    await services.roster.reload()
    shown = services.store.get("link", link)
    if not isinstance(shown, JoinLink):
        raise NotFound("the join link was revoked meanwhile")
    url = link_url(client.admission.base, secret)
    return LinkCreated(link=shown, url=url, qr_svg=qr_svg(url))


async def _revoke_link(services: Services, client: Client, command: LinkRevoke) -> None:
    await services.registration.revoke_link(
        command.link, who=client.principal, address=client.admission.address
    )
    await services.roster.reload()


async def _rename_unit(services: Services, client: Client, command: UnitRename) -> None:
    await services.registration.rename_unit(
        command.unit, command.name, who=client.principal, address=client.admission.address
    )
    await services.roster.reload()


async def _close_stream(services: Services, client: Client, command: StreamClose) -> None:
    record = services.catalogue.record(command.stream)
    reason = clean_name(command.reason, MAX_REASON)
    if not reason:
        raise BadRequest("say why", field="reason")
    result = "ok"
    try:
        await services.catalogue.close(record.id)
    except FengsuiError as error:
        result = error.code
        raise
    finally:
        await services.audit.append(
            actor=client.principal.actor,
            action="stream.close",
            object=record.id,
            result=result,
            address=client.admission.address,
            detail=reason,
        )


# --------------------------------------------------------------------------- phones


async def _report(services: Services, client: Client, command: PositionReport) -> Value:
    device = _own_device(services, client)
    stored, newest = await services.positions.report(device.id, device.unit, command.positions)
    if newest is not None:
        services.roster.set_position(device.unit, newest)
    return stored


async def _phone_state(services: Services, client: Client, command: PhoneState) -> None:
    device = _own_device(services, client)
    network = clean_name(command.network, 16)
    if services.presence.told(device.id, battery=command.battery, charging=command.charging, network=network):
        services.roster.show_device(device.id)


def _own_device(services: Services, client: Client) -> DeviceRecord:
    """The device that the client is. Raises Refused."""
    device = services.roster.directory.devices.get(DeviceId(client.principal.device))
    if device is None or services.roster.is_gone(device.id):
        raise Refused("this client is no device, or its device was revoked", code="revoked")
    return device


# --------------------------------------------------------------------------- audit and log-in sessions


async def _read_audit(services: Services, client: Client, command: AuditRead) -> Value:
    now = services.clock.now()
    if services.verdict is None or (command.before == 0 and now - services.verdict[0] >= VERDICT_LIFE):
        services.verdict = (now, await services.audit.verify())
    verdict = services.verdict[1]
    entries = await services.audit.newest(before=command.before, limit=command.limit)
    await services.audit.append(
        actor=client.principal.actor,
        action="audit.read",
        object=f"before {command.before}" if command.before else "newest",
        address=client.admission.address,
    )
    names = AuditEntry.__struct_fields__
    return AuditPage(
        entries=tuple(AuditEntry(**{name: getattr(entry, name) for name in names}) for entry in entries),
        verified=verdict.first_bad == 0,
        first_bad=verdict.first_bad,
        problem=verdict.problem,
    )


async def _list_sessions(services: Services, client: Client, command: SessionList) -> Value:
    who = client.principal
    sees_all = allowed(who.role, Action.SESSION_ALL)
    return LogIns(
        sessions=tuple(
            LogIn(
                id=session.id,
                user=session.user_id,
                name=session.name,
                role=session.role,
                created=session.created,
                last_seen=session.last_seen,
                address=session.address,
                agent=session.agent,
                current=session.id == who.session,
            )
            for session in services.sessions.all("" if sees_all else who.id)
        )
    )


async def _end_session(services: Services, client: Client, command: SessionEnd) -> None:
    who = client.principal
    session = services.sessions.get(command.session)
    if session is None or not (session.user_id == who.id or allowed(who.role, Action.SESSION_ALL)):
        raise NotFound("there is no such log-in session", field="session")
    await services.audit.append(
        actor=who.actor,
        action="session.end",
        object=session.id,
        address=client.admission.address,
        detail=session.username,
    )
    await services.sessions.end(session.id, "revoked")


COMMANDS: Final[dict[type[Command], Row]] = dict(
    (
        *TALK_ROWS,
        row(MediaOffer, _action_of_offer, _offer),
        row(MediaClose, Action.SOCKET_OPEN, _close),
        row(SlotSet, Action.STREAM_WATCH, _set_slots),
        row(SlotShown, Action.STREAM_WATCH, _shown),
        row(LinkCreate, Action.LINK_CREATE, _create_link, aside=True),
        row(LinkRevoke, Action.LINK_CREATE, _revoke_link, aside=True),
        row(StreamClose, Action.STREAM_CLOSE, _close_stream, aside=True),
        row(UnitRename, Action.UNIT_EDIT, _rename_unit, aside=True),
        row(PositionReport, Action.POSITION_REPORT, _report, aside=True),
        row(PhoneState, Action.POSITION_REPORT, _phone_state),
        row(AuditRead, Action.AUDIT_READ, _read_audit, aside=True),
        row(SessionList, Action.SESSION_OWN, _list_sessions),
        row(SessionEnd, Action.SESSION_OWN, _end_session, aside=True),
    )
)
