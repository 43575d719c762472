"""Which origins are our own, and what to print for people to open."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from server.addresses import url_host

LOOPBACK = ("127.0.0.1", "::1")


class Origins:
    """Exact scheme, name and port. Changes when the machine's addresses do: `update`."""

    def __init__(self, public_url: str) -> None:
        self._public = public_url
        self._urls: tuple[str, ...] = ()
        self._allowed: frozenset[str] = frozenset()

    def update(self, names: Sequence[str], port: int) -> None:
        """`names`: host names and addresses of this machine, best first."""
        urls = [url_of(name, port) for name in dict.fromkeys([*names, *LOOPBACK])]
        if self._public:
            urls.insert(0, self._public)
        self._urls = tuple(urls)
        self._allowed = frozenset(url.lower() for url in urls)

    @property
    def urls(self) -> tuple[str, ...]:
        """Best first."""
        return self._urls

    @property
    def best(self) -> str:
        return self._urls[0]

    def allows(self, origin: str | None) -> bool:
        """Whether an Origin header names one of our own pages. Missing and "null" do not."""
        return origin is not None and origin.lower() in self._allowed

    def allows_host(self, host: str) -> bool:
        """Whether a Host header names us."""
        return f"https://{host}".lower() in self._allowed


def url_of(name: str, port: int) -> str:
    """As browsers write an origin: without the default port."""
    return f"https://{url_host(name)}" + ("" if port == 443 else f":{port}")


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""
