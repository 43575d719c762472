"""Accounts of people. The command line, set-up and log-in all go through here, and each act is audited with it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from server.auth.audit import Audit
from server.auth.passwords import Passwords, check_strength
from server.auth.permissions import ACCOUNT_ROLES, Role
from server.model.clock import Clock
from server.model.errors import BadRequest, Conflict, NotFound
from server.model.ids import UserId
from server.model.names import clean_name
from server.model.uuid7 import new_id
from server.storage.changes import bump
from server.storage.engine import Database
from server.storage.tables import sessions, users

USERNAME: Final = re.compile(r"[\w.@-]{2,32}")


class User(msgspec.Struct, frozen=True, kw_only=True):
    """`username` is canonical; `created` wallclock s."""

    id: UserId
    username: str
    name: str
    role: Role
    disabled: bool
    created: float


class AlreadySetUp(Conflict):
    code = "already_set_up"


def canonical(username: str) -> str:
    """The form in which user names are compared and stored."""
    return unicodedata.normalize("NFKC", username[:256]).strip().casefold()


def checked_username(username: str) -> str:
    """Canonical. Raises BadRequest."""
    name = canonical(username)
    if not USERNAME.fullmatch(name):
        raise BadRequest("a user name has 2 to 32 letters, digits, and . _ - @", field="username")
    return name


def checked_role(role: str) -> Role:
    """Raises BadRequest."""
    if role not in ACCOUNT_ROLES:
        raise BadRequest(f"a role is one of {', '.join(ACCOUNT_ROLES)}", field="role")
    return Role(role)


class Users:
    """`actor` and `address` of each call go into the audit log."""

    def __init__(
        self,
        database: Database,
        audit: Audit,
        passwords: Passwords,
        clock: Clock,
        *,
        password_min_length: int,
        server_name: str,
    ) -> None:
        self._database = database
        self._audit = audit
        self._passwords = passwords
        self._clock = clock
        self._minimum = password_min_length
        self._server_name = server_name

    async def all(self) -> list[User]:
        """By user name. Raises StorageAway."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(users).order_by(users.c.username))).all()
        return [_user(row._asdict()) for row in rows]

    async def find(self, username: str) -> User:
        """Raises NotFound, StorageAway."""
        user, _ = await self._with_hash(username)
        if user is None:
            raise NotFound(f"there is no user {canonical(username)!r}", field="username")
        return user

    async def admin_exists(self) -> bool:
        """Whether somebody can administer, so that set-up is over. Raises StorageAway."""
        query = select(func.count()).where(users.c.role == Role.ADMIN, users.c.disabled.is_(False))
        async with self._database.read() as connection:
            return bool((await connection.execute(query)).scalar_one())

    async def add(
        self,
        *,
        username: str,
        name: str,
        password: str,
        role: Role,
        actor: str,
        address: str = "",
        first: bool = False,
    ) -> User:
        """Make an account. With `first` only while there is no administrator, decided in the same transaction.

        Raises BadRequest, WeakPassword, Conflict (the name is taken), AlreadySetUp, TooMany, StorageAway.
        """
        username = checked_username(username)
        shown = clean_name(name) or username
        self._check_strength(password, username, shown)
        stored = await self._passwords.hash(password)
        now = self._clock.wallclock()
        user = User(
            id=UserId(new_id(now)), username=username, name=shown, role=role, disabled=False, created=now
        )
        try:
            async with self._database.write() as connection:
                if first:
                    query = select(func.count()).where(
                        users.c.role == Role.ADMIN, users.c.disabled.is_(False)
                    )
                    if (await connection.execute(query)).scalar_one():
                        raise AlreadySetUp("an administrator exists already")
                await connection.execute(
                    insert(users).values(msgspec.structs.asdict(user) | {"password_hash": stored})
                )
                await bump(connection)
                await self._audit.append_in(
                    connection,
                    actor=actor,
                    action="user.add",
                    object=username,
                    address=address,
                    detail=f"role {role}",
                )
        except IntegrityError as error:
            raise Conflict(f"there is a user {username!r} already", field="username") from error
        return user

    async def authenticate(self, username: str, password: str) -> User | None:
        """The user whose password this is, None otherwise; takes as long either way. Raises TooMany, StorageAway."""
        user, stored = await self._with_hash(username)
        usable = user is not None and not user.disabled
        if not await self._passwords.verify(stored if usable else None, password):
            return None
        if user is not None and stored is not None and self._passwords.needs_rehash(stored):
            await self._store_hash(user.id, await self._passwords.hash(password))
        return user

    async def set_password(self, username: str, password: str, *, actor: str, address: str = "") -> User:
        """A new password; every log-in session of the user ends. Raises like `add`, NotFound."""
        user = await self.find(username)
        self._check_strength(password, user.username, user.name)
        stored = await self._passwords.hash(password)
        await self._change(user, "user.password", {"password_hash": stored}, actor, address, "")
        return user

    async def set_role(self, username: str, role: Role, *, actor: str, address: str = "") -> User:
        """Raises NotFound, Conflict (the last administrator), StorageAway."""
        user = await self.find(username)
        await self._change(user, "user.role", {"role": role}, actor, address, f"{user.role} to {role}")
        return msgspec.structs.replace(user, role=role)

    async def set_disabled(self, username: str, disabled: bool, *, actor: str, address: str = "") -> User:
        """A disabled account keeps its history and cannot log in. Raises NotFound, Conflict, StorageAway."""
        user = await self.find(username)
        action = "user.disable" if disabled else "user.enable"
        await self._change(user, action, {"disabled": disabled}, actor, address, "")
        return msgspec.structs.replace(user, disabled=disabled)

    async def _change(
        self, user: User, action: str, values: dict[str, object], actor: str, address: str, detail: str
    ) -> None:
        async with self._database.write() as connection:
            await connection.execute(update(users).where(users.c.id == user.id).values(values))
            left = select(func.count()).where(users.c.role == Role.ADMIN, users.c.disabled.is_(False))
            if (
                user.role is Role.ADMIN
                and not user.disabled
                and not (await connection.execute(left)).scalar_one()
            ):
                raise Conflict(f"{user.username!r} is the last administrator")
            await connection.execute(delete(sessions).where(sessions.c.user_id == user.id))
            await bump(connection)
            await self._audit.append_in(
                connection, actor=actor, action=action, object=user.username, address=address, detail=detail
            )

    async def _with_hash(self, username: str) -> tuple[User | None, str | None]:
        query = select(users).where(users.c.username == canonical(username))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            return None, None
        return _user(row._asdict()), str(row.password_hash)

    async def _store_hash(self, user: UserId, stored: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(update(users).where(users.c.id == user).values(password_hash=stored))

    def _check_strength(self, password: str, username: str, name: str) -> None:
        personal = (username, username.split("@")[0], name, self._server_name)
        check_strength(password, minimum=self._minimum, personal=personal)


def _user(row: dict[str, object]) -> User:
    return msgspec.convert({name: row[name] for name in User.__struct_fields__}, User)
