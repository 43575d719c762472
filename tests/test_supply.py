"""What the project ships and installs: no secret, no download address, no path of somebody's machine; every
package that set-up installs is pinned by hash and the same everywhere."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-node.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# What no file may contain. Each pattern is written so that it does not find itself.
FORBIDDEN = {
    "a private key": re.compile(r"-{5}BEGIN [A-Z ]*PRIVATE KEY-{5}\s+[A-Za-z0-9+/]{20}"),
    "a device token": re.compile(r"\bfsd_[0-9A-Za-z-]{1,40}_[0-9A-Za-z_-]{43}\b"),
    "a stream token": re.compile(r"\bfst1\.[\w-]+\.[\w-]{8,}\.[\w-]{43}\b"),
    "a cloud or code-host key": re.compile(r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_[0-9A-Za-z]{36})\b"),
    "a default password": re.compile(
        r"(?:admin[:/]admin\b|\bchange[-_]?me\b|\badmin123\b|\bpassword123\b)(?!\\b)", re.IGNORECASE
    ),
    "a password in an address": re.compile(
        r"\b(?:redis|postgresql|rtsps?|https?)(?:\+\w+)?://[\w.-]*:(?!secret@|password@|\{)[\w.%-]+@",
        re.IGNORECASE,
    ),
    "a package's download address": re.compile(
        r'"resolved":\s*"http|(?:files\.python[h]osted|registry\.npm[j]s)\.org'
    ),
    "a registry's address": re.compile(
        r"(?:--(?:extra-)?index-url|\bregistry)[ =:\"']+https?:", re.IGNORECASE
    ),
    "a path of somebody's machine": re.compile(
        r"(?<![\w.:/])/(?:home/(?!fengsui\b)[a-z][\w-]*|root|Users/\w+|work)/"
    ),
}
# (file, what is found) pairs that are meant.
MEANT = frozenset(
    {
        ("tests/server/auth/test_passwords.py", "a default password"),  # among those that must be refused
    }
)

SECRET_KEY = re.compile(r"(?:^|_)(?:password|passwd|passphrase|secret|token|api_key)$")


def tracked_files() -> list[Path]:
    """Files in the repository, and those about to be: not ignored by git."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    paths = (ROOT / name for name in listing.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def findings(text: str) -> Iterator[tuple[int, str]]:
    """Line numbers and names of what `text` must not contain."""
    for what, pattern in FORBIDDEN.items():
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, what


def secrets_set(table: dict[str, Any], path: str = "") -> Iterator[str]:
    """Dotted keys of a configuration that are named like a secret and have a value."""
    for key, value in table.items():
        name = f"{path}{key}"
        if isinstance(value, dict):
            yield from secrets_set(value, f"{name}.")
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from secrets_set(item, f"{name}.")
        elif SECRET_KEY.search(key.lower()) and isinstance(value, str) and value:
            yield name


def test_no_file_holds_a_secret_an_address_or_a_path_of_ours() -> None:
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        name = str(path.relative_to(ROOT))
        found += [f"{name}:{line}: {what}" for line, what in findings(text) if (name, what) not in MEANT]
    assert found == []


def test_no_configuration_sets_a_secret() -> None:
    found = []
    for path in tracked_files():
        if path.suffix == ".toml":
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            found += [f"{path.relative_to(ROOT)}: {key}" for key in secrets_set(table)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("-----BEGIN PRIVATE " + "KEY-----\nMC4CAQAwBQYDK2VwBCIEIOd0", "a private key"),
        ("-----BEGIN EC PRIVATE " + "KEY-----\nMC4CAQAwBQYDK2VwBCIEIOd0", "a private key"),
        ("token = 'fsd_0198f_" + "A" * 43 + "'", "a device token"),
        ("Bearer fst1.k1.eyJzdHJlYW0i." + "b" * 43, "a stream token"),
        ("AKIA" + "ABCDEFGHIJKLMNOP", "a cloud or code-host key"),
        ("log in with admin:" + "admin", "a default password"),
        ("SECRET=change" + "me", "a default password"),
        ("redis://:hunter2" + "@127.0.0.1", "a password in an address"),
        ("rtsp://viewer:12345" + "@10.0.0.9/1", "a password in an address"),
        ('"resolved": ' + '"https://example.org/a.tgz"', "a package's download address"),
        ("--index-url " + "https://example.org/simple", "a registry's address"),
        ("registry=" + "https://example.org/", "a registry's address"),
        ("see /home/" + "somebody/notes", "a path of somebody's machine"),
        ("open('/root" + "/.cache')", "a path of somebody's machine"),
    ],
)
def test_patterns_find(text: str, what: str) -> None:
    assert (1, what) in list(findings(text))


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://viewer:{password}@camera/1",
        "http://127.0.0.1:8443/whip",
        "https://[::1]:8443/whep/unit",
        "GET /work-orders/1 and /homepage",
        "password = getpass()",
    ],
)
def test_patterns_leave_alone(text: str) -> None:
    assert list(findings(text)) == []


def test_secret_keys_are_found_at_any_depth() -> None:
    table = tomllib.loads('a = 1\n[radio.sip]\npassword = "x"\n[[camera]]\ntoken = "y"\n[tls]\nsecret = ""')
    assert list(secrets_set(table)) == ["radio.sip.password", "camera.token"]


# ---- locks ----


def locked(name: str) -> dict[str, list[tuple[Requirement, int]]]:
    """Requirements of a lock file by canonical name, each with how many hashes it has."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[tuple[Requirement, int]]] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        requirement = Requirement(line.split("--hash=")[0])
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)", line)
        found.setdefault(canonicalize_name(requirement.name), []).append((requirement, len(hashes)))
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_requirement_is_pinned_and_has_hashes(name: str) -> None:
    for rows in locked(name).values():
        for requirement, hashes in rows:
            assert re.fullmatch(r"==[\w.!+]+", str(requirement.specifier)), requirement
            assert requirement.url is None
            assert hashes >= 1, requirement


@pytest.mark.parametrize("name", LOCKS)
def test_locks_give_no_options_and_no_addresses(name: str) -> None:
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        assert line.startswith(("    --hash=sha256:", "    #")) or re.match(r"[\w.-]+==", line), line


def test_development_lock_holds_the_runtime_lock() -> None:
    runtime, development = locked("requirements.lock"), locked("requirements-dev.lock")
    assert {key: [str(row) for row, _ in rows] for key, rows in runtime.items()} == {
        key: [str(row) for row, _ in rows] for key, rows in development.items() if key in runtime
    }


def wanted(*extras: str) -> Iterator[Requirement]:
    """What pyproject.toml asks for directly, with these extras."""
    project = PROJECT["project"]
    for extra in extras:
        for text in project["optional-dependencies"][extra]:
            requirement = Requirement(text)
            if requirement.name == project["name"]:
                yield from wanted(*requirement.extras)
            else:
                yield requirement
    yield from map(Requirement, project["dependencies"])


@pytest.mark.parametrize(
    ("name", "extras", "group"),
    [
        ("requirements.lock", ["agent"], "build"),
        ("requirements-dev.lock", list(PROJECT["project"]["optional-dependencies"]), "build"),
        ("requirements-node.lock", None, "node"),
    ],
)
def test_locks_hold_what_pyproject_asks_for(name: str, extras: list[str] | None, group: str) -> None:
    held = locked(name)
    asked = [*map(Requirement, PROJECT["dependency-groups"][group])]
    if extras is not None:
        asked += wanted(*extras)
    for requirement in asked:
        rows = held.get(canonicalize_name(requirement.name), [])
        assert rows, f"{name} lacks {requirement}; run make lock"
        for row, _ in rows:
            version = Version(str(row.specifier).removeprefix("=="))
            assert version in requirement.specifier, f"{name} has {row}, not {requirement}; run make lock"


@pytest.mark.parametrize("python", ["3.11.2", "3.11.9", "3.12.5", "3.13.1"])
def test_each_supported_python_gets_one_version_of_each_package(python: str) -> None:
    environment = {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
    }

    def applies(marker: Marker | None) -> bool:
        return marker is None or marker.evaluate(dict(environment))

    for name in LOCKS:
        for key, rows in locked(name).items():
            assert sum(applies(row.marker) for row, _ in rows) <= 1, f"{name}: {key}"


FRONTEND_LOCK = ROOT / "web_console" / "frontend" / "package-lock.json"


def test_front_end_packages_are_pinned_by_hash_without_addresses() -> None:
    packages = json.loads(FRONTEND_LOCK.read_text(encoding="utf-8"))["packages"]
    for path, package in packages.items():
        if path and not package.get("link"):
            assert package.get("integrity", "").startswith("sha512-"), path
            assert "resolved" not in package, path


def test_rust_packages_are_pinned_by_hash_and_of_the_public_registry() -> None:
    """The source is cargo's name of that registry, not where anything is fetched from."""
    for package in tomllib.loads((ROOT / "media/native/Cargo.lock").read_text(encoding="utf-8"))["package"]:
        if package["name"] != "fengsui-native":
            assert re.fullmatch(r"[0-9a-f]{64}", package["checksum"]), package
            assert package["source"] == "registry+https://github.com/rust-lang/crates.io-index"


def test_licence_is_the_one_that_is_declared() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"
