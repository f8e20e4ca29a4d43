"""A short code makes two strangers sure of each other: SPAKE2, bound to both certificates. The door to spake2.

The code is guessed once per try at most: what travels tells nothing that could be tried offline. The fingerprints
of both certificates are part of the key, so a relay in the middle, which has to show one of its own, makes keys
that differ. Each side proves its key before it believes anything the other one said.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Literal

from spake2 import SPAKE2_A, SPAKE2_B
from spake2.spake2 import SPAKEError

from perslm_runtime.errors import PersLMError

_DIGITS = 9  # three tries at a billion


class PairingRefused(PersLMError):
    """The other side does not know the code, or somebody stands in between."""

    exit_code = 3


def new_code() -> str:
    """A code to be read aloud and typed: 123-456-789."""
    digits = f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}}"
    return "-".join(digits[start : start + 3] for start in range(0, _DIGITS, 3))


def digits_of(code: str) -> str:
    """The digits of a code, however it was typed. Raises `PairingRefused` where they are not nine."""
    digits = "".join(letter for letter in code if letter.isdecimal() and letter.isascii())
    if len(digits) != _DIGITS:
        raise PairingRefused(f"the code has {_DIGITS} digits, like {'123-456-789'}: type it as the host shows it")
    return digits


class Pairing:
    """One side. `board` and `host` are the fingerprints of the certificates as this side sees them."""

    def __init__(self, side: Literal["board", "host"], code: str, *, board: str, host: str) -> None:
        kind = SPAKE2_A if side == "board" else SPAKE2_B
        self._side = side
        self._spake = kind(digits_of(code).encode(), idA=board.encode(), idB=host.encode())
        self.message: bytes = self._spake.start()
        self._key = b""

    def finish(self, message: bytes) -> None:
        """Take the other side's message. Raises `PairingRefused` for what is none."""
        try:
            self._key = self._spake.finish(message)
        except (SPAKEError, ValueError, AssertionError, IndexError) as error:
            raise PairingRefused("the other side's message is none of this kind") from error

    def proof(self, said: bytes = b"") -> bytes:
        """What proves this side's key, and that it said these bytes."""
        return self._mac(self._side, said)

    def check(self, proof: bytes, said: bytes = b"") -> None:
        """Believe the other side, and what it said. Raises `PairingRefused`."""
        other = "host" if self._side == "board" else "board"
        if not hmac.compare_digest(self._mac(other, said), proof):
            raise PairingRefused(
                "the code is not the right one, or somebody stands in between: ask the host for a new code"
            )

    def _mac(self, side: str, said: bytes) -> bytes:
        if not self._key:
            raise PairingRefused("the other side's message has to come first")
        return hmac.digest(self._key, side.encode() + b"\0" + said, "sha256")
