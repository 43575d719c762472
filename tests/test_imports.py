"""The import rules of the architecture, read from the source: who may import whom, and what stays free of IO.

Each rule is one row of a table. The last tests plant violations and see that the rules find them.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
OURS = ("media", "radio_bridge", "satellite", "server", "web_console")

# Modules whose name starts so -> what of ours they may import; the longest start that fits decides.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "server.model": ("server.model",),  # the leaf that everyone may import
    "server": ("server", "web_console", "radio_bridge", "satellite"),
    "server.app": OURS,  # the composition root
    "server.routing": ("server", "media"),  # the one bridge from control to media
    "server.cli.agent": ("server.cli", "server.model", "media"),  # starts the field agent
    "server.cli.bench": OURS,
    "server.cli.demo": OURS,
    "media": ("media", "server.model"),
    "radio_bridge": ("radio_bridge", "server.model", "media.rtp"),
    "satellite": ("satellite", "server.model", "media.rtp"),
    "web_console": ("web_console", "server.model"),
}

# Decide without IO: bytes, messages and `now` come in as arguments. A row is a file or a whole folder.
SANS_IO = (
    "media/agent/colour_code.py",
    "media/agent/scene.py",
    "media/egress/ogg.py",
    "media/egress/timeline.py",
    "media/framing.py",
    "media/ingest/rtsp_guard.py",
    "media/outbox.py",
    "media/protocol.py",
    "media/relay/allocation.py",
    "media/relay/bandwidth.py",
    "media/relay/delay_trend.py",
    "media/relay/dispersion.py",
    "media/relay/demux.py",
    "media/relay/engine.py",
    "media/relay/extensions.py",
    "media/relay/folding.py",
    "media/relay/messages.py",
    "media/relay/pacing.py",
    "media/relay/payloads.py",
    "media/relay/rewrite.py",
    "media/relay/selection.py",
    "media/rtp",
    "media/sdp",
    "media/transport/dtls.py",
    "media/transport/ice.py",
    "media/transport/stun.py",
    "media/transport/token_bucket.py",
    "media/transport/webrtc.py",
    "server/alarms/alarm.py",
    "server/groups/causes.py",
    "server/groups/floor.py",
    "server/groups/floor_events.py",
    "server/groups/floor_queue.py",
    "server/groups/legs.py",
    "server/groups/patches.py",
    "server/model",
    "server/positions/position.py",
    "server/recordings/spurts.py",
    "server/routing/allotment.py",
    "server/routing/joining.py",
    "server/routing/reports.py",
    "server/routing/tables.py",
    "server/routing/views.py",
    "server/signalling/clients.py",
    "server/signalling/entities.py",
    "server/signalling/messages.py",
    "server/signalling/session.py",
    "server/state.py",
    "server/units/directory.py",
    "server/units/presence.py",
    "server/video/admission.py",
    "server/video/ladder.py",
)
IO = frozenset(
    [
        "aiohttp",
        "aioice",
        "aiortc",
        "aiosqlite",
        "asyncio",
        "av",
        "multiprocessing",
        "OpenSSL",
        "pylibsrtp",
        "redis",
        "select",
        "selectors",
        "signal",
        "socket",
        "sqlalchemy",
        "ssl",
        "subprocess",
        "threading",
        "time",
        "uvloop",
    ]
)
# Uses of such a library that do no IO: module, library.
IN_MEMORY = frozenset({("media.transport.dtls", "OpenSSL")})

# Outside libraries that are no Python package of ours to declare: module, library.
FROM_THE_SYSTEM = frozenset({("media.agent.rtsp_server", "gi")})  # runs in Debian's Python


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One source file: its dotted name and every module it imports, wherever in the file."""

    name: str
    path: Path
    imports: frozenset[str] = field(repr=False)


def imported(tree: ast.Module, name: str, is_package: bool) -> Iterator[str]:
    """Dotted names that `tree`, the module `name`, imports; `from a import b` gives `a` and `a.b`."""
    package = name.split(".") if is_package else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base
            for alias in node.names:
                yield f"{base}.{alias.name}"


def modules(root: Path) -> dict[str, Module]:
    """Every module of ours below `root`, by name."""
    found = {}
    for top in OURS:
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if "node_modules" in parts:
                continue
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            found[name] = Module(name=name, path=path, imports=frozenset(imported(tree, name, is_package)))
    return found


def below(name: str, start: str) -> bool:
    return name == start or name.startswith(start + ".")


def layer_violations(found: dict[str, Module]) -> list[str]:
    """Imports of ours that MAY_IMPORT does not allow."""
    wrong = []
    for module in found.values():
        rule = max((start for start in MAY_IMPORT if below(module.name, start)), key=len)
        allowed = MAY_IMPORT[rule]
        for target in sorted(module.imports):
            # `from server import model` names `server` too, which only runs an empty __init__
            if target.split(".")[0] not in OURS or any(
                below(target, start) or below(start, target) for start in allowed
            ):
                continue
            wrong.append(f"{module.name} imports {target}; {rule} may import only {', '.join(allowed)}")
    return wrong


def violations_of_test_support(found: dict[str, Module]) -> list[str]:
    """Imports of test code from the product."""
    return [
        f"{module.name} imports {target}"
        for module in found.values()
        for target in sorted(module.imports)
        if target.split(".")[0] in ("tests", "support", "pytest", "hypothesis")
    ]


def reached(found: dict[str, Module], name: str) -> dict[str, str]:
    """Modules of ours that importing `name` loads -> the one that brings each in."""
    brought_by = {name: name}
    queue = [name]
    while queue:
        current = queue.pop()
        parents = [current.rsplit(".", depth)[0] for depth in range(1, current.count(".") + 1)]
        for target in (*sorted(found[current].imports), *parents):
            if target in found and target not in brought_by:
                brought_by[target] = current
                queue.append(target)
    return brought_by


def is_sans_io(path: Path) -> bool:
    return any(path == Path(row) or Path(row) in path.parents for row in SANS_IO)


def io_violations(root: Path, found: dict[str, Module]) -> list[str]:
    """IO that a sans-IO module imports, itself or through other modules of ours."""
    wrong = []
    for module in found.values():
        if not is_sans_io(module.path.relative_to(root)):
            continue
        for name, through in reached(found, module.name).items():
            for target in sorted({target.split(".")[0] for target in found[name].imports} & IO):
                if (name, target) in IN_MEMORY:
                    continue
                way = "" if name == module.name else f" through {name} (imported by {through})"
                wrong.append(f"{module.name} is sans-IO but imports {target}{way}")
    return wrong


def unlisted_packages(root: Path, listed: list[str]) -> tuple[list[str], list[str]]:
    """Package folders that `listed` lacks, and names in `listed` that are no package folder."""
    present = {
        ".".join(path.parent.relative_to(root).parts)
        for top in OURS
        for path in (root / top).rglob("__init__.py")
        if "node_modules" not in path.parts
    }
    return sorted(present - set(listed)), sorted(set(listed) - present)


def undeclared_libraries(found: dict[str, Module], declared: frozenset[str]) -> list[str]:
    """Imports of outside packages that only come along with another one, or not at all."""
    providers = packages_distributions()
    wrong = []
    for module in found.values():
        for target in sorted({target.split(".")[0] for target in module.imports}):
            if (
                target in OURS
                or target in sys.stdlib_module_names
                or (module.name, target) in FROM_THE_SYSTEM
            ):
                continue
            if not declared & {canonicalize_name(name) for name in providers.get(target, ())}:
                wrong.append(f"{module.name} imports {target}, which pyproject.toml does not ask for")
    return wrong


FOUND = modules(ROOT)


def test_modules_import_only_what_their_layer_may() -> None:
    assert layer_violations(FOUND) == []


def test_product_does_not_import_test_code() -> None:
    assert violations_of_test_support(FOUND) == []


def test_sans_io_modules_reach_no_io() -> None:
    assert io_violations(ROOT, FOUND) == []


@pytest.mark.parametrize("row", SANS_IO)
def test_sans_io_table_names_what_exists(row: str) -> None:
    assert (ROOT / row).is_file() or any((ROOT / row).glob("*.py"))


def test_every_package_is_listed_in_pyproject() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = settings["tool"]["setuptools"]["packages"]
    assert unlisted_packages(ROOT, listed) == ([], [])
    assert listed == sorted(listed)


def test_outside_libraries_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["agent"]]
    declared = frozenset(canonicalize_name(Requirement(text).name) for text in asked)
    assert undeclared_libraries(FOUND, declared) == []


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {module.path.parent for module in FOUND.values()}
    assert [
        str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()
    ] == []


# ---- the rules themselves ----


def plant(root: Path, **sources: str) -> dict[str, Module]:
    """A tree of modules; `a__b=source` becomes a/b.py."""
    for name, source in sources.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in (path.parent, *path.parent.parents):
            if folder == root:
                break
            (folder / "__init__.py").touch()
        path.write_text(source, encoding="utf-8")
    return modules(root)


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("server__model__ids", "import server.units"),
        ("server__model__ids", "from ..units import presence"),
        ("server__floor", "import media"),
        ("server__api__whip", "def f():\n    from media.relay import messages"),
        ("server__application", "import media.relay"),
        ("media__node", "from server import app"),
        ("media__node", "from server.signalling.messages import Hello"),
        ("radio_bridge__bridge", "import media.relay.engine"),
        ("satellite__link", "from radio_bridge import audio"),
        ("web_console__views", "import media.rtp"),
    ],
)
def test_layer_rule_finds(tmp_path: Path, where: str, source: str) -> None:
    found = plant(tmp_path, **{where: source})
    assert len(layer_violations(found)) >= 1


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("server__model__ids", "from .errors import FengsuiError"),
        ("server__routing", "from media.relay import messages"),
        ("server__app", "import media.protocol"),
        ("server__cli__agent", "from media.agent import publish"),
        ("media__node", "from server.model import ids"),
        ("radio_bridge__bridge", "from media.rtp.packet import Packet"),
    ],
)
def test_layer_rule_allows(tmp_path: Path, where: str, source: str) -> None:
    assert layer_violations(plant(tmp_path, **{where: source})) == []


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "import asyncio.subprocess",
        "from time import monotonic",
        "def f():\n    import socket",
        "from media.transport import udp",
        "from ..transport.udp import send",
    ],
)
def test_io_rule_finds(tmp_path: Path, source: str) -> None:
    found = plant(tmp_path, media__transport__udp="import socket", media__rtp__packet=source)
    assert len(io_violations(tmp_path, found)) >= 1


def test_io_rule_finds_io_in_a_parent_package(tmp_path: Path) -> None:
    plant(tmp_path, media__rtp__packet="import struct")
    (tmp_path / "media" / "__init__.py").write_text("import asyncio", encoding="utf-8")
    assert io_violations(tmp_path, modules(tmp_path)) == [
        "media.rtp is sans-IO but imports asyncio through media (imported by media.rtp)",
        "media.rtp.packet is sans-IO but imports asyncio through media (imported by media.rtp.packet)",
    ]


def test_package_list_rule_finds_both_ways(tmp_path: Path) -> None:
    plant(tmp_path, media__rtp__packet="", server__app="")
    assert unlisted_packages(tmp_path, ["media", "server", "satellite"]) == (["media.rtp"], ["satellite"])


def test_library_rule_finds_what_only_comes_along(tmp_path: Path) -> None:
    found = plant(
        tmp_path, media__node="import aiohttp\nimport yarl\nimport os", server__app="import nowhere"
    )
    assert undeclared_libraries(found, frozenset({"aiohttp"})) == [
        "media.node imports yarl, which pyproject.toml does not ask for",
        "server.app imports nowhere, which pyproject.toml does not ask for",
    ]
