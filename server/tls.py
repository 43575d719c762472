"""TLS of the HTTPS port: the operator's own certificate, or one from a local CA that is made at the first start.

The leaf lives 397 days at most, names every address of this machine, and is made again when that changes or 30 days
are left; the CA stays, so that whoever installed it from /ca need not do so again. `Tls.reload` puts new files into the
same context: new connections get them, nothing restarts.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server.start_error import StartError

LEAF_DAYS: Final = 397
CA_DAYS: Final = 3650
RENEW_DAYS: Final = 30
BACKDATE: Final = datetime.timedelta(hours=24)  # clients whose clock is behind
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; 1.3 has only good ones


class TlsError(StartError):
    """The certificate cannot be used."""


class CertificateInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`fingerprint`: SHA-256 of the certificate to compare by eye (the CA's when we made one); `spki`: base64 SHA-256
    of the leaf's public key; times wallclock s."""

    fingerprint: str
    spki: str
    names: tuple[str, ...]
    not_before: float
    not_after: float
    own_ca: bool


class Tls:
    """Holds the context of the listener. Make with `open_tls`."""

    def __init__(self, *, folder: Path, certificate: str, key: str, names: Sequence[str]) -> None:
        self._folder = folder
        self._certificate = Path(certificate) if certificate else None
        self._key = Path(key) if key else None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers(CIPHERS)
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.options |= (
            ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        )
        self._loaded = b""
        self.info = self.reload(names)

    @property
    def ca_pem(self) -> bytes | None:
        """The local CA's certificate for /ca; None with the operator's own certificate."""
        return None if self._certificate else (self._folder / "ca.pem").read_bytes()

    def reload(self, names: Sequence[str]) -> CertificateInfo:
        """Read the files again (own certificate: make what is missing, too old or for other names).

        Raises TlsError, and then the certificate in use stays.
        """
        try:
            if self._certificate and self._key:
                chain, key = self._certificate, self._key
            else:
                chain, key = _own_certificate(self._folder, names)
            content = chain.read_bytes()
            leaf = x509.load_pem_x509_certificate(content)
            if content != self._loaded:
                self.context.load_cert_chain(chain, key)
                self._loaded = content
        except (OSError, ValueError, ssl.SSLError) as error:
            where = "tls.certificate and tls.key" if self._certificate else f"the files in {self._folder}"
            raise TlsError(
                f"the TLS certificate cannot be used: {error}",
                f"check {where}: PEM, a key that fits, readable by the server"
                + ("" if self._certificate else "; remove them to have new ones made"),
            ) from error
        shown = leaf
        if not self._certificate:
            shown = x509.load_pem_x509_certificate((self._folder / "ca.pem").read_bytes())
        self.info = CertificateInfo(
            fingerprint=shown.fingerprint(hashes.SHA256()).hex(":").upper(),
            spki=spki_hash(leaf),
            names=tuple(sorted(_names_of(leaf))),
            not_before=leaf.not_valid_before_utc.timestamp(),
            not_after=leaf.not_valid_after_utc.timestamp(),
            own_ca=not self._certificate,
        )
        return self.info


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def spki_hash(certificate: x509.Certificate) -> str:
    """Base64 of the SHA-256 of the public key's DER, as Chromium's certificate exceptions take it."""
    public = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


def _own_certificate(folder: Path, names: Sequence[str]) -> tuple[Path, Path]:
    folder.mkdir(mode=0o700, exist_ok=True)
    ca_key, ca = _authority(folder)
    chain, key = folder / "server.pem", folder / "server.key"
    wanted = set(names)
    if chain.exists() and key.exists():
        leaf = x509.load_pem_x509_certificate(chain.read_bytes())
        left = leaf.not_valid_after_utc - _now()
        started = leaf.not_valid_before_utc <= _now()
        if started and left.days >= RENEW_DAYS and _names_of(leaf) == wanted and leaf.issuer == ca.subject:
            return chain, key
        leaf_key = _load_key(key)
    else:
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        _write_key(key, leaf_key)
    now = _now()
    leaf = (
        x509.CertificateBuilder()
        .subject_name(_name("Fengsui"))
        .issuer_name(ca.subject)
        .public_key(leaf_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now - BACKDATE + datetime.timedelta(days=LEAF_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in sorted(wanted)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(leaf_key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    _replace(chain, leaf.public_bytes(serialization.Encoding.PEM), 0o644)
    return chain, key


def _authority(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key_path, path = folder / "ca.key", folder / "ca.pem"
    if path.exists() and key_path.exists():
        ca = x509.load_pem_x509_certificate(path.read_bytes())
        if ca.not_valid_after_utc - _now() > datetime.timedelta(days=LEAF_DAYS):
            return _load_key(key_path), ca
    key = ec.generate_private_key(ec.SECP256R1())
    now = _now()
    mark = os.urandom(3).hex()
    subject = _name(f"Fengsui local CA {mark}")
    ca = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + datetime.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_path, key)
    _replace(path, ca.public_bytes(serialization.Encoding.PEM), 0o644)
    return key, ca


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode())


def _names_of(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return addresses | set(names.get_values_for_type(x509.DNSName))


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is no key of ours")
    return key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _replace(path, pem, 0o600)


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, also when the power goes."""
    new = path.with_name(path.name + ".new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
