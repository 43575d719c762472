"""`fengsui record`: recorded transmissions. Works beside a running server.

Times are those of this machine, `2026-11-26 12:00` or how long ago: `30m`, `8h`, `7d`.
"""

from __future__ import annotations

import asyncio
import datetime
import re
import time
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from server.cli.common import ConfigOption, operator, with_people
from server.config import load_config
from server.groups.stored import StoredGroups
from server.model.errors import BadRequest, NotFound
from server.model.ids import SpurtId
from server.people import People
from server.recordings import export as exporting
from server.recordings.evidence import Evidence
from server.recordings.index import SpurtIndex
from server.recordings.spurts import MAX_PAGE, WITH_FILE, Spurt, SpurtQuery

app = typer.Typer(help="Recordings: list, export, verify, hold, release.", no_args_is_help=True)

AGO: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
LEAST_ID: Final = 8  # characters of an id's end that are taken for it

GroupOption = Annotated[
    list[str] | None, typer.Option("--group", help="id, number or name of a talk group; may be repeated")
]
TextOption = Annotated[str, typer.Option("--talker", help="part of the talker's or a group's name")]
SinceOption = Annotated[str, typer.Option(help="begun since: 2026-11-26 12:00, or 8h (ago)")]
UntilOption = Annotated[str, typer.Option(help="begun before")]
EmergencyOption = Annotated[bool, typer.Option("--emergency", help="emergencies alone")]
HeldOption = Annotated[bool, typer.Option("--held", help="held as evidence alone")]
ReasonOption = Annotated[str, typer.Option(help="kept in the audit log")]
Which = Annotated[list[str], typer.Argument(metavar="ID...", help="ids, or their ends, as `list` shows them")]


@app.command("list")
def list_recordings(
    group: GroupOption = None,
    talker: TextOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    emergency: EmergencyOption = False,
    held: HeldOption = False,
    limit: Annotated[int, typer.Option(help="how many of the newest", min=1, max=10_000)] = 50,
    config: ConfigOption = None,
) -> None:
    """List recordings, newest first; searching is audited."""

    async def work(people: People) -> list[Spurt]:
        query = await _query(people, group, talker, since, until, emergency, held)
        found = await _search(SpurtIndex(people.database), query, limit)
        await people.audit.append(
            actor=operator(), action="recording.search", detail=f"{len(found)} recordings"
        )
        return found

    rows = Table("time", "talker", "groups", "s", "state", "evidence", "id")
    for spurt in with_people(config, work):
        rows.add_row(
            _local(spurt.started),
            f"{spurt.talker.name}{' SOS' if spurt.emergency else ''}",
            f"call with {spurt.peer.name}" if spurt.peer else " · ".join(one.name for one in spurt.groups),
            f"{spurt.duration:.1f}",
            spurt.state.value,
            f"{spurt.held_by}: {spurt.held_why}" if spurt.hold else "",
            spurt.id,
        )
    Console(soft_wrap=True).print(rows)


@app.command()
def export(
    to: Annotated[Path, typer.Option(help="a new folder, or an empty one")],
    reason: ReasonOption,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="these alone")] = None,
    group: GroupOption = None,
    talker: TextOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    emergency: EmergencyOption = False,
    held: HeldOption = False,
    limit: Annotated[int, typer.Option(help="how many at most", min=1, max=10_000)] = 1000,
    config: ConfigOption = None,
) -> None:
    """Copy recordings with an index and their SHA-256 into a folder; audited, and the index names the entry."""
    loaded = load_config(config)
    root = loaded.recordings_folder
    if root is None:
        raise NotFound("this server records nothing")
    why = _reason(reason)

    async def work(people: People) -> exporting.Index:
        index = SpurtIndex(people.database)
        if ids:
            chosen = [await _one(index, which) for which in ids]
        else:
            query = await _query(people, group, talker, since, until, emergency, held)
            chosen = await _search(index, query, limit)
        chosen = [spurt for spurt in chosen if spurt.state in WITH_FILE and spurt.ended is not None]
        if not chosen:
            raise NotFound("there is no such recording")
        exporting.prepare(to)
        copied = await asyncio.to_thread(exporting.copy, root, chosen, to)
        number = await people.audit.append(
            actor=operator(),
            action="recording.export",
            object=chosen[0].id if len(chosen) == 1 else f"{len(chosen)} recordings",
            detail=f"{why} ({chosen[-1].id} to {chosen[0].id})",
        )
        (entry,) = await people.audit.newest(before=number + 1, limit=1)
        made = exporting.Index(
            server=loaded.server.name,
            exported=people.clock.wallclock(),
            exported_by=operator(),
            reason=why,
            audit=exporting.Chain(number=entry.seq, hash=entry.hash),
            recordings=tuple(copied),
        )
        await asyncio.to_thread(exporting.write_index, to, made)
        return made

    made = with_people(config, work)
    wrong = [one for one in made.recordings if one.problem]
    for one in wrong:
        typer.echo(f"{one.spurt.id}: {one.problem}", err=True)
    typer.echo(f"{sum(bool(one.file) for one in made.recordings)} recordings are in {to}")
    if wrong:
        raise typer.Exit(1)


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help="an export's folder")]) -> None:
    """Check an export: whether every file is as it was exported; exit code 1 when one is not. Needs no server."""
    wrong = exporting.verify_export(folder)
    for name, problem in wrong:
        typer.echo(f"{name}: {problem}", err=True)
    if wrong:
        raise typer.Exit(1)
    typer.echo("every file is as it was exported")


@app.command()
def hold(ids: Which, reason: ReasonOption, config: ConfigOption = None) -> None:
    """Keep recordings as evidence: nothing erases them."""

    async def work(people: People) -> list[Spurt]:
        index = SpurtIndex(people.database)
        evidence = Evidence(index, people.audit)
        chosen = [await _one(index, which) for which in ids]
        return [
            await evidence.hold(
                spurt.id, reason=_reason(reason), actor=operator(), name=operator(), address=""
            )
            for spurt in chosen
        ]

    typer.echo(f"{len(with_people(config, work))} held as evidence")


@app.command()
def release(ids: Which, reason: ReasonOption, config: ConfigOption = None) -> None:
    """Let evidence go: it is erased when its time is over."""

    async def work(people: People) -> list[Spurt]:
        index = SpurtIndex(people.database)
        evidence = Evidence(index, people.audit)
        chosen = [await _one(index, which) for which in ids]
        return [
            await evidence.release(spurt.id, reason=_reason(reason), actor=operator(), address="")
            for spurt in chosen
        ]

    typer.echo(f"{len(with_people(config, work))} released")


# --------------------------------------------------------------------------- what is meant


async def _query(
    people: People,
    groups: list[str] | None,
    text: str,
    since: str,
    until: str,
    emergency: bool,
    held: bool,
) -> SpurtQuery:
    """Groups that have ended are known by the recordings alone: by their id, or their name as text."""
    records, _ = await StoredGroups(people.database, people.audit, people.clock).load()
    named: list[str] = []
    for which in groups or []:
        found = [one.id for one in records if which in (one.id, str(one.number), one.name)]
        named += found or [which]
    now = time.time()
    return SpurtQuery(
        groups=tuple(named),
        text=text,
        since=_time(since, now, "since"),
        until=_time(until, now, "until"),
        emergency=emergency,
        held=held,
    )


async def _search(index: SpurtIndex, query: SpurtQuery, limit: int) -> list[Spurt]:
    """Page after page."""
    found: list[Spurt] = []
    while len(found) < limit:
        before = found[-1].id if found else ""
        page = await index.search(
            msgspec.structs.replace(query, before=before, limit=min(MAX_PAGE, limit - len(found)))
        )
        if not page:
            break
        found += page
    return found


async def _one(index: SpurtIndex, which: str) -> Spurt:
    """Raises NotFound."""
    spurt = await index.get(SpurtId(which))
    found = [spurt] if spurt is not None else await index.ending(which) if len(which) >= LEAST_ID else []
    if len(found) != 1:
        raise NotFound(f"{len(found)} recordings are called {which!r}; `fengsui record list` shows them")
    return found[0]


def _time(text: str, now: float, field: str) -> float | None:
    """Raises BadRequest."""
    if not text:
        return None
    if ago := AGO.fullmatch(text.strip()):
        return now - float(ago[1]) * SECONDS[ago[2]]
    try:
        return datetime.datetime.fromisoformat(text.strip()).timestamp()
    except ValueError as error:
        raise BadRequest(f"no time: {text!r}; write 2026-11-26 12:00, or 8h", field=field) from error


def _reason(text: str) -> str:
    if not text.strip():
        raise BadRequest("say why", field="reason")
    return text.strip()


def _local(when: float) -> str:
    return datetime.datetime.fromtimestamp(when).strftime("%Y-%m-%d %H:%M:%S")
