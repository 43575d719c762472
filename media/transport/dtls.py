"""One peer's DTLS association over memory buffers: datagrams in, datagrams and SRTP keys out.

Sans-IO but for one thing: OpenSSL's own retransmission timer (1 s, doubling) reads the clock itself. The
early repeats (`REPEAT_AFTER`) that keep a lossy join short are ours and go by `now`.

The caller passes only datagrams from addresses that ICE has validated. Even these are not trusted: `_admit`
keeps what cannot belong to a genuine handshake away from OpenSSL, which would end the association over it.

RFC 6347 (DTLS 1.2), RFC 5763 and 5764 (DTLS-SRTP), RFC 8122 (fingerprints).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from media.relay.messages import SrtpProfile
from media.transport.certificate import Identity, matches

MTU = 1200  # bytes of one datagram we send
LARGEST_DATAGRAM = 8192  # bytes of one we look at
LARGEST_MESSAGE = 16384  # bytes a handshake message may claim to have
REPEAT_AFTER = (0.15, 0.35)  # s after a flight was sent; then OpenSSL's own timer takes over
ALERT_GRACE = 3.0  # s a handshake may still go on after an alert that anybody could have forged
LAST_FLIGHT_REPEATS = 10  # times the last flight is sent again to a peer that repeats its own
RESTARTS = 3  # times a server starts over when the very first message is not one
DATAGRAMS_A_FLIGHT = 32  # more than that in one go is no handshake

# In our order; the server's order decides with OpenSSL.
PROFILES = {
    b"SRTP_AEAD_AES_128_GCM": (SrtpProfile.AEAD_AES_128_GCM, 16, 12),
    b"SRTP_AES128_CM_SHA1_80": (SrtpProfile.AES128_CM_SHA1_80, 16, 14),
}
EXPORTER = b"EXTRACTOR-dtls_srtp"
CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
    b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA"
)
DTLS1_2_VERSION = 0xFEFD
SSL_MODE_RELEASE_BUFFERS = 0x10

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
RECORD_HEADER = 13
HANDSHAKE_HEADER = 12
CLIENT_HELLO = 1
# Which clear handshake messages a peer may send, by message type: the message numbers it may have. What a
# client sends is fixed, because we never ask for a cookie and always for a certificate.
FROM_CLIENT = {CLIENT_HELLO: range(0, 1), 11: range(1, 2), 16: range(2, 3), 15: range(3, 4)}
FROM_SERVER = {
    3: range(0, 2),  # HelloVerifyRequest
    2: range(0, 3),
    11: range(1, 4),
    12: range(2, 5),
    13: range(2, 6),
    14: range(2, 7),
    4: range(2, 9),
    22: range(2, 6),
}


class DtlsRole(Enum):
    SERVER = "passive"
    CLIENT = "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmit:
    """Send this datagram to the peer."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshaken:
    """The peer proved the signalled certificate; these are the SRTP keys, master key followed by salt."""

    profile: SrtpProfile
    send_key: bytes
    receive_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The peer said close_notify, or ended the association with an authenticated alert."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """There will be no keys. `detail` is for the log."""

    detail: str


DtlsEvent = Transmit | Handshaken | Closed | Failed


class _State(Enum):
    FRESH = 1
    HANDSHAKING = 2
    ESTABLISHED = 3
    ENDED = 4


class DtlsFactory:
    """What all associations of this process share: the certificate and OpenSSL's settings."""

    def __init__(self, identity: Identity) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(DTLS1_2_VERSION)
        context.set_max_proto_version(DTLS1_2_VERSION)
        context.set_cipher_list(CIPHERS)
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL_MODE_RELEASE_BUFFERS)
        context.set_tlsext_use_srtp(b":".join(PROFILES))
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
        self._context = context

    def connection(self, fingerprints: tuple[tuple[str, str], ...], role: DtlsRole) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(fingerprints)
        connection.set_ciphertext_mtu(MTU)
        if role is DtlsRole.SERVER:
            connection.set_accept_state()
        else:
            connection.set_connect_state()
        return connection


def is_hello(datagram: bytes) -> bool:
    """Whether a datagram may begin a handshake; anything else from a peer that has none is not worth a look."""
    return (
        len(datagram) > RECORD_HEADER and datagram[0] == HANDSHAKE and datagram[RECORD_HEADER] == CLIENT_HELLO
    )


def _verify(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """The chain means nothing (all sign themselves); the fingerprint from signalling is everything."""
    if depth != 0:
        return True
    der = certificate.to_cryptography().public_bytes(Encoding.DER)
    return matches(der, connection.get_app_data())


class DtlsAssociation:
    """One association. After every call look at `next_deadline` and call `handle_timeout` when it has passed.

    Statistics: `dropped` counts records that were kept away from OpenSSL.
    """

    def __init__(
        self, factory: DtlsFactory, *, role: DtlsRole, fingerprints: tuple[tuple[str, str], ...]
    ) -> None:
        self.role = role
        self.dropped = 0
        self._factory = factory
        self._fingerprints = fingerprints
        self._made: SSL.Connection | None = None
        self._state = _State.FRESH
        self._restarts = 0
        self._lengths: dict[int, int] = {}  # handshake message type -> length its first fragment claimed
        self._answered = False  # something of ours has left
        self._flight: tuple[bytes, ...] = ()
        self._repeats = 0
        self._repeat_at: float | None = None
        self._openssl_at: float | None = None
        self._alert: tuple[int, float] | None = None  # (description, when we give up)

    @property
    def _connection(self) -> SSL.Connection:
        """Made when it is needed: a peer that never says hello costs nothing."""
        if self._made is None:
            self._made = self._factory.connection(self._fingerprints, self.role)
        return self._made

    @property
    def established(self) -> bool:
        return self._state is _State.ESTABLISHED

    @property
    def ended(self) -> bool:
        return self._state is _State.ENDED

    @property
    def begun(self) -> bool:
        """Whether OpenSSL has been asked to do any work for this peer."""
        return self._state is not _State.FRESH

    @property
    def next_deadline(self) -> float | None:
        if self._state is not _State.HANDSHAKING:
            return None
        alert_at = None if self._alert is None else self._alert[1]
        return min(
            (at for at in (self._repeat_at, self._openssl_at, alert_at) if at is not None), default=None
        )

    def start(self, now: float) -> tuple[DtlsEvent, ...]:
        """Send the first flight. A client must call it; for a server it does nothing."""
        if self.role is DtlsRole.SERVER or self._state is not _State.FRESH:
            return ()
        self._state = _State.HANDSHAKING
        return tuple(self._advance(now))

    def receive(self, datagram: bytes, now: float) -> tuple[DtlsEvent, ...]:
        """Take one datagram from a validated address. Never raises on what a peer sends."""
        if self._state is _State.ENDED or (self._state is _State.FRESH and self.role is DtlsRole.CLIENT):
            return ()
        if self.established and self._asks_again(datagram, now):
            return tuple(Transmit(data=data) for data in self._flight)
        admitted = b"".join(self._admit(datagram, now))
        if not admitted:
            return ()
        self._state = _State.HANDSHAKING if self._state is _State.FRESH else self._state
        self._connection.bio_write(admitted)
        return tuple(self._advance(now))

    def handle_timeout(self, now: float) -> tuple[DtlsEvent, ...]:
        """Repeat what seems lost. Does nothing before `next_deadline`."""
        if self._state is not _State.HANDSHAKING:
            return ()
        if self._alert is not None and now >= self._alert[1]:
            return tuple(self._fail(f"peer_alert_{self._alert[0]}"))
        if self._repeat_at is not None and now >= self._repeat_at:
            self._repeats += 1
            self._arm(now)
            return tuple(Transmit(data=data) for data in self._flight)
        if self._openssl_at is not None and now >= self._openssl_at:
            try:
                self._connection.DTLSv1_handle_timeout()
            except SSL.Error as error:
                return tuple(self._fail(_words(error)))
            self._arm(now)
            return tuple(Transmit(data=data) for data in self._output())
        return ()

    def close(self) -> tuple[DtlsEvent, ...]:
        """Say close_notify if there is somebody to say it to. The association is over afterwards."""
        was, self._state = self._state, _State.ENDED
        if was is not _State.ESTABLISHED:
            return ()
        try:
            self._connection.shutdown()
        except SSL.Error:
            return ()  # the peer broke it in the meantime
        return tuple(Transmit(data=data) for data in self._output())

    # ------------------------------------------------------------------ what may reach OpenSSL

    def _admit(self, datagram: bytes, now: float) -> Iterator[bytes]:
        """The records of a datagram that may be genuine (RFC 6347 4.1.2.7: drop invalid records silently)."""
        if len(datagram) > LARGEST_DATAGRAM:
            self.dropped += 1
            return
        at = 0
        while at < len(datagram):
            end = at + RECORD_HEADER + int.from_bytes(datagram[at + 11 : at + 13], "big")
            kind = datagram[at]
            if at + RECORD_HEADER >= end or end > len(datagram) or datagram[at + 1] != 0xFE:
                self.dropped += 1
                return
            epoch = int.from_bytes(datagram[at + 3 : at + 5], "big")
            body = datagram[at + RECORD_HEADER : end]
            if epoch == 1:
                admitted = kind in (ALERT, HANDSHAKE, APPLICATION_DATA)  # authenticated by OpenSSL itself
            else:
                admitted = epoch == 0 and not self.established and self._admit_clear(kind, body, now)
            if admitted:
                yield datagram[at:end]
            else:
                self.dropped += 1
            at = end

    def _admit_clear(self, kind: int, body: bytes, now: float) -> bool:
        if kind == HANDSHAKE:
            return self._admit_handshake(body)
        if kind == ALERT and len(body) == 2 and body[0] == 2 and self._state is _State.HANDSHAKING:
            # Anybody could have written it. Remembered, and believed if the handshake does not go on.
            if self._alert is None:
                self._alert = (body[1], now + ALERT_GRACE)
            return False
        return kind == CHANGE_CIPHER_SPEC and body == b"\x01" and self._answered

    def _admit_handshake(self, body: bytes) -> bool:
        """Whether every fragment in a clear record is one the peer may send now (RFC 6347 4.2.2)."""
        expected = FROM_CLIENT if self.role is DtlsRole.SERVER else FROM_SERVER
        at = 0
        while at < len(body):
            header = body[at : at + HANDSHAKE_HEADER]
            if len(header) < HANDSHAKE_HEADER:
                return False
            message = header[0]
            length = int.from_bytes(header[1:4], "big")
            number = int.from_bytes(header[4:6], "big")
            offset = int.from_bytes(header[6:9], "big")
            size = int.from_bytes(header[9:12], "big")
            at += HANDSHAKE_HEADER + size
            if (
                message not in expected
                or number not in expected[message]
                or length > LARGEST_MESSAGE
                or offset + size > length
                or at > len(body)
                or (size == 0) != (length == 0)
                or (message != CLIENT_HELLO and self.role is DtlsRole.SERVER and not self._answered)
            ):
                return False
            if self._lengths.setdefault(message, length) != length:
                if message != CLIENT_HELLO or self._answered:
                    return False
                # Two different hellos before our answer: one of them is not genuine. The later one wins.
                self._renew()
                self._lengths[message] = length
        return True

    # ------------------------------------------------------------------ driving OpenSSL

    def _advance(self, now: float) -> Iterator[DtlsEvent]:
        if self._state is _State.HANDSHAKING:
            try:
                self._connection.do_handshake()
            except SSL.WantReadError:
                yield from self._send_flight(now)
                return
            except SSL.Error as error:
                if self.role is DtlsRole.SERVER and not self._answered and self._restarts < RESTARTS:
                    self._restarts += 1
                    self._renew()
                    return
                yield from self._fail(_words(error))
                return
            outcome = tuple(self._establish())
            # Our last flight goes first: media under the new keys that overtakes it is lost on the peer.
            yield from self._send_flight(now)
            self._repeat_at = None
            yield from outcome
        if self._state is _State.ESTABLISHED:
            yield from self._read()

    def _establish(self) -> Iterator[DtlsEvent]:
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        if certificate is None or not matches(certificate.public_bytes(Encoding.DER), self._fingerprints):
            yield from self._fail("fingerprint")
            return
        selected = PROFILES.get(self._connection.get_selected_srtp_profile())
        if selected is None:
            yield from self._fail("no_srtp_profile")
            return
        profile, key, salt = selected
        material = self._connection.export_keying_material(EXPORTER, 2 * (key + salt))
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        self._state = _State.ESTABLISHED
        mine, theirs = (server, client) if self.role is DtlsRole.SERVER else (client, server)
        yield Handshaken(profile=profile, send_key=mine, receive_key=theirs)

    def _read(self) -> Iterator[DtlsEvent]:
        """Look for the end. There are no data channels, so application data is read and forgotten."""
        try:
            while self._connection.recv(LARGEST_DATAGRAM):
                self.dropped += 1
        except SSL.WantReadError:
            yield from (Transmit(data=data) for data in self._output())  # a repeated last flight
        except SSL.ZeroReturnError:
            self._state = _State.ENDED
            yield Closed(detail="close_notify")
        except SSL.Error as error:
            self._state = _State.ENDED
            yield Closed(detail=_words(error))

    def _fail(self, detail: str) -> Iterator[DtlsEvent]:
        self._state = _State.ENDED
        yield from (Transmit(data=data) for data in self._output())  # the alert: the peer need not wait
        yield Failed(detail=detail)

    def _renew(self) -> None:
        self._made = None
        self._lengths.clear()

    # ------------------------------------------------------------------ flights

    def _asks_again(self, datagram: bytes, now: float) -> bool:
        """Whether a client repeats its last clear flight because ours got lost (RFC 6347 4.2.4).

        OpenSSL would see it only in a Finished with a new record number; our own early repeats, and those of
        others like us, have the old one.
        """
        if (
            self.role is DtlsRole.CLIENT
            or len(datagram) <= RECORD_HEADER + HANDSHAKE_HEADER
            or datagram[0] != HANDSHAKE
            or datagram[3:5] != b"\0\0"
            or datagram[RECORD_HEADER] not in FROM_CLIENT
            or self._repeats >= LAST_FLIGHT_REPEATS
            or (self._repeat_at is not None and now < self._repeat_at)
        ):
            return False
        self._repeats += 1
        self._repeat_at = now + REPEAT_AFTER[0] / 2
        return True

    def _send_flight(self, now: float) -> Iterator[DtlsEvent]:
        if self._state is _State.ENDED:
            return
        flight = tuple(self._output())
        if flight:
            self._answered = True
            self._flight = flight
            self._repeats = 0
        self._arm(now)
        yield from (Transmit(data=data) for data in flight)

    def _arm(self, now: float) -> None:
        remaining = self._connection.DTLSv1_get_timeout()
        self._openssl_at = None if remaining is None else now + remaining
        self._repeat_at = now + REPEAT_AFTER[self._repeats] if self._repeats < len(REPEAT_AFTER) else None

    def _output(self) -> Iterator[bytes]:
        """What OpenSSL wants to send, cut into datagrams: it writes records one behind the other."""
        waiting = bytearray()
        while len(waiting) < DATAGRAMS_A_FLIGHT * MTU:
            try:
                waiting += self._connection.bio_read(65536)
            except SSL.WantReadError:
                break
        datagram = bytearray()
        at = 0
        while at + RECORD_HEADER <= len(waiting):
            end = at + RECORD_HEADER + int.from_bytes(waiting[at + 11 : at + 13], "big")
            if datagram and len(datagram) + end - at > MTU:
                yield bytes(datagram)
                datagram.clear()
            datagram += waiting[at:end]
            at = end
        if datagram:
            yield bytes(datagram)


def _words(error: SSL.Error) -> str:
    """OpenSSL's reason as one word for the log."""
    if error.args and isinstance(error.args[0], list) and error.args[0]:
        return str(error.args[0][0][-1]).replace(" ", "_")
    return type(error).__name__
