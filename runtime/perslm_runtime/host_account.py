"""A board's account with its training host: enrolled by a code, kept on the disk, renewed before it ends.

    <folder>/board.key, board.pem    this board's key and the certificate the host gave it
    <folder>/authority.pem           the host's authority: who else shows up is not the host
    <folder>/root.json               the root metadata that everything signed is judged by
    <folder>/url                     where the host is
    <folder>/seeded                  the key came with the card (`plant`): the first contact takes another one

Everything blocks on the network and the disk. What a host said is believed once it proved that it knew the code.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from perslm_runtime.certificates import (
    Identity,
    days_left,
    fingerprint_of,
    keep,
    kept,
    same_key,
    self_signed,
    write_secret,
)
from perslm_runtime.connections import Connections
from perslm_runtime.errors import InputError
from perslm_runtime.fetch import FetchError
from perslm_runtime.pairing import Pairing, PairingRefused

_PATIENCE_S = 20.0
_RENEW_DAYS = 30.0
_NEXT = "next"
_LONGEST_ANSWER = 1 << 20
_SEEDED = "seeded"


def enroll(folder: Path, url: str, code: str, name: str) -> None:
    """Make this board known to the host at `url` by the code that it shows.

    Raises `PairingRefused` where the code is wrong, has expired, or somebody stands in between, and `FetchError`
    where the host cannot be reached. Nothing is kept unless the host has proved itself.
    """
    own = self_signed(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the pairing is what proves the host
    with _connected(url, context) as connection:
        shown = connection.sock.getpeercert(binary_form=True)
        pairing = Pairing("board", code, board=own.fingerprint, host=fingerprint_of(_pem(shown)))
        begun = _asked(
            connection,
            "/enroll/begin",
            {"certificate": own.certificate.decode(), "message": pairing.message.hex()},
        )
        pairing.finish(_hex(begun, "message"))
        done = _asked(
            connection,
            "/enroll/finish",
            {"fingerprint": own.fingerprint, "proof": pairing.proof().hex(), "name": name},
        )
    given = str(done.get("given", "")).encode()
    pairing.check(_hex(done, "proof"), given)
    told = json.loads(given)
    certificate = str(told["certificate"]).encode()
    if not same_key(own, certificate):
        raise PairingRefused("the host certified another key than this board's")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keep(folder, "board", Identity(own.key, certificate))
    write_secret(folder / "authority.pem", str(told["authority"]).encode())
    write_secret(folder / "root.json", str(told["root"]).encode())
    write_secret(folder / "url", url.rstrip("/").encode())


def plant(folder: Path, seed: bytes) -> str:
    """Make this board known by what its host has prepared for it (`perslm-host seed`); the board's name there.

    The key in it has travelled on a card or stick: the first contact with the host takes another one, after which
    a copy of the seed opens nothing. Raises `InputError` for what is no seed.
    """
    try:
        told = json.loads(seed)
        name, url = str(told["name"]), str(told["url"])
        identity = Identity(str(told["key"]).encode(), str(told["certificate"]).encode())
        authority, root = str(told["authority"]).encode(), str(told["root"]).encode()
        known = same_key(identity, identity.certificate)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("this is no seed of a training host: `perslm-host seed NAME` makes one") from error
    if not known:
        raise InputError("the seed's certificate is over another key: `perslm-host seed NAME` makes one anew")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_secret(folder / _SEEDED, b"")
    keep(folder, "board", identity)
    write_secret(folder / "authority.pem", authority)
    write_secret(folder / "root.json", root)
    write_secret(folder / "url", url.rstrip("/").encode())
    return name


class HostAccount:
    """An enrolled board. `HostAccount.of` gives None where it is not."""

    def __init__(self, folder: Path, url: str, identity: Identity) -> None:
        self._folder, self.url, self._identity = folder, url, identity
        self.anchor = (folder / "root.json").read_bytes()

    @classmethod
    def of(cls, folder: Path) -> HostAccount | None:
        """What `enroll` kept."""
        identity = kept(folder, "board")
        if identity is not None and not same_key(identity, identity.certificate):
            identity = _completed(folder)
        file = folder / "url"
        return cls(folder, file.read_text(encoding="utf-8"), identity) if identity and file.is_file() else None

    def context(self) -> ssl.SSLContext:
        """TLS as this board speaks it with its host: both show a certificate of the host's authority."""
        context = ssl.create_default_context(cafile=str(self._folder / "authority.pem"))
        context.load_cert_chain(self._folder / "board.pem", self._folder / "board.key")
        return context

    def report(self, told: dict[str, Any], connections: Connections | None = None) -> None:
        """Tell the host how this board is, over a connection that is there. Raises `FetchError`."""
        if connections is None:
            self.tell("/report", told)
            return
        body = json.dumps(told, separators=(",", ":")).encode()
        with connections.asked(
            "POST", f"{self.url}/report", body, {"Content-Type": "application/json"}
        ) as response:
            data = response.read(_LONGEST_ANSWER)
        _told(response.status, data)

    def tell(self, path: str, told: dict[str, Any]) -> dict[str, Any]:
        """Say something at one of the host's doors, and hear its answer. Raises `FetchError`."""
        with _connected(self.url, self.context()) as connection:
            return _asked(connection, path, told)

    def renew_if_due(self) -> bool:
        """Take a new key and certificate when the present one ends within a month, or came with a card."""
        seeded = self._folder / _SEEDED
        if days_left(self._identity.certificate) > _RENEW_DAYS and not seeded.exists():
            return False
        self.renew()
        seeded.unlink(missing_ok=True)
        return True

    def renew(self) -> None:
        """Take a new key and certificate now; the old one is void at the host once this one is shown there."""
        fresh = self_signed("renewed")
        with _connected(self.url, self.context()) as connection:
            told = _asked(connection, "/renew", {"certificate": fresh.certificate.decode()})
        certificate = str(told["certificate"]).encode()
        if not same_key(fresh, certificate):
            raise PairingRefused("the host certified another key than this board's")
        self._identity = Identity(fresh.key, certificate)
        keep(
            self._folder, _NEXT, self._identity
        )  # key and certificate are two files: a cut between them is mended
        keep(self._folder, "board", self._identity)
        for name in (f"{_NEXT}.pem", f"{_NEXT}.key"):
            (self._folder / name).unlink()


def _completed(folder: Path) -> Identity | None:
    """The identity of a renewal that a power cut ended between its two files; None where there is none."""
    following = kept(folder, _NEXT)
    if following is not None:
        keep(folder, "board", following)
    return following


def _connected(url: str, context: ssl.SSLContext) -> _Closing:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise InputError(f"{url[:80]} is no https address of a host: it looks like https://pc.local:8443")
    return _Closing(http.client.HTTPSConnection(parts.hostname, parts.port, timeout=_PATIENCE_S, context=context))


class _Closing:
    """A connection that is opened by `with`; what goes wrong with the network is a `FetchError`."""

    def __init__(self, connection: http.client.HTTPSConnection) -> None:
        self._connection = connection

    def __enter__(self) -> Any:
        try:
            self._connection.connect()
        except OSError as error:
            raise FetchError(
                f"the host {self._connection.host} cannot be reached ({error})", offline=True
            ) from error
        return self._connection

    def __exit__(self, *error: object) -> None:
        self._connection.close()


def _asked(connection: Any, path: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read(_LONGEST_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"the host broke the connection off ({error})") from error
    return _told(response.status, data)


def _told(status: int, data: bytes) -> dict[str, Any]:
    """What the host answered. Raises `PairingRefused` and `FetchError` for a refusal."""
    try:
        told = json.loads(data)
    except ValueError as error:
        raise FetchError(f"the host answered {status} and no JSON") from error
    if status == http.HTTPStatus.FORBIDDEN:
        raise PairingRefused(str(told.get("error")))
    if status != http.HTTPStatus.OK:
        raise FetchError(f"the host answered {status}: {told.get('error')}", status=status)
    return dict(told)


def _hex(told: dict[str, Any], name: str) -> bytes:
    try:
        return bytes.fromhex(told[name])
    except (KeyError, TypeError, ValueError) as error:
        raise PairingRefused("the host's answer is none of this kind") from error


def _pem(der: bytes | None) -> bytes:
    if not der:
        raise PairingRefused("the host shows no certificate")
    return ssl.DER_cert_to_PEM_cert(der).encode()
