"""One browser, one certificate and one set-up server for every test that only looks; a file of tests that talk has a
browser and a server to itself, and the others start their own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from support.browser import Identity, Site, write_camera
from support.chromium import chromium
from support.running_server import RunningServer, running_server
from support.talk_page import write_microphone

MANY: Final = {"logins_per_minute": 600, "requests_per_minute": 6000}  # tests come one after the other


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity.make(tmp_path_factory.mktemp("identity") / "tls")


@pytest.fixture(scope="session")
def fake_camera(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The flag that gives Chromium a camera whose pictures carry the colour code of CAMERA_NUMBER."""
    path = tmp_path_factory.mktemp("camera") / "phone.y4m"
    write_camera(path)
    return f"--use-file-for-fake-video-capture={path}"


@pytest.fixture(scope="session")
def fake_microphone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The flag that gives Chromium a microphone that says syllables of TONE."""
    path = tmp_path_factory.mktemp("microphone") / "voice.wav"
    write_microphone(path)
    return f"--use-file-for-fake-audio-capture={path}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(identity: Identity, fake_camera: str) -> AsyncIterator[Browser]:
    async with chromium(identity.flag, fake_camera) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def talking_browser(
    identity: Identity, fake_camera: str, fake_microphone: str
) -> AsyncIterator[Browser]:
    """One whose pages can be heard, for the tests of one file."""
    async with chromium(identity.flag, fake_camera, fake_microphone) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    identity: Identity, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    """One that is set up, for the tests of one file."""
    async with running_server(
        folder=identity.data_folder(tmp_path_factory.mktemp("server")), limits=MANY
    ) as running:
        await running.setup_admin()
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        rtsp_port = int(free.getsockname()[1])
    async with running_server(
        folder=identity.data_folder(tmp_path_factory.mktemp("site")),
        limits=MANY,
        ingest={"rtsp": {"enabled": True, "networks": ["127.0.0.1/32"], "ports": [rtsp_port]}},
    ) as server:
        yield Site(server=server, admin=await server.setup_admin(), rtsp_port=rtsp_port)
