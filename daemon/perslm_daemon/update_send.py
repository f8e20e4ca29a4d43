"""Sending a training host's repository to a board that has nothing but MQTT, in chunks that it asks for.

Reads the repository as a board would, so that only what a board needs is sent: the signed metadata, the channel,
the manifests of what it offers, and of each file the smallest difference, or the file itself. Signs nothing.
"""

from __future__ import annotations

import base64
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from perslm_daemon.mqtt_connection import Connection
from perslm_daemon.topics import Topics
from perslm_daemon.update_mailbox import LONGEST_CHUNK
from perslm_daemon.verbs import STOPPED
from perslm_runtime.bundle import FILES, channel_path, manifest_path, read_channel
from perslm_runtime.bundles import look_up
from perslm_runtime.errors import InputError
from perslm_runtime.fingerprint import sha256_of

_PATIENCE_S = 20.0
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Parcel:
    """A file of a repository: its path there, where it lies, bytes and sha256."""

    path: str
    file: Path
    size: int
    sha256: str


def parcels(repository: Path, channel: str, *, whole: bool) -> list[Parcel]:
    """What a board needs to follow a channel, small things first, the timestamp last. Blocks.

    With `whole` files are sent even where a difference would do. Raises `BundleRefused` where the repository's
    signatures do not hold, `InputError` where it is none.
    """
    from perslm_runtime.trust import Mirror, Trust  # noqa: PLC0415 - 27 MB that no other command needs

    anchor = repository / "metadata/1.root.json"
    if not anchor.is_file():
        raise InputError(f"{repository} is no repository of a training host: it has no metadata/1.root.json")
    mirror = Mirror(repository.absolute().as_uri())
    with tempfile.TemporaryDirectory() as folder:
        trust = Trust(Path(folder), anchor.read_bytes(), [mirror.url], now=time.time)
        trust.refresh()
        offers = read_channel(trust.read(channel_path(channel))).offers
        versions = {(one.id, n) for one in offers for n in (one.version, one.before) if n is not None}
        manifests = [look_up(trust, *one) for one in sorted(versions)]
        targets = [channel_path(channel), *(manifest_path(*one) for one in sorted(versions))]
        signed = [trust.target(path) for path in targets]
    small = [mirror.target(one.path, one.sha256).removeprefix(f"{mirror.url}/") for one in signed if one]
    large = []
    for file in (file for manifest in manifests for file in manifest.files):
        sums = [one.sha256 for one in file.deltas]
        large += (
            [f"targets/{FILES}/{one}" for one in sums]
            if sums and not whole
            else [f"targets/{FILES}/{file.sha256}"]
        )
    return [_parcel(repository, path) for path in dict.fromkeys([*small, *large, *_metadata(repository)])]


async def send(
    connection: Connection, topics: Topics, parcel: Parcel, arrived: Callable[[int], None] = lambda _n: None
) -> None:
    """Send one file, going on where an earlier call ended. Raises `InputError` with what the board said."""
    told = await _ask(connection, topics, _chunk(parcel, 0, b""))
    while not told["complete"]:
        start, end = told["missing"][0]
        piece = await anyio.to_thread.run_sync(_read, parcel.file, start, min(end, start + LONGEST_CHUNK))
        told = await _ask(connection, topics, _chunk(parcel, start, piece))
        arrived(told["have_bytes"])


async def wish(connection: Connection, topics: Topics, action: str) -> Mapping[str, Any]:
    """Ask the board to look, or to take what is offered, now that it is all there; how things are then.

    A change-over opens the board's ways in anew, which ends the request that wished for it.
    """
    try:
        return await _ask(connection, topics, {"action": action}, patience_s=1800.0)
    except InputError as error:
        if STOPPED not in str(error):
            raise
        return await _ask(connection, topics, {"action": "status"})


def _chunk(parcel: Parcel, at: int, piece: bytes) -> dict[str, Any]:
    return {
        "action": "chunk",
        "path": parcel.path,
        "digest": parcel.sha256,
        "size": parcel.size,
        "at": at,
        "data": base64.b64encode(piece).decode(),
    }


async def _ask(
    connection: Connection, topics: Topics, said: dict[str, Any], patience_s: float = _PATIENCE_S
) -> dict[str, Any]:
    """One request and its answer; a board that is away for a moment is asked again."""
    for _ in range(_TRIES):
        transaction = secrets.token_hex(8)
        await connection.publish(topics.request("sync"), json.dumps({**said, "transaction": transaction}).encode())
        with anyio.move_on_after(patience_s):
            while True:
                for delivery in await connection.next():
                    connection.acknowledge(delivery)
                    answer = _answer(delivery.payload)
                    if answer.get("transaction") != transaction:
                        continue
                    if answer.get("status") != "ok":
                        raise InputError(f"{topics.node} says: {answer.get('error')}")
                    return dict(answer["data"])
    raise InputError(f"{topics.node} does not answer: is it online at this broker? What has come is kept")


def _answer(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _metadata(repository: Path) -> Iterator[str]:
    """Every root, then the latest targets and snapshot; the timestamp, which makes them count, comes last."""
    folder = repository / "metadata"

    def versions(role: str) -> list[int]:
        names = (path.name.partition(".")[0] for path in folder.glob(f"*.{role}.json"))
        return sorted(int(name) for name in names if name.isdecimal())

    yield from (f"metadata/{n}.root.json" for n in versions("root"))
    for role in ("targets", "snapshot"):
        yield f"metadata/{versions(role)[-1]}.{role}.json"
    yield "metadata/timestamp.json"


def _parcel(repository: Path, path: str) -> Parcel:
    file = repository / path
    return Parcel(path, file, file.stat().st_size, sha256_of(file))


def _read(file: Path, start: int, end: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(start)
        return opened.read(end - start)
