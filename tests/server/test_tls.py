"""Certificates: what a browser checks is right, keys are private, and a new one is taken without a restart."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from server.tls import Tls, TlsError

NAMES = ["127.0.0.1", "::1", "localhost", "fengsui.example.cn"]


def own(folder: Path, names: list[str] = NAMES) -> Tls:
    return Tls(folder=folder / "tls", certificate="", key="", names=names)


def leaf(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "tls" / "server.pem").read_bytes())


def test_leaf_is_what_browsers_take(tmp_path: Path) -> None:
    tls = own(tmp_path)
    certificate = leaf(tmp_path)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life <= datetime.timedelta(days=397)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    }
    assert set(names.get_values_for_type(x509.DNSName)) == {"localhost", "fengsui.example.cn"}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert set(tls.info.names) == set(NAMES)
    said = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem", "server.pem"],
        cwd=tmp_path / "tls",
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.strip() == "server.pem: OK", said.stderr


def test_keys_are_private(tmp_path: Path) -> None:
    own(tmp_path)
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    for name in ("ca.key", "server.key"):
        assert (tmp_path / "tls" / name).stat().st_mode & 0o777 == 0o600


def test_fingerprint_and_spki_are_what_openssl_says(tmp_path: Path) -> None:
    tls = own(tmp_path)
    shown = subprocess.run(
        ["openssl", "x509", "-in", "ca.pem", "-noout", "-fingerprint", "-sha256"],
        cwd=tmp_path / "tls",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert tls.info.fingerprint in shown
    piped = subprocess.run(
        [
            "sh",
            "-c",
            "openssl x509 -in server.pem -noout -pubkey | openssl pkey -pubin -outform der | "
            "openssl dgst -sha256 -binary | openssl base64",
        ],
        cwd=tmp_path / "tls",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert tls.info.spki == piped.strip()


def test_a_restart_keeps_everything_and_new_names_keep_the_ca_and_the_key(tmp_path: Path) -> None:
    first = own(tmp_path).info
    assert own(tmp_path).info == first
    serial = leaf(tmp_path).serial_number
    moved = own(tmp_path, [*NAMES, "192.0.2.7"])
    assert leaf(tmp_path).serial_number != serial
    assert "192.0.2.7" in moved.info.names
    assert (moved.info.fingerprint, moved.info.spki) == (first.fingerprint, first.spki)


def test_a_leaf_with_29_days_left_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path)
    serial = leaf(tmp_path).serial_number

    def later(days: int) -> None:
        then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        monkeypatch.setattr("server.tls._now", lambda: then)

    later(365)
    own(tmp_path)
    assert leaf(tmp_path).serial_number == serial
    later(367)
    own(tmp_path)
    assert leaf(tmp_path).serial_number != serial


async def test_a_new_certificate_is_taken_by_the_next_connection(tmp_path: Path) -> None:
    tls = own(tmp_path)
    server = await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=tls.context
    )
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.pem"))

    async def serial() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        await reader.read()
        writer.close()
        return x509.load_der_x509_certificate(found).serial_number

    before = await serial()
    tls.reload([*NAMES, "192.0.2.7"])
    after = await serial()
    assert before != after == leaf(tmp_path).serial_number
    server.close()


def test_an_own_certificate_is_used_and_a_bad_new_one_is_not(tmp_path: Path) -> None:
    own(tmp_path)
    chain, key = tmp_path / "tls" / "server.pem", tmp_path / "tls" / "server.key"
    tls = Tls(folder=tmp_path / "other", certificate=str(chain), key=str(key), names=[])
    assert not tls.info.own_ca
    assert tls.ca_pem is None
    assert tls.info.fingerprint == leaf(tmp_path).fingerprint(hashes.SHA256()).hex(":").upper()
    before = tls.info
    good = chain.read_bytes()
    chain.write_bytes(b"half a file")
    with pytest.raises(TlsError) as caught:
        tls.reload([])
    assert "tls.certificate" in caught.value.remedy
    assert tls.info == before
    chain.write_bytes(good)
    assert tls.reload([]) == before


def test_a_key_that_does_not_fit(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        own(tmp_path / name)
    with pytest.raises(TlsError, match="cannot be used"):
        Tls(
            folder=tmp_path / "c",
            certificate=str(tmp_path / "a" / "tls" / "server.pem"),
            key=str(tmp_path / "b" / "tls" / "server.key"),
            names=[],
        )
