"""Log-in sessions: all of them in memory, each on disk before its cookie leaves.

Expiry uses the steady clock, so that setting the wall clock ends nobody's shift. Another process (the command line)
ends sessions by deleting rows and bumping `changes`; `reload` notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from sqlalchemy import delete, insert, or_, select, update

from server.auth.permissions import Principal, Role
from server.auth.tokens import hashed, new_session_secret
from server.auth.users import User
from server.model.clock import Clock
from server.model.errors import NotFound
from server.model.ids import UserId
from server.model.uuid7 import new_id
from server.storage.engine import Database, StorageAway
from server.storage.tables import sessions, users

PER_USER: Final = 20  # the one not seen for longest ends when there would be more
TOUCH: Final = 60.0  # s between writes of when sessions were last seen
SKEW: Final = 7200.0  # s that a stored session may lie in the future, after the wall clock was set back

log = structlog.get_logger("server.auth.sessions")

EndListener = Callable[[str, str], None]


class Session(msgspec.Struct, kw_only=True):
    """Times are UTC s. `id` names it in lists and grants nothing; only `last_seen` and the user's fields change."""

    token_hash: str
    id: str
    user_id: UserId
    username: str
    name: str
    role: Role
    created: float
    last_seen: float
    address: str
    agent: str
    expires: float

    @property
    def principal(self) -> Principal:
        return Principal(role=self.role, id=self.user_id, name=self.name, session=self.id)


class Sessions:
    """`load` first; `run` keeps the disk's last_seen and ends what expired. Reasons of an end: "logged_out", "expired",
    "revoked", "replaced"."""

    def __init__(self, database: Database, clock: Clock, *, idle: float, absolute: float) -> None:
        self._database = database
        self._clock = clock
        self._idle = idle
        self._absolute = absolute
        self._by_hash: dict[str, Session] = {}
        self._touched: dict[str, float] = {}
        self._lock = asyncio.Lock()  # the database and the memory change together
        self._listeners: list[EndListener] = []
        self._opened = 0
        self._ended = 0

    def on_end(self, listener: EndListener) -> None:
        """`listener(session id, reason)` is called on the event loop when a session ends; it must not block."""
        self._listeners.append(listener)

    async def open(self, user: User, *, address: str, agent: str) -> tuple[str, Session]:
        """A new session; the secret is for its cookie and kept nowhere. Raises StorageAway."""
        secret = new_session_secret()
        now = self._clock.steady()
        session = Session(
            token_hash=hashed(secret),
            id=new_id(self._clock.wallclock()),
            user_id=user.id,
            username=user.username,
            name=user.name,
            role=user.role,
            created=now,
            last_seen=now,
            address=address[:64],
            agent=agent[:256],
            expires=now + self._absolute,
        )
        async with self._lock:
            own = sorted(
                (one for one in self._by_hash.values() if one.user_id == user.id),
                key=lambda one: one.last_seen,
            )
            surplus = own[: max(0, len(own) + 1 - PER_USER)]
            async with self._database.write() as connection:
                row = msgspec.structs.asdict(session)
                await connection.execute(
                    insert(sessions).values({c.name: row[c.name] for c in sessions.columns})
                )
                await connection.execute(
                    delete(sessions).where(sessions.c.id.in_([one.id for one in surplus]))
                )
            self._by_hash[session.token_hash] = session
            self._opened += 1
            for one in surplus:
                self._forget(one, "replaced")
        return secret, session

    def find(self, secret: str) -> Session | None:
        """The live session of a cookie, marked as seen now; None = there is none (any more)."""
        session = self._by_hash.get(hashed(secret[:128]))
        if session is None:
            return None
        now = self._clock.steady()
        if self._expired(session, now):
            return None  # `run` removes it
        session.last_seen = now
        self._touched[session.token_hash] = now
        return session

    def get(self, session_id: str) -> Session | None:
        """By its public id, not marked as seen."""
        return next((one for one in self._by_hash.values() if one.id == session_id), None)

    def all(self, user: str = "") -> list[Session]:
        """Newest first; with `user` only that user's."""
        found = [one for one in self._by_hash.values() if user in ("", one.user_id)]
        return sorted(found, key=lambda one: one.created, reverse=True)

    async def end(self, session_id: str, reason: str) -> None:
        """Raises NotFound, StorageAway."""
        async with self._lock:
            session = self.get(session_id)
            if session is None:
                raise NotFound("there is no such log-in session")
            async with self._database.write() as connection:
                await connection.execute(delete(sessions).where(sessions.c.id == session_id))
            self._forget(session, reason)

    async def reload(self) -> None:
        """Take over what the database says: sessions ended elsewhere end here. Raises StorageAway."""
        query = select(sessions, users.c.username, users.c.name, users.c.role, users.c.disabled).join(
            users, users.c.id == sessions.c.user_id
        )
        async with self._lock:
            async with self._database.read() as connection:
                rows = (await connection.execute(query)).all()
            now = self._clock.steady()
            there: dict[str, Session] = {}
            for row in rows:
                fields = {name: getattr(row, name) for name in Session.__struct_fields__}
                session = msgspec.convert(fields, Session)
                if row.disabled or self._expired(session, now) or session.created > now + SKEW:
                    continue
                known = self._by_hash.get(session.token_hash)
                session.last_seen = max(session.last_seen, known.last_seen if known else 0.0)
                there[session.token_hash] = session
            for token_hash, known in list(self._by_hash.items()):
                if token_hash not in there:
                    self._forget(known, "expired" if self._expired(known, now) else "revoked")
            self._by_hash = there

    load = reload

    async def run(self) -> None:
        """Until cancelled: every second end what expired, every minute write who was seen."""
        written = self._clock.now()
        while True:
            await asyncio.sleep(1.0)
            try:
                await self.expire()
                if self._clock.now() - written >= TOUCH:
                    written = self._clock.now()
                    await self.write_seen()
            except StorageAway as error:
                log.warning("log-in sessions wait for the database", error=str(error))

    async def expire(self) -> None:
        """End what has expired by now. Raises StorageAway."""
        now = self._clock.steady()
        gone = [session for session in self._by_hash.values() if self._expired(session, now)]
        for session in gone:
            await self.end(session.id, "expired")

    async def write_seen(self) -> None:
        """Write who was seen and remove the rows of what expired. Raises StorageAway."""
        touched, self._touched = self._touched, {}
        now = self._clock.steady()
        async with self._database.write() as connection:
            for token_hash, seen in touched.items():
                await connection.execute(
                    update(sessions).where(sessions.c.token_hash == token_hash).values(last_seen=seen)
                )
            await connection.execute(
                delete(sessions).where(
                    or_(sessions.c.expires <= now, sessions.c.last_seen <= now - self._idle)
                )
            )

    def statistics(self) -> dict[str, object]:
        return {"open": len(self._by_hash), "opened_total": self._opened, "ended_total": self._ended}

    def _expired(self, session: Session, now: float) -> bool:
        return now >= session.expires or now >= session.last_seen + self._idle

    def _forget(self, session: Session, reason: str) -> None:
        self._by_hash.pop(session.token_hash, None)
        self._touched.pop(session.token_hash, None)
        self._ended += 1
        for listener in self._listeners:
            listener(session.id, reason)
