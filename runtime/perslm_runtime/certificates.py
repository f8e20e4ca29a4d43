"""Keys and certificates of boards and hosts: made, signed, read. The door to `cryptography`'s X.509.

ECDSA P-256, because every TLS library speaks it. Knows no socket; what is secret is written for its owner alone.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from perslm_runtime.errors import InputError

BOARD_DAYS, HOST_DAYS, AUTHORITY_DAYS = 90, 825, 3650
_EARLY = timedelta(days=1)  # clocks differ; a board's may be a day behind


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key and its certificate, as PEM."""

    key: bytes
    certificate: bytes

    @property
    def fingerprint(self) -> str:
        """sha256 of the certificate, as 64 hexadecimal digits."""
        return fingerprint_of(self.certificate)


def authority(name: str, now: datetime | None = None) -> Identity:
    """An authority that signs boards and the host's own certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    made = _builder(subject, subject, key.public_key(), AUTHORITY_DAYS, now)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(_usage(signs_certificates=True), critical=True)
    return _identity(key, made.sign(key, hashes.SHA256()))


def self_signed(name: str, now: datetime | None = None) -> Identity:
    """A board's key with a certificate that says only which key it is, for its enrolment."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    return _identity(key, _builder(subject, subject, key.public_key(), BOARD_DAYS, now).sign(key, hashes.SHA256()))


def for_host(issuer: Identity, name: str, reached_by: Sequence[str], now: datetime | None = None) -> Identity:
    """A server's key and certificate for host names and addresses, signed by the authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = _builder(_issuer(issuer), _name(name), key.public_key(), HOST_DAYS, now)
    made = made.add_extension(
        x509.SubjectAlternativeName([_alternative(one) for one in reached_by]), critical=False
    )
    made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return _identity(key, made.sign(_key(issuer), hashes.SHA256()))


def for_board(issuer: Identity, certificate: bytes, name: str, now: datetime | None = None) -> bytes:
    """A client certificate (PEM) over the key of a board's own one, which proves that it has that key.

    Raises `InputError` for what is no such certificate.
    """
    shown = _read(certificate)
    public = shown.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise InputError("a board's key has to be ECDSA P-256")
    try:
        public.verify(shown.signature, shown.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise InputError("the board's certificate is not signed with its own key") from error
    made = _builder(_issuer(issuer), _name(name), public, BOARD_DAYS, now)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(_usage(signs_certificates=False), critical=True)
    made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return made.sign(_key(issuer), hashes.SHA256()).public_bytes(Encoding.PEM)


def serial_of(certificate: bytes) -> str:
    """A certificate's serial number as TLS libraries print it: hexadecimal, upper case."""
    return f"{_read(certificate).serial_number:X}"


def days_left(certificate: bytes, now: datetime | None = None) -> float:
    """How long it holds."""
    return (_read(certificate).not_valid_after_utc - (now or datetime.now(UTC))) / timedelta(days=1)


def fingerprint_of(certificate: bytes) -> str:
    """sha256 of a certificate in PEM, as 64 hexadecimal digits."""
    return hashlib.sha256(_read(certificate).public_bytes(Encoding.DER)).hexdigest()


def same_key(identity: Identity, certificate: bytes) -> bool:
    """Whether a certificate is over that identity's key."""
    public = _read(certificate).public_key()
    own = _key(identity).public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes(*form) == own.public_bytes(*form)


def keep(folder: Path, name: str, identity: Identity) -> None:
    """Write NAME.key (0600) and NAME.pem."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_secret(folder / f"{name}.key", identity.key)
    write_secret(folder / f"{name}.pem", identity.certificate)


def kept(folder: Path, name: str) -> Identity | None:
    """What `keep` wrote; None where there is nothing."""
    try:
        return Identity((folder / f"{name}.key").read_bytes(), (folder / f"{name}.pem").read_bytes())
    except FileNotFoundError:
        return None


def write_secret(path: Path, data: bytes) -> None:
    """Write a file for its owner alone, whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _builder(
    issuer: x509.Name, subject: x509.Name, public: ec.EllipticCurvePublicKey, days: int, now: datetime | None
) -> x509.CertificateBuilder:
    at = now or datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _EARLY)
        .not_valid_after(at + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
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


def _identity(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Identity:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Identity(pem, certificate.public_bytes(Encoding.PEM))


def _read(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise InputError("this is no certificate in PEM") from error


def _key(identity: Identity) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(identity.key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InputError("this key is not ECDSA")
    return key


def _issuer(issuer: Identity) -> x509.Name:
    return _read(issuer.certificate).subject


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
