"""Every table. What is changed here needs a step in `migrations/versions`; a test compares the two.

Ids are UUIDv7 text. Times are wallclock s since 1970 UTC. Secrets are stored as SHA-256 or sealed, never in clear.
Whoever writes users, units, devices, streams or links bumps `changes` in the same transaction
(`server.storage.changes.bump`), so that a running server sees what another process wrote.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID = String(36)
HASH = String(64)  # SHA-256 in hex
ADDRESS = String(64)

users = Table(
    "users",
    metadata,
    Column("id", ID, primary_key=True),
    Column("username", String(64), nullable=False, unique=True),  # as `server.auth.users.canonical` makes it
    Column("name", String(128), nullable=False),
    Column("password_hash", Text, nullable=False),  # argon2id, PHC text
    Column("role", String(16), nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("created", Float, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", HASH, primary_key=True),
    Column("id", ID, nullable=False, unique=True),
    Column("user_id", ID, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    Column("address", ADDRESS, nullable=False),
    Column("agent", String(256), nullable=False),
    Column("expires", Float, nullable=False),
)

units = Table(
    "units",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", String(128), nullable=False),
    Column("kind", String(16), nullable=False),  # rescuer | vehicle | drone | camera | post
    Column("number", Integer, nullable=False, unique=True),
)

devices = Table(
    "devices",
    metadata,
    Column("id", ID, primary_key=True),
    Column("unit_id", ID, ForeignKey("units.id"), nullable=False, index=True),
    Column("name", String(128), nullable=False),
    Column("kind", String(16), nullable=False),  # agent | phone | rtsp
    Column("token_hash", HASH, nullable=True, unique=True),  # NULL = has none (a camera, a phone with a link)
    Column("user_id", ID, ForeignKey("users.id"), nullable=True, unique=True),  # a field account's own phone
    Column("created", Float, nullable=False),
    Column("revoked", Float, nullable=True),  # when
    Column("rtsp_url", Text, nullable=True),  # without credentials
    Column("rtsp_username", String(128), nullable=True),
    Column("sealed_password", LargeBinary, nullable=True),  # `server.auth.sealing`
    Column("rtsp_transport", String(8), nullable=True),  # tcp | udp
)

streams = Table(
    "streams",
    metadata,
    Column("id", ID, primary_key=True),
    Column("device_id", ID, ForeignKey("devices.id"), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("name", String(128), nullable=False),
    UniqueConstraint("device_id", "channel"),
)

join_links = Table(
    "join_links",
    metadata,
    Column("id", ID, primary_key=True),
    Column("token_hash", HASH, nullable=False, unique=True),
    Column("device_id", ID, ForeignKey("devices.id"), nullable=True),
    Column("unit_id", ID, ForeignKey("units.id"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("created_by", ID, nullable=False),  # a user's id
    Column("used", Float, nullable=True),  # when last
    Column("revoked", Float, nullable=True),  # when
)

positions = Table(
    "positions",
    metadata,
    Column("id", ID, primary_key=True),
    Column("key", String(64), nullable=False),  # the client's id of this report
    Column("device_id", ID, ForeignKey("devices.id"), nullable=False),
    Column("unit_id", ID, ForeignKey("units.id"), nullable=False),
    Column("lat", Float, nullable=False),  # WGS 84, degrees
    Column("lon", Float, nullable=False),
    Column("accuracy", Float, nullable=True),  # m
    Column("altitude", Float, nullable=True),  # m
    Column("heading", Float, nullable=True),  # degrees clockwise from north
    Column("speed", Float, nullable=True),  # m/s
    Column("time", Float, nullable=False),  # as the device says
    Column("received", Float, nullable=False),
    Column(
        "suspect", Boolean, nullable=False, server_default=false()
    ),  # an implausible jump: kept, not shown
    UniqueConstraint("device_id", "key"),
    Index(None, "unit_id", "time"),
)

groups = Table(
    "groups",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("number", Integer, nullable=False, unique=True),
    Column("kind", String(16), nullable=False),  # `server.groups.membership.GroupKind`
    Column("created", Float, nullable=False),
    Column("created_by", ID, nullable=False),  # a user's id, "" = the server
    Column("expires", Float, nullable=True),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_id", ID, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(8), primary_key=True),  # unit | user | role
    Column("subject", ID, primary_key=True),  # a unit's or user's id, or a role
    Column("talk", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
)

patches = Table(
    "patches",
    metadata,
    Column("id", ID, primary_key=True),  # its name, P1 to P9
    Column("created", Float, nullable=False),
    Column("created_by", String(128), nullable=False),  # a name
)

patch_groups = Table(
    "patch_groups",
    metadata,
    Column("group_id", ID, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("patch_id", ID, ForeignKey("patches.id", ondelete="CASCADE"), nullable=False),
    Column("muted_until", Float, nullable=True),  # steady s
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", ID, primary_key=True),
    Column(
        "key", String(128), nullable=False, unique=True
    ),  # of the press that raised it: sent twice, one alarm
    Column("state", String(16), nullable=False),
    Column("raised", Float, nullable=False),
    Column("body", Text, nullable=False),  # JSON: all of `server.alarms.alarm.Alarm`
    Index(None, "state"),
)

callbacks = Table(
    "callbacks",
    metadata,
    Column("id", ID, primary_key=True),
    Column("at", Float, nullable=False),
    Column("done", Float, nullable=True),
    Column("body", Text, nullable=False),  # JSON: the entity `server.signalling.talk.CallBack`
)

spurts = Table(
    "spurts",
    metadata,
    Column("id", ID, primary_key=True),
    Column("started", Float, nullable=False, index=True),
    Column("ended", Float, nullable=True),
    Column("state", String(16), nullable=False),  # recording | ready | cut | lost | erased
    Column("talker", String(128), nullable=False),  # as shown then
    Column("leg", String(16), nullable=False),
    Column("unit_id", ID, nullable=False),  # "" = none, also below
    Column("user_id", ID, nullable=False),
    Column("device_id", ID, nullable=False),
    Column("emergency", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("lat", Float, nullable=True),  # WGS 84, degrees
    Column("lon", Float, nullable=True),
    Column("accuracy", Float, nullable=True),  # m
    Column("path", String(128), nullable=False, index=True),  # below the recordings folder
    Column("began", Float, nullable=False),  # of the first packet
    Column("duration", Float, nullable=False),  # s
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", HASH, nullable=False),
    Column("detail", String(256), nullable=False),
    Column("hold", Boolean, nullable=False),  # evidence: nothing erases it
    Column("after_id", ID, nullable=False, server_default=text("''")),  # what it goes on with
    Column("gap", Float, nullable=False, server_default=text("0")),  # s that are missing between the two
    Column("call_id", ID, nullable=False, server_default=text("''")),  # "" = no private call
    Column("peer", String(128), nullable=False, server_default=text("''")),  # who was spoken to
    Column("peer_leg", String(16), nullable=False, server_default=text("''")),
    Column("peer_unit_id", ID, nullable=False, server_default=text("''")),
    Column("peer_user_id", ID, nullable=False, server_default=text("''")),
    Column("held_by", String(256), nullable=False, server_default=text("''")),
    Column("held_why", String(500), nullable=False, server_default=text("''")),
    Column("erased", Float, nullable=True),  # when
    Column("erased_by", String(256), nullable=False),
    Column("erased_why", String(500), nullable=False),
    Index(None, "state", "started"),
    Index(None, "unit_id", "id"),
    Index(None, "user_id", "id"),
    Index(None, "peer_unit_id", "id"),
    Index(None, "peer_user_id", "id"),
)

spurt_groups = Table(
    "spurt_groups",
    metadata,
    Column("spurt_id", ID, ForeignKey("spurts.id", ondelete="CASCADE"), primary_key=True),
    Column("group_id", String(64), primary_key=True),
    Column("name", String(128), nullable=False),  # as it was then
    Index(None, "group_id", "spurt_id"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("time", Float, nullable=False),
    Column("monotonic", Float, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object", String(256), nullable=False),
    Column("result", String(64), nullable=False),  # "ok" or an error code
    Column("address", ADDRESS, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", HASH, nullable=False),
    Column("hash", HASH, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("counter", BigInteger, nullable=False),
)
