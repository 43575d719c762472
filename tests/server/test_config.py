"""The configuration file: the reference is true, and whatever is wrong is named with file, key, line and remedy."""

from __future__ import annotations

import contextlib
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.config import Config, ConfigError, line_of, load_config, parse_config

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "configs" / "reference.toml"


def keys(table: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for key, value in table.items():
        found |= keys(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
    return found


def test_reference_names_every_key_with_its_default() -> None:
    assert load_config(REFERENCE) == Config()
    assert keys(tomllib.loads(REFERENCE.read_text())) == keys(Config().model_dump())


def test_every_shipped_configuration_loads() -> None:
    for path in sorted((ROOT / "configs").glob("*.toml")):
        load_config(path)


def test_values_arrive() -> None:
    config = parse_config('[http]\nport = 9443\n[ingest.rtsp]\nnetworks = ["10.1.0.0/16"]\nretry_min = 2')
    assert config.http.port == 9443
    assert config.ingest.rtsp.networks == ("10.1.0.0/16",)
    assert config.ingest.rtsp.retry_min == 2.0


@pytest.mark.parametrize(
    ("text", "key", "line", "part"),
    [
        ("[http]\nport = 8443\nprot = 1", "http.prot", 3, "no such key"),
        ('[http]\n\nport = "8443"', "http.port", 3, "integer"),
        ("[http]\nport = 70000", "http.port", 2, "65535"),
        ("[htpp]\nport = 1", "htpp", 1, "no such key"),
        ("[http]\nport = ", "port", 2, "no TOML"),
        ("[http]\nidle_timeout = 0", "http.idle_timeout", 2, "greater than 0"),
        ("[auth]\npassword_min_length = 8", "auth.password_min_length", 2, "12"),
        ('[ingest.rtsp]\nnetworks = ["10.0.0.1/8"]', "ingest.rtsp.networks", 2, "host bits"),
        ('[tls]\ncertificate = "a.pem"', "tls", 1, "together"),
        ('[http]\npublic_url = "http://a"', "http.public_url", 2, "https"),
        ('[bus]\nurl = "amqp://a"', "bus.url", 2, "redis://"),
        ('[server]\nname = "a', "name", 2, "no TOML"),
        ("http = 3", "http", 1, "HttpSection"),
        ('[media]\naddresses = ["somewhere"]', "media.addresses", 2, "IPv4 or IPv6"),
    ],
)
def test_what_is_wrong_is_named(text: str, key: str, line: int, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, Path("fengsui.toml"))
    error = caught.value
    assert (error.key, error.line) == (key, line)
    assert part in error.problem
    assert error.remedy
    assert str(error).startswith(f"fengsui.toml, line {line}: ")


def test_a_misspelt_key_is_told_its_likely_name() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config("[media]\nudp_prot = 1")
    assert caught.value.remedy == "did you mean udp_port?"


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "binary.toml")


def test_a_password_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "fengsui.toml"
    path.write_text('[bus]\nurl = "redis://:secret@127.0.0.1:6379/0"\n')
    path.chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.remedy == f"run: chmod 600 {path}"
    path.chmod(0o600)
    assert load_config(path).bus.url.startswith("redis://")


def test_a_private_key_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("key")
    key.chmod(0o644)
    path = tmp_path / "fengsui.toml"
    path.write_text(f'[tls]\ncertificate = "{tmp_path}/chain.pem"\nkey = "{key}"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert (caught.value.key, caught.value.line) == ("tls.key", 3)
    os.chmod(key, 0o600)
    assert load_config(path).tls.key == str(key)


@given(st.text(max_size=300), st.text(max_size=20))
def test_any_text_is_a_configuration_or_a_config_error(text: str, key: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_config(text)
    assert 0 <= line_of(text, key) <= len(text.splitlines())
