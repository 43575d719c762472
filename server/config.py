"""The configuration: one TOML file, typed, read once, passed down. `configs/reference.toml` shows every key.

A key that does not exist, a value of the wrong kind, or a file with a secret in it that others can read stops the
start with a `ConfigError`: file, key, line and remedy.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import pydantic
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from server.start_error import StartError

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]


class ConfigError(StartError):
    """The configuration cannot be used. `line` counts from 1, 0 = not known; `key` is dotted, "" = the whole file."""

    def __init__(self, path: Path | None, key: str, line: int, problem: str, remedy: str) -> None:
        self.path = path
        self.key = key
        self.line = line
        self.problem = problem
        super().__init__(problem, remedy)

    def __str__(self) -> str:
        where = str(self.path) if self.path else "the configuration"
        if self.line:
            where += f", line {self.line}"
        what = f"{self.key}: {self.problem}" if self.key else self.problem
        return f"{where}: {what}"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ServerSection(Section):
    name: Annotated[str, Field(min_length=1, max_length=64)] = "烽燧"
    level: Literal["province", "city", "county", "township", "vehicle"] = "county"
    data: Annotated[str, Field(min_length=1)] = "data"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    language: Literal["zh-CN", "en"] = "zh-CN"


class HttpSection(Section):
    host: str = ""
    port: Port = 8443
    public_url: str = ""
    idle_timeout: Seconds = 10.0
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 2000
    max_connections_per_address: Annotated[int, Field(ge=1, le=100_000)] = 200

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        return _address(value)

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise ValueError("must look like https://name:port, without a path")
        return value.rstrip("/")


class TlsSection(Section):
    certificate: str = ""
    key: str = ""
    names: Texts = ()

    @model_validator(mode="after")
    def _both(self) -> TlsSection:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key must be set together")
        return self


class MediaSection(Section):
    host: str = ""
    udp_port: Port = 8443
    tcp_port: Port = 8444
    addresses: Texts = ()
    public_address: str = ""
    engine: Literal["auto", "python", "native"] = "auto"
    connect_timeout: Seconds = 15.0
    consent_timeout: Seconds = 30.0
    start_bitrate: Annotated[int, Field(ge=30_000, le=1_000_000_000)] = 1_000_000
    max_bitrate: Annotated[int, Field(ge=30_000, le=1_000_000_000)] = 20_000_000
    full_load: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8

    @field_validator("host", "public_address")
    @classmethod
    def _one(cls, value: str) -> str:
        return _address(value)

    @field_validator("addresses")
    @classmethod
    def _many(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_address(one) for one in value)


class StorageSection(Section):
    url: str = ""


class BusSection(Section):
    url: str = ""

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value


class AuthSection(Section):
    setup_code_minutes: Annotated[float, Field(gt=0, le=60)] = 15.0
    session_idle_hours: Annotated[float, Field(gt=0, le=24)] = 12.0
    session_absolute_hours: Annotated[float, Field(gt=0, le=168)] = 24.0
    password_min_length: Annotated[int, Field(ge=12, le=64)] = 12
    join_link_hours: Annotated[float, Field(gt=0, le=8760)] = 12.0
    max_join_link_hours: Annotated[float, Field(gt=0, le=8760)] = 168.0


class LimitsSection(Section):
    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    logins_per_minute: Annotated[int, Field(ge=1, le=10_000)] = 10
    pending_media_per_token: Annotated[int, Field(ge=1, le=1000)] = 4
    publishers: Annotated[int, Field(ge=0, le=100_000)] = 200
    viewers: Annotated[int, Field(ge=0, le=100_000)] = 1000
    sound_paths: Annotated[int, Field(ge=0, le=100_000)] = 1000
    websockets_per_session: Annotated[int, Field(ge=1, le=1000)] = 20


class TalkSection(Section):
    talk_limit: Seconds = 30.0
    warn_before: Annotated[float, Field(ge=0, le=60)] = 5.0
    hang_time: Annotated[float, Field(ge=0, le=60)] = 3.0
    queue: Annotated[int, Field(ge=0, le=100)] = 16
    queue_wait: Seconds = 60.0
    lost_after: Annotated[float, Field(ge=0.5, le=10)] = 1.0

    @model_validator(mode="after")
    def _order(self) -> TalkSection:
        if self.warn_before >= self.talk_limit:
            raise ValueError("warn_before is not smaller than talk_limit")
        return self


class RecordingsSection(Section):
    enabled: bool = True
    folder: str = ""
    keep_days: Annotated[float, Field(gt=0, le=36_500)] = 180.0
    min_free_mb: Annotated[int, Field(ge=0, le=1_000_000_000)] = 500


class RtspSection(Section):
    enabled: bool = False
    networks: Texts = ()
    ports: Annotated[tuple[Port, ...], Field(strict=False)] = (554, 8554)
    retry_min: Seconds = 1.0
    retry_max: Seconds = 60.0

    @field_validator("networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @model_validator(mode="after")
    def _order(self) -> RtspSection:
        if self.retry_min > self.retry_max:
            raise ValueError("retry_min is larger than retry_max")
        return self


class IngestSection(Section):
    rtsp: RtspSection = RtspSection()


class Config(Section):
    server: ServerSection = ServerSection()
    http: HttpSection = HttpSection()
    tls: TlsSection = TlsSection()
    media: MediaSection = MediaSection()
    storage: StorageSection = StorageSection()
    bus: BusSection = BusSection()
    auth: AuthSection = AuthSection()
    limits: LimitsSection = LimitsSection()
    talk: TalkSection = TalkSection()
    recordings: RecordingsSection = RecordingsSection()
    ingest: IngestSection = IngestSection()

    @property
    def data(self) -> Path:
        """The data folder, absolute."""
        return Path(self.server.data).expanduser().absolute()

    @property
    def recordings_folder(self) -> Path | None:
        """Where recordings are written, absolute; None = nothing is recorded."""
        if not self.recordings.enabled:
            return None
        folder = self.recordings.folder
        return Path(folder).expanduser().absolute() if folder else self.data / "recordings"


OTHERS: Final = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


def load_config(path: Path | None) -> Config:
    """Read and check `path`; None = the defaults. Raises ConfigError."""
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            path, "", 0, f"cannot be read: {error.strerror}", "check the path after --config"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(path, "", 0, "is not UTF-8 text", "save it as UTF-8") from error
    config = parse_config(text, path)
    if _has_secret(config) and path.stat().st_mode & OTHERS:
        raise ConfigError(
            path,
            "",
            0,
            f"holds a password and others can read it (mode {stat.S_IMODE(path.stat().st_mode):04o})",
            f"run: chmod 600 {path}",
        )
    if config.tls.key:
        _check_private(path, Path(config.tls.key), text)
    return config


def parse_config(text: str, path: Path | None = None) -> Config:
    """Check the text of a configuration. Raises ConfigError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, path, error) from error
    try:
        return Config.model_validate(table)
    except pydantic.ValidationError as error:
        raise _first_problem(text, path, error) from error


def _syntax_error(text: str, path: Path | None, error: tomllib.TOMLDecodeError) -> ConfigError:
    said = str(error)
    found = re.search(r"\(at line (\d+), column (\d+)\)", said)
    line = int(found.group(1)) if found else text.count("\n") + 1
    problem = said.split(" (at ")[0].rstrip(".")
    content = text.splitlines()[line - 1].strip() if line <= len(text.splitlines()) else ""
    key = content.split("=")[0].strip() if "=" in content else ""
    return ConfigError(
        path,
        key,
        line,
        f"is no TOML: {problem}",
        'text needs quotes, e.g. name = "…"; true and false have none',
    )


def _first_problem(text: str, path: Path | None, error: pydantic.ValidationError) -> ConfigError:
    first = error.errors(include_url=False, include_input=True)[0]
    names = [str(part) for part in first["loc"]]
    key = ".".join(name for name in names if not name.isdigit())
    line = line_of(text, key)
    if first["type"] == "extra_forbidden":
        section, known = _section(names[:-1])
        close = difflib.get_close_matches(names[-1], known, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"remove it; [{section}] knows {', '.join(known)}"
        if not section:
            remedy = (
                f"did you mean [{close[0]}]?" if close else f"remove it; the sections are {', '.join(known)}"
            )
        return ConfigError(path, key, line, "there is no such key", remedy)
    problem = first["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(first["input"], dict) else f", not {first['input']!r}"
    return ConfigError(
        path, key, line, problem + shown, "configs/reference.toml shows every key with its unit and default"
    )


def _section(names: list[str]) -> tuple[str, list[str]]:
    """A section's dotted name and its keys; of the whole file when there is no such section."""
    model: type[BaseModel] = Config
    for name in names:
        field = model.model_fields.get(name)
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            break
        model = kind
    return ".".join(names), list(model.model_fields)


def line_of(text: str, key: str) -> int:
    """The line (from 1) that sets the dotted `key` or begins its table; 0 when it is not there."""
    section = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if found := re.match(r"\[\s*([^\[\]]+?)\s*\]", line):
            section = re.sub(r"\s*\.\s*", ".", found.group(1)).replace('"', "")
            if section == key or section.startswith(key + "."):
                return number
        elif found := re.match(r"""([A-Za-z0-9_."'-]+)\s*=""", line):
            name = found.group(1).replace('"', "").replace("'", "")
            full = f"{section}.{name}" if section else name
            if full == key or full.startswith(key + ".") or key.startswith(full + "."):
                return number
    return 0


def _has_secret(config: Config) -> bool:
    return any(urlsplit(url).password for url in (config.storage.url, config.bus.url))


def _check_private(path: Path, key: Path, text: str) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise ConfigError(
            path,
            "tls.key",
            line_of(text, "tls.key"),
            f"{key}: {error.strerror}",
            "check the path and its owner",
        ) from error
    if mode & OTHERS:
        raise ConfigError(
            path,
            "tls.key",
            line_of(text, "tls.key"),
            f"others can read {key} (mode {stat.S_IMODE(mode):04o})",
            f"run: chmod 600 {key}",
        )


def _address(value: str) -> str:
    if value:
        ipaddress.ip_address(value)
    return value
