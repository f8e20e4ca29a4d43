"""The keys that sign for the boards: one file each, for their owner only, encrypted where a passphrase is given.

root and targets are for a drawer (an offline medium), snapshot and timestamp for the machine that publishes.
Knows no repository. Files are PEM (PKCS #8, ed25519), which other tools read too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from perslm_runtime.errors import ConfigError, InputError

PASSPHRASE = "PERSLM_HOST_PASSPHRASE"  # noqa: S105 - the name of the variable, not what is in it
ROLES = ("root", "targets", "snapshot", "timestamp")


class SigningKeys:
    """A folder of keys named ROLE-NUMBER.pem. `passphrase` encrypts the ones that are made and opens all."""

    def __init__(self, folders: Sequence[Path], passphrase: str | None = None) -> None:
        self._folders = list(folders)
        self._passphrase = passphrase.encode() if passphrase else None

    def make(self, role: str) -> CryptoSigner:
        """Make one more key for a role in the first folder. Raises `InputError` for an unknown role."""
        if role not in ROLES:
            raise InputError(f"there is no role {role!r}: roles are {', '.join(ROLES)}")
        folder = self._folders[0]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = 1 + max((_number(path) for path in self._files(role)), default=0)
        private = Ed25519PrivateKey.generate()
        encryption = BestAvailableEncryption(self._passphrase) if self._passphrase else NoEncryption()
        path = folder / f"{role}-{number}.pem"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
            file.flush()
            os.fsync(file.fileno())
        return CryptoSigner(private)

    def of(self, role: str) -> list[CryptoSigner]:
        """Every key of a role that is here, oldest first. Raises `ConfigError` for one that cannot be opened."""
        return [self._open(path) for path in self._files(role)]

    def _files(self, role: str) -> list[Path]:
        found = [path for folder in self._folders for path in folder.glob(f"{role}-*.pem")]
        return sorted(found, key=_number)

    def _open(self, path: Path) -> CryptoSigner:
        try:
            private = load_pem_private_key(path.read_bytes(), self._passphrase)
        except TypeError as error:
            wants = "is encrypted: give its passphrase" if self._passphrase is None else "is not encrypted"
            raise ConfigError(f"the key {path} {wants} (PERSLM_HOST_PASSPHRASE)") from error
        except (OSError, ValueError) as error:
            raise ConfigError(f"the key {path} cannot be opened ({error}): is the passphrase right?") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError(f"the key {path} is no ed25519 key: `perslm-host keys rotate ROLE` makes others")
        return CryptoSigner(private)


def _number(path: Path) -> int:
    number = path.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0
