"""The only way from a camera worker to its camera: a local port whose one connection is passed on under guard.

FFmpeg is given `rtsp://127.0.0.1:PORT/…`; what it sends goes to the admitted address, what comes back goes through
`RtspGuard` first. TLS (rtsps) is done here, verified against the camera's name.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
from collections.abc import Sequence

from media.ingest.rtsp_guard import GuardError, RtspGuard

CONNECT_TIMEOUT = 5.0  # s per address
CHUNK = 65536


class Splice:
    """Connects on construction. `port` is where the client shall go; `cut` says why the guard ended it.

    Raises OSError (ConnectionRefusedError, TimeoutError, …) when no admitted address answers; ssl.SSLError when the
    camera's certificate does not hold.
    """

    def __init__(self, addresses: Sequence[str], port: int, tls_name: str = "") -> None:
        self.cut: GuardError | None = None
        self.status = 0
        self._camera = _connect(addresses, port, tls_name)
        self._guard = RtspGuard(frozenset(addresses))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.settimeout(CONNECT_TIMEOUT)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._run, name="splice", daemon=True).start()

    def close(self) -> None:
        for end in (self._camera, self._listener):
            with contextlib.suppress(OSError):
                end.close()

    def _run(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        finally:
            self._listener.close()  # one client only
        with client, self._camera:
            try:
                self._pump(client)
            except GuardError as error:
                self.cut = error
            except OSError:
                return  # either end went away; the client sees its connection close

    def _pump(self, client: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(self._camera, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is client:
                        if not (data := client.recv(CHUNK)):
                            return
                        self._camera.sendall(data)
                    elif not self._from_camera(client):
                        return

    def _from_camera(self, client: socket.socket) -> bool:
        while True:
            data = self._camera.recv(CHUNK)
            if not data:
                return False
            client.sendall(self._guard.feed(data))
            self.status = self._guard.status
            if not (isinstance(self._camera, ssl.SSLSocket) and self._camera.pending()):
                return True


def _connect(addresses: Sequence[str], port: int, tls_name: str) -> socket.socket:
    problem: OSError = TimeoutError("no address to connect to")
    for address in addresses:
        try:
            plain = socket.create_connection((address, port), CONNECT_TIMEOUT)
        except OSError as error:
            problem = error
            continue
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected = (
            ssl.create_default_context().wrap_socket(plain, server_hostname=tls_name) if tls_name else plain
        )
        connected.settimeout(None)
        return connected
    raise problem
