"""What the operator sees in the terminal: where to go, what to compare, and the set-up code."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from server.tls import CertificateInfo


class Banner:
    """Prints to standard output; the set-up code appears nowhere else."""

    def __init__(self, name: str, version: str) -> None:
        self._console = Console(highlight=False, emoji=False, soft_wrap=True)
        self._name = name
        self._version = version

    def started(
        self,
        *,
        urls: Sequence[str],
        certificate: CertificateInfo,
        media: str,
        data: str,
        warnings: Sequence[str],
    ) -> None:
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(overflow="fold")
        for number, url in enumerate(urls):
            rows.add_row("open" if number == 0 else "", Text(url, style="bold" if number == 0 else ""))
        whose = "local CA, at /ca" if certificate.own_ca else "your certificate"
        rows.add_row("TLS", Text(f"{whose}; SHA-256 {certificate.fingerprint}"))
        rows.add_row("media", Text(media))
        rows.add_row("data", Text(data))
        for warning in warnings:
            rows.add_row("warning", Text(warning, style="yellow"))
        title = Text(f"{self._name} · Fengsui {self._version}")
        self._console.print(Panel(rows, title=title, title_align="left", border_style="blue"))

    def setup_code(self, code: str, url: str, minutes: float) -> None:
        text = Text.assemble(
            "No administrator exists yet. Open ",
            (f"{url}/setup", "bold"),
            " and enter this code within ",
            f"{minutes:g} minutes: ",
            (code, "bold reverse"),
        )
        self._console.print(text)

    def failed(self, problem: str, remedy: str) -> None:
        self._console.print(Text.assemble(("✗ ", "red"), problem, "\n  → ", remedy))
