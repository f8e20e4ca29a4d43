"""The certificate of the HTTP port: the one that was given, or one of our own, made with openssl and renewed.

Our own is signed by itself: who connects sees its fingerprint once and keeps it, as with SSH. Blocking.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perslm_runtime.errors import ConfigError

_CERT, _KEY = "http-cert.pem", "http-key.pem"
_DAYS = 825  # the most that Apple's systems accept
_RENEW_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key; `fingerprint` is the SHA-256 of the certificate, AA:BB:…"""

    file: Path
    key: Path
    fingerprint: str


def given(file: Path, key: Path) -> Certificate:
    """A certificate of the house's own. Raises `ConfigError` where it and the key do not work."""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(file, key)
        return Certificate(file, key, _fingerprint(file))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the certificate {file} with the key {key} cannot be used ({error}): "
            "set http.cert_file and http.key_file"
        ) from error


def own(data_dir: Path, names: Sequence[str], addresses: Sequence[str]) -> Certificate:
    """Our own certificate for these names and addresses; made where there is none, or it soon expires."""
    file, key = data_dir / _CERT, data_dir / _KEY
    if not key.exists() or not _serves(file, names):
        _make(file, key, names, addresses)
    return given(file, key)


def _serves(file: Path, names: Sequence[str]) -> bool:
    """Whether it is there, lasts, and is for all `names`. Addresses come and go."""
    if not file.exists():
        return False
    asked = _openssl("x509", "-in", str(file), "-noout", "-checkend", str(_RENEW_S), "-ext", "subjectAltName")
    listed = {word.strip(" ,") for word in asked.stdout.split()}
    return asked.returncode == 0 and {f"DNS:{name}" for name in names} <= listed


def _make(file: Path, key: Path, names: Sequence[str], addresses: Sequence[str]) -> None:
    alternatives = ",".join([*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses)])
    drafts = file.with_suffix(".new"), key.with_suffix(".new")
    drafts[1].unlink(missing_ok=True)
    os.close(os.open(drafts[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    made = _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", str(_DAYS), "-subj", "/CN=PersLM", "-addext", f"subjectAltName={alternatives}"),
        *("-out", str(drafts[0]), "-keyout", str(drafts[1])),
    )
    if made.returncode != 0:
        problem = made.stderr.strip()[-200:]
        raise ConfigError(f"openssl made no certificate ({problem}): set http.cert_file and http.key_file")
    drafts[1].chmod(0o600)
    drafts[1].replace(key)
    drafts[0].replace(file)


def _openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["openssl", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"openssl cannot be run ({error}), which makes our certificate: install it, or "
            "set http.cert_file and http.key_file"
        ) from error


def _fingerprint(file: Path) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    own = file.read_text(encoding="ascii").partition(begin)[2].partition(end)[0]  # a chain begins with it
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(f"{begin}{own}{end}")).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
