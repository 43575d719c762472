"""What clients and operators rely on is written down: messages, codes, causes, settings, generated types.

Each list is taken from the code and looked for in the document, and the other way round where the document has a list
of its own. The last test takes something away and sees that it is missed. That configs/reference.toml has every key
with its default is in tests/server/test_config.py.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from server.config import Config, Section
from server.signalling.entities import HealthRow
from server.signalling.messages import RESULTS, ClientCommand, ClientMessage, ServerMessage
from server.signalling.session import CLOSE_CODES
from server.signalling.websocket import REFUSALS, SESSION_ENDS
from server.video.catalogue import CAUSES
from server.video.ladder import MISSING, PUSHED

ROOT = Path(__file__).resolve().parent.parent
PROTOCOL = (ROOT / "server/signalling/PROTOCOL.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "configs/reference.toml").read_text(encoding="utf-8")

# Codes of errors that never leave the server, each with where it ends.
INSIDE = {
    "seal_broken": "a camera is then shown as `unauthorized` (server/video/catalogue.py)",
    "bus_away": "no command uses the bus between nodes yet",
    "gap": "a reader of the bus that missed something reads the state anew",
}


def section(heading: str) -> str:
    """The text below a heading of PROTOCOL.md."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PROTOCOL, re.MULTILINE | re.DOTALL)
    assert found, f"PROTOCOL.md has no section {heading}"
    return found.group(1)


def ticked(text: str) -> set[str]:
    """Words in back-ticks."""
    return set(re.findall(r"`([^`]+)`", text))


def first_column(text: str) -> set[str]:
    """Words in back-ticks in the first column of the tables."""
    return {word for line in text.splitlines() if line.startswith("|") for word in ticked(line.split("|")[1])}


# ---- messages ----


def tags(union: Any) -> set[str]:
    return {str(kind.__struct_config__.tag) for kind in get_args(union)}


def test_every_message_is_described() -> None:
    missing = (tags(ServerMessage) | tags(ClientMessage)) - ticked(PROTOCOL) - {"delta"}
    assert missing == set()
    assert "`delta`" in PROTOCOL


def test_the_table_of_commands_is_complete() -> None:
    assert first_column(section("Commands and replies")) == tags(ClientCommand)


def test_results_are_described_with_their_fields() -> None:
    lines = {
        word: line
        for line in PROTOCOL.splitlines()
        for word in ticked(line.split("|")[1] if "|" in line else "")
    }
    for command, result in RESULTS.items():
        told = re.search(r"`\{([^}]*)\}`", lines[str(command.__struct_config__.tag)])
        assert told, command
        assert [name.strip() for name in told.group(1).split(",")] == list(result.__struct_encode_fields__)


def test_every_goodbye_reason_is_described() -> None:
    reasons = (
        set(CLOSE_CODES) | set(REFUSALS) | set(SESSION_ENDS.values()) | {"schema", "timeout", "replaced"}
    )
    reasons |= literal_arguments("server/signalling", "end")
    assert ticked(section("Goodbye reasons")) >= reasons


def test_steps_and_states_are_described() -> None:
    streams = section("Streams")
    assert first_column(streams) == {"offline", "connecting", "live", "stalled", "retrying"}
    assert set(PUSHED) <= ticked(streams)


def test_the_typescript_types_are_those_of_the_messages() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "server.signalling.schema"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    kept = (ROOT / "web_console/frontend/src/messages.ts").read_text(encoding="utf-8")
    assert kept == made, "run: python -m server.signalling.schema > web_console/frontend/src/messages.ts"


# ---- codes ----


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def error_codes() -> dict[str, str]:
    """Wire codes of `FengsuiError`s in the server -> a file that has them: `code = "..."` of a class, `code="..."` of a
    call."""
    found = {}
    for path in python_files("server"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value = None
            if isinstance(node, ast.ClassDef):
                for line in node.body:
                    if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == "code":
                        value = line.value
            elif isinstance(node, ast.keyword) and node.arg == "code":
                value = node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
                found[value.value] = str(path.relative_to(ROOT))
    return found


def literal_arguments(folder: str, method: str) -> set[str]:
    """First arguments of calls of `.method("...")`."""
    return {
        node.args[0].value
        for path in python_files(folder)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


def test_every_error_code_is_described() -> None:
    codes = error_codes()
    assert len(codes) > 20
    told = ticked(section("Error codes"))
    assert {code: path for code, path in codes.items() if code not in told and code not in INSIDE} == {}


def test_no_code_is_described_that_nothing_raises() -> None:
    # sdp_…: raised by media/sdp and told under their own names
    told = {
        word for word in ticked(section("Error codes")) if not word.startswith("sdp_") and word != "bad_sdp"
    }
    assert told - set(error_codes()) == set()


def test_every_cause_is_described_and_no_other() -> None:
    assert first_column(section("Causes")) == CAUSES
    assert set(MISSING.values()) <= CAUSES


def test_the_rows_of_health_are_described() -> None:
    source = (ROOT / "server/health.py").read_text(encoding="utf-8")
    rows = set(re.findall(r'^ +"(\w+)": \("[^"]+", self\._\w+\),$', source, re.MULTILINE))
    assert first_column(section("Health")) == rows
    assert set(HealthRow.__struct_fields__) >= {"id", "state", "detail", "remedy", "value", "unit", "at"}


# ---- settings ----


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted keys of a configuration model."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from settings(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def keys(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys of a file."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


SELF_EXPLAINING = {
    "session_idle_hours",
    "session_absolute_hours",
    "password_min_length",
    "max_join_link_hours",
    "max_connections_per_address",
    "publishers",
    "viewers",
    "websockets_per_session",
    "retry_max",
    "key",
}


def test_settings_have_a_comment_or_a_name_that_says_it() -> None:
    silent = [
        line.split("=")[0].strip()
        for line in REFERENCE.splitlines()
        if re.match(r"\w+ =", line) and "#" not in line
    ]
    assert set(silent) - SELF_EXPLAINING == set()


def test_every_shipped_configuration_is_accepted() -> None:
    for path in sorted((ROOT / "configs").glob("*.toml")):
        assert set(keys(tomllib.loads(path.read_text(encoding="utf-8")))) <= set(settings(Config)), path.name


# ---- the tests themselves ----


@pytest.mark.parametrize(
    ("taken", "test"),
    [
        ("`slot.shown`", test_the_table_of_commands_is_complete),
        ("| `b_frames` |", test_every_cause_is_described_and_no_other),
        ("`storage_away`", test_every_error_code_is_described),
        ("`too_slow`", test_every_goodbye_reason_is_described),
        ("`pong`", test_every_message_is_described),
        ("`{link, url, qrSvg}`", test_results_are_described_with_their_fields),
    ],
)
def test_what_is_taken_away_is_missed(monkeypatch: pytest.MonkeyPatch, taken: str, test: Any) -> None:
    assert taken in PROTOCOL
    monkeypatch.setattr(sys.modules[__name__], "PROTOCOL", PROTOCOL.replace(taken, ""))
    with pytest.raises((AssertionError, KeyError)):
        test()


# ---- the table of proofs ----


def named_tests(text: str) -> Iterator[tuple[str, str]]:
    """(file below tests/, name or "") of each test that a text names."""
    for file, _, name in re.findall(r"`([\w/]+\.py)(::(\w+))?`", text):
        yield file, name


def test_every_proof_that_is_named_exists() -> None:
    tests = ROOT / "tests"
    missing = []
    for file, name in named_tests((tests / "README.md").read_text(encoding="utf-8")):
        path = tests / file
        if not path.is_file() or (name and f"def {name}(" not in path.read_text(encoding="utf-8")):
            missing.append(f"{file}::{name}")
    assert missing == []
    assert list(named_tests("`a/test_b.py::test_c` and `d/test_e.py`")) == [
        ("a/test_b.py", "test_c"),
        ("d/test_e.py", ""),
    ]
