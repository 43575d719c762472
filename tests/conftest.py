"""What holds for every test: fuzzing profiles, and the marks that follow from a test's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from support.postgres_server import PostgresServer, postgres_server

TESTS = Path(__file__).parent

# Folder below tests/ -> the mark that all its tests carry (pyproject.toml says what each mark means).
FOLDER_MARKS = {"bench": pytest.mark.bench, "e2e": pytest.mark.e2e}

# The everyday profile repeats exactly, so that a red run is red again; `make test-long` looks for new inputs.
# Machines are shared and slow at times: how long an example takes says nothing.
hypothesis.settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("long", deadline=None, max_examples=20_000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in FOLDER_MARKS:
            item.add_marker(FOLDER_MARKS[folder])


class Lanes(LoadScopeScheduling):
    """How `pytest -n 2` shares the run: one worker has all that drives browsers, which share a server and would slow
    each other; the other takes the rest, file by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "e2e" if file.startswith("tests/e2e/") else file


@pytest.hookimpl(optionalhook=True)  # so that `-p no:xdist` works
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Lanes:
    return Lanes(config, log)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One for all tests; those that stop or kill it start their own."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def storage_url(request: pytest.FixtureRequest) -> str:
    """`storage.url` of an empty database; a test that takes it runs on every database that a server may have."""
    if request.param == "sqlite":
        return ""
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.emptied()
