"""WHIP and WHEP sessions of counting peers (RFC 9725 and its draft for players), over one HTTPS client."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

import aiohttp

from bench.workers import BenchFailed

POST_WITHIN: Final = 15.0  # s
CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the server is and with which token. `ca`: path of the certificate to trust."""

    url: str
    ca: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One WHIP or WHEP session. `links`: the Link header, `location`: its own address."""

    answer: str
    location: str


class Sessions:
    """Opens and ends sessions. Raises BenchFailed when the server refuses."""

    def __init__(self, site: Site) -> None:
        self._site = site
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(site.ca)
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=CONNECTIONS),
            headers={"Authorization": f"Bearer {site.token}"},
            timeout=aiohttp.ClientTimeout(total=POST_WITHIN),
        )

    async def open(self, path: str, offer: str) -> Session:
        url = urljoin(self._site.url, path)
        async with self._client.post(url, data=offer, headers={"Content-Type": "application/sdp"}) as answer:
            text = await answer.text()
            if answer.status != 201:
                raise BenchFailed(f"POST {path}: {answer.status} {text[:300]}")
            return Session(answer=text, location=urljoin(url, answer.headers["Location"]))

    async def end(self, session: Session) -> None:
        async with self._client.delete(session.location) as answer:
            if answer.status >= 300 and answer.status != 404:  # it is over already: lost, or said by the peer
                raise BenchFailed(f"DELETE of a session: {answer.status} {(await answer.text())[:300]}")

    async def close(self) -> None:
        await self._client.close()
