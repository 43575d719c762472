"""Rows of the command table about voice: floors, groups, patches, calls, call-backs, alarms, recorded spurts.

What concerns a floor is done before the handler waits for anything, so that rows may be done beside a client's other
commands and still in the order in which keys were pressed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from server.alarms.alarm import Officer, Where
from server.alarms.desk import Press
from server.auth.permissions import Action, Principal
from server.groups.attached import Attached
from server.groups.causes import Cause
from server.groups.floor import Urgency
from server.groups.hearing import SLOTS
from server.groups.legs import Leg
from server.groups.membership import GroupKind, MemberKind, MemberRecord, Subject, rights_of
from server.groups.stored import Author
from server.groups.told import told_answer
from server.model.errors import BadRequest, NotFound, Refused
from server.model.ids import DeviceId, GroupId, LegId, SpurtId, StreamId, UnitId, UserId
from server.model.names import clean_name
from server.positions.position import problem_of
from server.recordings.spurts import Spurt as SpurtRecord
from server.recordings.spurts import SpurtQuery
from server.recordings.spurts import Talker as Party
from server.signalling.clients import Client
from server.signalling.entities import Stream
from server.signalling.messages import ReportedPosition
from server.signalling.table import Row, Services, row
from server.signalling.talk import (
    AlarmMove,
    AlarmPosition,
    AllCall,
    CallAnswer,
    CallBackRequest,
    CallBackTake,
    CallEnd,
    CallStart,
    CallStarted,
    EmergencyStart,
    EmergencyStarted,
    FloorAnswers,
    FloorRelease,
    FloorRequest,
    FloorRevoke,
    GroupChange,
    GroupCreate,
    GroupCreated,
    GroupDelete,
    GroupTune,
    MemberWish,
    PatchChange,
    PatchCreate,
    PatchCreated,
    PatchMute,
    Spurt,
    SpurtHeld,
    SpurtHold,
    SpurtPage,
    SpurtSearch,
    Talker,
)
from server.signalling.wire import Command, Value

MAX_REASON: Final = 200  # characters
OLDEST_PRESS: Final = 86_400.0  # s; a clock that is wrong makes no alarm older than a page keeps one
URGENCIES: Final = {
    "normal": Urgency.NORMAL,
    "peril": Urgency.PERIL,
    "emergency": Urgency.EMERGENCY,
}

assert SLOTS == 8  # noqa: S101 - PROTOCOL.md says so


def subject(who: Principal, unit: UnitId) -> Subject:
    """Who that is to talk groups: an officer has an account, a phone a unit, a field account's phone both."""
    return Subject(role=who.role, user=UserId(who.id if who.session else ""), unit=unit)


def subject_of(client: Client) -> Subject:
    return subject(client.principal, UnitId(client.view.unit))


def leg_of(services: Services, client: Client) -> Attached:
    """The client's leg; made at the first use."""
    who = subject_of(client)
    unit = services.roster.directory.units.get(who.unit) if who.unit else None
    return services.exchange.attach(
        Leg(
            id=leg_id(client),
            kind="phone" if who.unit else "browser",
            lost_after=services.talker_lost_after,
        ),
        who,
        unit.name if unit is not None else client.principal.name,
        DeviceId(client.principal.device),
        client,
    )


def leg_id(client: Client) -> LegId:
    """The same for every connection of a client; says nothing that grants anything."""
    return LegId(client.public)


def _author(client: Client) -> Author:
    who = client.principal
    return Author(actor=who.actor, name=who.name, user=who.id, address=client.admission.address)


def _reason(text: str) -> str:
    reason = clean_name(text, MAX_REASON)
    if not reason:
        raise BadRequest("say why", field="reason")
    return reason


async def _note(services: Services, client: Client, action: str, what: str, detail: str = "") -> None:
    await services.audit.append(
        actor=client.principal.actor,
        action=action,
        object=what,
        address=client.admission.address,
        detail=detail,
    )


# --------------------------------------------------------------------------- floors


async def _tune(services: Services, client: Client, command: GroupTune) -> None:
    leg = leg_of(services, client)
    for group in (*command.listening, *command.selected):
        if rights_of(services.groups.get(group), leg.subject) is None:
            raise Refused("you are no member of this group", field="listening")
    if not set(command.selected) <= {*command.listening, *leg.listening}:
        raise BadRequest("a selected group must be listened to", field="selected")
    services.exchange.tune(
        leg.id,
        [GroupId(group) for group in command.listening],
        [GroupId(group) for group in command.selected],
    )


async def _request(services: Services, client: Client, command: FloorRequest) -> Value:
    leg = leg_of(services, client)
    groups = [GroupId(group) for group in command.groups]
    answers = services.exchange.request(leg.id, groups, URGENCIES[command.urgency], barge_in=command.barge_in)
    return FloorAnswers(answers=answers)


async def _release(services: Services, client: Client, command: FloorRelease) -> None:
    leg = leg_of(services, client)
    services.exchange.release(leg.id, [GroupId(group) for group in command.groups])


async def _revoke(services: Services, client: Client, command: FloorRevoke) -> None:
    reason = _reason(command.reason)
    group = services.groups.get(command.group)
    talker = services.exchange.revoke(group.id, Cause.FORCED)
    if talker is None:
        raise NotFound("nobody talks there now", field="group")
    await _note(services, client, "floor.revoke", group.id, f"{talker.name}: {reason}")


async def _all_call(services: Services, client: Client, command: AllCall) -> Value:
    leg = leg_of(services, client)
    group = services.groups.all_call
    if group is None:
        raise NotFound("this server has no all-call group")
    answers = services.exchange.request(leg.id, [group.id], Urgency.ALL_CALL)
    for answer in answers:  # before the audit log: the key is held
        client.tell(told_answer(answer, "all_call"))
    await _note(services, client, "call.all", group.id, ", ".join(answer.state for answer in answers))
    return FloorAnswers(answers=answers)


# --------------------------------------------------------------------------- groups and patches


def _members(services: Services, wishes: tuple[MemberWish, ...]) -> list[MemberRecord]:
    for wish in wishes:
        if wish.kind == "unit" and UnitId(wish.id) not in services.roster.directory.units:
            raise NotFound("there is no such unit", field="members")
    return [
        MemberRecord(kind=MemberKind(wish.kind), subject=wish.id, talk=wish.talk, priority=wish.priority)
        for wish in wishes
    ]


async def _create_group(services: Services, client: Client, command: GroupCreate) -> Value:
    group = await services.groups.create(
        name=command.name,
        kind=GroupKind(command.kind),
        members=_members(services, command.members),
        hours=command.hours,
        author=_author(client),
    )
    return GroupCreated(group=group)


async def _change_group(services: Services, client: Client, command: GroupChange) -> None:
    await services.groups.change(
        command.group,
        name=command.name,
        members=None if command.members is None else _members(services, command.members),
        hours=command.hours,
        author=_author(client),
    )


async def _delete_group(services: Services, client: Client, command: GroupDelete) -> None:
    await services.groups.delete(command.group, reason=_reason(command.reason), author=_author(client))


async def _create_patch(services: Services, client: Client, command: PatchCreate) -> Value:
    patch = await services.groups.make_patch(command.groups, _author(client))
    return PatchCreated(patch=patch.id, name=patch.id)


async def _change_patch(services: Services, client: Client, command: PatchChange) -> None:
    await services.groups.change_patch(command.patch, command.groups, _author(client))


async def _mute(services: Services, client: Client, command: PatchMute) -> None:
    await services.groups.mute(command.group, command.seconds, _author(client))


# --------------------------------------------------------------------------- calls and call-backs


async def _start_call(services: Services, client: Client, command: CallStart) -> Value:
    if bool(command.unit) == bool(command.user):
        raise BadRequest("call one unit or one account", field="unit")
    leg = leg_of(services, client)
    wanted = [
        other
        for other in services.exchange.legs.values()
        if (command.unit and other.subject.unit == command.unit)
        or (command.user and other.subject.user == command.user)
    ]
    return CallStarted(call=services.calls.start(leg, wanted, command.duplex))


async def _answer_call(services: Services, client: Client, command: CallAnswer) -> None:
    services.calls.answer(leg_of(services, client), command.call, accept=command.accept)


async def _end_call(services: Services, client: Client, command: CallEnd) -> None:
    services.calls.hang_up(leg_of(services, client).id, command.call)


async def _ask_back(services: Services, client: Client, command: CallBackRequest) -> None:
    leg = leg_of(services, client)
    if command.group:
        services.groups.get(command.group)
    await services.callbacks.ask(
        unit=leg.subject.unit,
        user=leg.subject.user,
        name=leg.name,
        group=command.group,
        text=clean_name(command.text, MAX_REASON),
    )


async def _take_back(services: Services, client: Client, command: CallBackTake) -> None:
    await services.callbacks.take(command.callback, client.principal.name, done=command.done)


# --------------------------------------------------------------------------- alarms


async def _emergency(services: Services, client: Client, command: EmergencyStart) -> Value:
    leg = leg_of(services, client)
    group = _emergency_group(services, leg, command.group)
    if group:
        services.exchange.join_for(leg.id, group)
    answer = services.exchange.request(leg.id, [group], Urgency.EMERGENCY)[0]
    report = _reported(services, command)
    press = Press(
        key=f"{leg.device or leg.subject.user or leg.id}:{command.key}",
        kind="emergency",
        unit=leg.subject.unit,
        device=DeviceId(leg.device),
        name=leg.name,
        group=group,
        stream=_stream_of(services, leg),
        position=_where(services, leg, report),
        age=min(max(0.0, command.age), OLDEST_PRESS),
        actor=client.principal.actor,
        address=client.admission.address,
    )
    alarm = services.alarms.press(press)
    client.tell(told_answer(answer, "emergency"))  # before the database: the microphone is open
    await services.alarms.written(alarm, press)
    await _keep_position(services, leg, report)
    return EmergencyStarted(alarm=alarm.id, group=group, answer=answer)


def _emergency_group(services: Services, leg: Attached, wanted: str) -> GroupId:
    """The one asked for, where the key talks, the first tuned to, the first the leg is a member of; "" = it is in none:
    its alarm is raised all the same."""
    member = services.groups.visible(leg.subject)
    selected = [group for group in leg.tuned if group in leg.selected]
    others = [record.id for record in services.groups.ordered() if record.kind is not GroupKind.ALL_CALL]
    for group in (GroupId(wanted), *selected, *leg.tuned, *others):
        if group in member:
            return group
    return GroupId("")


def _stream_of(services: Services, leg: Attached) -> StreamId:
    """The unit's stream that is live, else its first one."""
    streams = [
        one
        for one in services.store.all("stream")
        if isinstance(one, Stream) and leg.subject.unit and one.unit == leg.subject.unit
    ]
    streams.sort(key=lambda stream: (stream.state != "live", stream.device != leg.device, stream.id))
    return StreamId(streams[0].id) if streams else StreamId("")


def _reported(services: Services, command: EmergencyStart) -> ReportedPosition | None:
    """The position that came with the press; None when it is on no globe. A clock that is wrong costs no position:
    then it is the time of its receipt."""
    said = command.position
    if said is None:
        return None
    now = services.clock.wallclock()
    report = ReportedPosition(
        key=command.key, lat=said.lat, lon=said.lon, accuracy=said.accuracy, time=said.time
    )
    problem = problem_of(report, now)
    if problem is not None and problem.field == "time":
        report = msgspec.structs.replace(report, time=now)
        problem = problem_of(report, now)
    return report if problem is None else None


def _where(services: Services, leg: Attached, report: ReportedPosition | None) -> Where | None:
    """Where the unit is: as it says now, else where it was last."""
    known = services.roster.position(leg.subject.unit) if leg.subject.unit else None
    found = report or known
    if found is None:
        return None
    return Where(lat=found.lat, lon=found.lon, accuracy=found.accuracy, time=found.time)


async def _keep_position(services: Services, leg: Attached, report: ReportedPosition | None) -> None:
    """An SOS moves its unit on the map as every report does."""
    if report is not None and leg.device:
        _, newest = await services.positions.report(leg.device, leg.subject.unit, (report,))
        if newest is not None:
            services.roster.set_position(leg.subject.unit, newest)


async def _move_alarm(services: Services, client: Client, command: AlarmMove) -> None:
    await services.alarms.move(
        command.alarm,
        command.act,
        Officer(id=UserId(client.principal.id), name=client.principal.name),
        reason=clean_name(command.reason, MAX_REASON),
        seconds=command.seconds,
        actor=client.principal.actor,
        address=client.admission.address,
    )


# --------------------------------------------------------------------------- recordings


async def _search(services: Services, client: Client, command: SpurtSearch) -> Value:
    query = SpurtQuery(
        groups=command.groups,
        unit=command.unit,
        user=command.user,
        text=command.text,
        since=command.since,
        until=command.until,
        emergency=command.emergency,
        held=command.held,
        before=command.before,
        limit=min(200, command.limit + 1),
    )
    found = await services.recorder.search(query)
    return SpurtPage(
        spurts=tuple(_spurt(spurt) for spurt in found[: command.limit]), more=len(found) > command.limit
    )


def _action_of_hold(command: SpurtHold) -> Action:
    return Action.RECORDING_HOLD if command.hold else Action.RECORDING_RELEASE


async def _hold(services: Services, client: Client, command: SpurtHold) -> Value:
    reason, author = _reason(command.reason), _author(client)
    spurt = SpurtId(command.spurt)
    if command.hold:
        held = await services.evidence.hold(
            spurt, reason=reason, actor=author.actor, name=author.name, address=author.address
        )
    else:
        held = await services.evidence.release(
            spurt, reason=reason, actor=author.actor, address=author.address
        )
    return SpurtHeld(spurt=_spurt(held))


def _party(who: Party) -> Talker:
    return Talker(leg="", name=who.name, kind=who.leg, unit=who.unit, user=who.user)


def _spurt(record: SpurtRecord) -> Spurt:
    place = record.place
    return Spurt(
        id=record.id,
        started=record.started,
        duration=record.duration,
        groups=tuple(group.id for group in record.groups),
        group_names=tuple(group.name for group in record.groups),
        talker=_party(record.talker),
        detail=record.detail,
        after=record.after,
        gap=record.gap,
        call=record.call,
        peer=_party(record.peer) if record.peer else None,
        urgency="emergency" if record.emergency else "normal",
        state=record.state.value,
        position=None
        if place is None
        else AlarmPosition(lat=place.lat, lon=place.lon, accuracy=place.accuracy, time=record.started),
        hold=record.hold,
        held_by=record.held_by,
        held_why=record.held_why,
    )


TALK_ROWS: Final[tuple[tuple[type[Command], Row], ...]] = (
    row(GroupTune, Action.TALK_USE, _tune, aside=True),
    row(FloorRequest, Action.TALK_USE, _request, aside=True),
    row(FloorRelease, Action.TALK_USE, _release, aside=True),
    row(FloorRevoke, Action.FLOOR_REVOKE, _revoke, aside=True),
    row(AllCall, Action.TALK_BROADCAST, _all_call, aside=True),
    row(GroupCreate, Action.GROUP_MANAGE, _create_group, aside=True),
    row(GroupChange, Action.GROUP_MANAGE, _change_group, aside=True),
    row(GroupDelete, Action.GROUP_MANAGE, _delete_group, aside=True),
    row(PatchCreate, Action.GROUP_MANAGE, _create_patch, aside=True),
    row(PatchChange, Action.GROUP_MANAGE, _change_patch, aside=True),
    row(PatchMute, Action.GROUP_MANAGE, _mute, aside=True),
    row(CallStart, Action.TALK_USE, _start_call, aside=True),
    row(CallAnswer, Action.TALK_USE, _answer_call, aside=True),
    row(CallEnd, Action.TALK_USE, _end_call, aside=True),
    row(CallBackRequest, Action.TALK_USE, _ask_back, aside=True),
    row(CallBackTake, Action.ALARM_HANDLE, _take_back, aside=True),
    row(EmergencyStart, Action.EMERGENCY_RAISE, _emergency, aside=True),
    row(AlarmMove, Action.ALARM_HANDLE, _move_alarm, aside=True),
    row(SpurtSearch, Action.RECORDING_SEARCH, _search, aside=True),
    row(SpurtHold, _action_of_hold, _hold, aside=True),
)
