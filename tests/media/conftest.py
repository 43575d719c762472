"""What tests of a real media process share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.counting_peer import CountingPeer, MakePeer


@pytest.fixture
async def peers() -> AsyncIterator[MakePeer]:
    """Makes peers, as many as a test asks for; they are closed with it."""
    made: list[CountingPeer] = []

    def make() -> CountingPeer:
        made.append(CountingPeer(decrypt=True))
        return made[-1]

    yield make
    for peer in made:
        peer.close()
