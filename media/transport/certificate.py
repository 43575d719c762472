"""The certificate a media process proves itself with in DTLS, and fingerprints of the peers' ones.

It is made anew at every start and lives in memory only: keys and certificate die with the process.
RFC 5763 (fingerprints in SDP), RFC 8122 section 5 (their form), RFC 8827 section 6.5 (P-256).
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

LIFETIME = datetime.timedelta(days=365)
# Peers' clocks are wrong now and then; none may find our certificate "not yet valid".
BACKDATED = datetime.timedelta(days=2)

DIGESTS = {
    "sha-256": hashlib.sha256,
    "sha-384": hashlib.sha384,
    "sha-512": hashlib.sha512,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A private key, its self-signed certificate and the sha-256 fingerprint that goes into every answer."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    fingerprint: str


def make_identity(wallclock: datetime.datetime) -> Identity:
    """Make a P-256 key and a certificate that names nobody. `wallclock` is the time of the start, UTC."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(8))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(wallclock - BACKDATED)
        .not_valid_after(wallclock + LIFETIME)
        .sign(key, hashes.SHA256())
    )
    der = certificate.public_bytes(Encoding.DER)
    return Identity(key=key, certificate=certificate, fingerprint=fingerprint(der, "sha-256"))


def fingerprint(der: bytes, algorithm: str) -> str:
    """The digest of a certificate as SDP writes it: upper-case hex with colons. Raises KeyError."""
    return DIGESTS[algorithm](der).digest().hex(":").upper()


def matches(der: bytes, signalled: Iterable[tuple[str, str]]) -> bool:
    """Whether any signalled (algorithm, fingerprint) is this certificate's; compared in constant time.

    Algorithms we do not know (or no longer trust, such as sha-1) never match.
    """
    found = False
    for algorithm, expected in signalled:
        if algorithm.lower() in DIGESTS:
            actual = fingerprint(der, algorithm.lower())
            found |= hmac.compare_digest(actual.encode(), expected.upper().encode("utf-8", "replace"))
    return found
