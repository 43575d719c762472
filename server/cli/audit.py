"""`fengsui audit`: the record of who did what."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from server.auth.audit import Verdict
from server.cli.common import ConfigOption, operator, with_people
from server.people import People

app = typer.Typer(help="The audit log: verify, show.", no_args_is_help=True)


@app.command()
def verify(config: ConfigOption = None) -> None:
    """Check the whole chain; exit code 1 and the first bad entry when somebody changed it."""

    async def work(people: People) -> Verdict:
        verdict = await people.audit.verify()
        if not verdict.first_bad:
            await people.audit.append(
                actor=operator(), action="audit.verify", detail=f"{verdict.entries} entries"
            )
        return verdict

    verdict = with_people(config, work)
    if verdict.first_bad:
        typer.echo(f"entry {verdict.first_bad} is bad: {verdict.problem}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{verdict.entries} entries, whole; head {verdict.head}")


@app.command()
def show(
    limit: Annotated[int, typer.Option(help="how many of the newest", min=1, max=1000)] = 50,
    config: ConfigOption = None,
) -> None:
    """Show the newest entries; reading is audited."""

    async def work(people: People) -> Table:
        rows = Table("no.", "time", "who", "did", "what", "result", "from", "detail")
        for entry in reversed(await people.audit.newest(limit=limit)):
            when = datetime.datetime.fromtimestamp(entry.time).strftime("%Y-%m-%d %H:%M:%S")
            rows.add_row(
                str(entry.seq),
                when,
                entry.actor,
                entry.action,
                entry.object,
                entry.result,
                entry.address,
                entry.detail,
            )
        await people.audit.append(actor=operator(), action="audit.read", detail=f"newest {limit}")
        return rows

    Console(soft_wrap=True).print(with_people(config, work))
