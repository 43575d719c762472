"""`fengsui group`: talk groups. Works beside a running server, which takes changes over within a second."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from server.auth.permissions import Role
from server.cli.common import ConfigOption, operator, with_people
from server.groups.legs import HIGHEST_PRIORITY
from server.groups.membership import GroupKind, GroupRecord, MemberKind, MemberRecord
from server.groups.stored import Author, StoredGroups
from server.model.errors import BadRequest, NotFound
from server.model.names import clean_name
from server.people import People

app = typer.Typer(help="Talk groups: add, member, list, delete.", no_args_is_help=True)

KINDS: Final = (GroupKind.STATIC, GroupKind.BROADCAST)


def _author() -> Author:
    return Author(actor=operator(), name=operator(), user=operator(), address="")


def _stored(people: People) -> StoredGroups:
    return StoredGroups(people.database, people.audit, people.clock)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="name that is shown")],
    role: Annotated[
        list[str] | None, typer.Option(help="everybody of this role is a member; may be repeated")
    ] = None,
    unit: Annotated[list[str] | None, typer.Option(help="id of a unit that is a member")] = None,
    kind: Annotated[str, typer.Option(help=" | ".join(KINDS))] = GroupKind.STATIC,
    listen_only: Annotated[bool, typer.Option(help="the members may only listen")] = False,
    config: ConfigOption = None,
) -> None:
    """Add a talk group. Officers are in every group."""
    if kind not in KINDS:
        raise BadRequest(f"a group is {' or '.join(KINDS)}", field="kind")
    _known_roles(role)
    shown = clean_name(name, 32)
    if not shown:
        raise BadRequest("a group needs a name", field="name")
    members = [
        *(MemberRecord(kind=MemberKind.ROLE, subject=one, talk=not listen_only) for one in role or []),
        *(MemberRecord(kind=MemberKind.UNIT, subject=one, talk=not listen_only) for one in unit or []),
    ]
    with_people(
        config,
        lambda people: _stored(people).create(
            name=shown, kind=GroupKind(kind), members=members, expires=None, author=_author()
        ),
    )
    typer.echo(f"{shown} is there")


@app.command()
def member(
    which: Annotated[str, typer.Argument(help="id, number or name of the group")],
    role: Annotated[list[str] | None, typer.Option(help="everybody of this role; may be repeated")] = None,
    unit: Annotated[list[str] | None, typer.Option(help="id of a unit")] = None,
    user: Annotated[list[str] | None, typer.Option(help="id of an account")] = None,
    priority: Annotated[
        int | None, typer.Option(min=0, max=HIGHEST_PRIORITY, help="0 to 15, larger goes first")
    ] = None,
    listen_only: Annotated[
        bool | None, typer.Option("--listen-only/--talk", help="whether they may only listen")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="they are no members any more")] = False,
    config: ConfigOption = None,
) -> None:
    """Make units, accounts or roles members of a talk group, change what they may there, or take them out."""
    _known_roles(role)
    keys = [
        *((MemberKind.ROLE, one) for one in role or []),
        *((MemberKind.UNIT, one) for one in unit or []),
        *((MemberKind.USER, one) for one in user or []),
    ]
    if not keys:
        raise BadRequest("say who: --role, --unit or --user")
    if remove and (priority is not None or listen_only is not None):
        raise BadRequest("--remove goes alone")

    async def work(people: People) -> str:
        stored = _stored(people)
        record = _found((await stored.load())[0], which)
        if record.kind is GroupKind.ALL_CALL:
            raise BadRequest("everybody hears the all-call group", field="which")
        members = {(one.kind, one.subject): one for one in record.members}
        for kind, subject in keys:
            if remove and members.pop((kind, subject), None) is None:
                raise NotFound(f"{kind} {subject} is no member of {record.name}")
            if not remove:
                before = members.get((kind, subject), MemberRecord(kind=kind, subject=subject))
                members[kind, subject] = MemberRecord(
                    kind=kind,
                    subject=subject,
                    talk=before.talk if listen_only is None else not listen_only,
                    priority=before.priority if priority is None else priority,
                )
        await stored.change(
            record.id, name=None, members=list(members.values()), expires=None, author=_author()
        )
        return record.name

    typer.echo(f"{with_people(config, work)} is changed")


@app.command("list")
def list_groups(config: ConfigOption = None) -> None:
    """List the talk groups."""
    records, _ = with_people(config, lambda people: _stored(people).load())
    rows = Table("number", "name", "kind", "members", "id")
    for record in records:
        members = ", ".join(_words(member) for member in record.members)
        rows.add_row(str(record.number), record.name, record.kind.value, members, record.id)
    Console(soft_wrap=True).print(rows)


@app.command()
def delete(
    which: Annotated[str, typer.Argument(help="id, number or name")],
    reason: Annotated[str, typer.Option(help="kept in the audit log")],
    config: ConfigOption = None,
) -> None:
    """End a talk group; its recordings stay."""

    async def work(people: People) -> str:
        stored = _stored(people)
        record = _found((await stored.load())[0], which)
        if record.kind is GroupKind.ALL_CALL:
            raise BadRequest("the all-call group stays", field="which")
        await stored.delete(record.id, reason=reason, author=_author())
        return record.name

    typer.echo(f"{with_people(config, work)} has ended")


def _known_roles(roles: list[str] | None) -> None:
    """Raises BadRequest."""
    known = {str(one) for one in Role}
    for one in roles or []:
        if one not in known:
            raise BadRequest(f"there is no role {one!r}: {', '.join(sorted(known))}", field="role")


def _words(member: MemberRecord) -> str:
    return f"{member.kind} {member.subject} ({member.priority}{'' if member.talk else ', listens'})"


def _found(records: list[GroupRecord], which: str) -> GroupRecord:
    found = [record for record in records if which in (record.id, str(record.number), record.name)]
    if len(found) != 1:
        raise NotFound(f"{len(found)} groups are called {which!r}; `fengsui group list` shows them")
    return found[0]
