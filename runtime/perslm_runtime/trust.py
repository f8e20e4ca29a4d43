"""What a training host signed: metadata fetched, verified and kept, files accepted only by it. The door to TUF.

The roles, thresholds and the order of the checks are python-tuf's (`tuf.ngclient`). Ours are the clock by which
signed things expire, the mirrors, and the sentences. Every method blocks: on the network, and on the disk.
"""

from __future__ import annotations

import hashlib
import logging
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from tuf.api import exceptions
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from perslm_runtime.bundle import FILES
from perslm_runtime.connections import Connections, NotModified
from perslm_runtime.errors import BundleRefused
from perslm_runtime.fetch import CHUNK, FetchError, Patience, download
from perslm_runtime.fingerprint import read_json, write_json
from perslm_runtime.lane import Stop

log = logging.getLogger("perslm.trust")

_CLOCK = "clock.json"
_TIMESTAMP, _VALIDATORS = "timestamp.json", "validators.json"
_LOCAL = "file://"
_READ = "read"
_MOST_READ = 64  # small targets that are kept: a channel, and the manifests of what it offers
_LONGEST_TIMESTAMP = UpdaterConfig().timestamp_max_length
_METADATA_BYTES = 5_000_000  # of the largest role: a thousand bundles take half a megabyte


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where a repository is served: `url` holds metadata/ and targets/; https, or a folder of this disk (file)."""

    url: str

    @property
    def metadata(self) -> str:
        """The folder of the signed metadata."""
        return f"{self.url.rstrip('/')}/metadata/"

    def target(self, path: str, sha256: str) -> str:
        """A target's address: its name is prefixed by its hash, so a mirror never serves one for another."""
        pure = PurePosixPath(path)
        name = path if pure.parts[0] == FILES else str(pure.with_name(f"{sha256}.{pure.name}"))
        return f"{self.url.rstrip('/')}/targets/{name}"


@dataclass(frozen=True, slots=True)
class Target:
    """A file that is vouched for: its path in the repository, bytes and sha256."""

    path: str
    size: int
    sha256: str


class Trust:
    """One repository, as a board knows it.

    `folder` keeps the metadata and the clock's floor, `anchor` is the root metadata (bytes) that came with the
    board or by enrolment. `now` gives Unix seconds. Setting `stop` ends what is under way with Cancelled.
    `tls`: who is trusted and what is shown, where that is not the system's. `connections` bring their own, and
    go on with TLS sessions of earlier looks.
    """

    def __init__(
        self,
        folder: Path,
        anchor: bytes,
        mirrors: Sequence[str],
        *,
        now: Callable[[], float],
        stop: Stop | None = None,
        timeout_s: float = 20.0,
        tls: ssl.SSLContext | None = None,
        connections: Connections | None = None,
    ) -> None:
        self._folder, self._anchor, self._now = folder, anchor, now
        self._mirrors = [Mirror(url) for url in mirrors]
        self.stop = Stop() if stop is None else stop
        self._connections = connections or Connections(tls, timeout_s)
        self._fetcher = _Fetcher(folder, self._connections, lambda: self.stop)
        self._updater: Updater | None = None

    def trusted_now(self) -> datetime:
        """The time that expiry is judged by: never before the last time something was found valid.

        A board without a battery may start in the past, where nothing has expired yet. The floor cannot run ahead:
        it is only raised by metadata that had not expired then.
        """
        kept = read_json(self._folder / _CLOCK).get("floor_s", 0)
        floor = float(kept) if isinstance(kept, int | float) else 0.0
        return datetime.fromtimestamp(max(floor, self._now()), UTC)

    def refresh(self) -> int:
        """Bring the metadata up to date from every mirror; the newest counts. Returns the timestamp's version.

        One mirror is enough. Raises `BundleRefused` where one served what is not signed, old, expired or endless
        and none served better, else `FetchError`.
        """
        refused: list[str] = []
        failed: list[FetchError] = []
        best: Updater | None = None
        for mirror in self._mirrors:
            try:
                best = self._refreshed(mirror)
            except BundleRefused as error:
                log.warning("mirror_refused url=%s reason=%s", mirror.url, error)
                refused.append(str(error))
            except FetchError as error:
                failed.append(error)
        if best is None:
            if refused:
                raise BundleRefused("; ".join(refused))
            raise _all_failed(failed)
        self._updater = best
        write_json(self._folder / _CLOCK, {"floor_s": self.trusted_now().timestamp()})
        return int(best._trusted_set.timestamp.version)

    def target(self, path: str) -> Target | None:
        """What is signed about a path of the repository, or None. `refresh` comes first."""
        found = self._info(path)
        return None if found is None else Target(path, found.length, found.hashes["sha256"])

    def read(self, path: str, longest: int = 1 << 20) -> bytes:
        """A small target's bytes, fetched once for as long as they are what is signed.

        Raises `BundleRefused` where it is not signed or not what was signed.
        """
        info = self._signed(path)
        if info.length > longest:
            raise BundleRefused(f"{path} has {info.length} bytes and at most {longest} are read")
        kept = self._folder / _READ / info.hashes["sha256"]
        if _is(kept, info):
            return kept.read_bytes()
        data = self._of_any_mirror(path, info)
        _keep(kept, data)
        return data

    def fetch(self, path: str, target: Path, arrived: Callable[[int], None], patience: Patience) -> None:
        """Bring a large target to `target`, going on where an earlier call ended, from one mirror after the other.

        What one mirror has begun the next one ends. Where that is not what was signed, a part of it was wrong, and
        the last one is asked for the whole. `arrived(n)` is called with the bytes there are, and may sleep.
        """
        info = self._signed(path)
        problems: list[str] = []
        failed: list[FetchError] = []
        for mirror in self._mirrors:
            url = mirror.target(path, info.hashes["sha256"])
            try:
                if self._brought(url, target, info, arrived, patience):
                    return
            except FetchError as error:
                failed.append(error)
                continue
            problems.append(f"{url} is not the file that was signed")
        if problems:
            raise BundleRefused("; ".join(problems))
        raise _all_failed(failed)

    def verify(self, path: str, file: Path) -> None:
        """Compare a file with what is signed about `path`. Raises `BundleRefused`."""
        info = self._info(path)
        if info is None or not _is(file, info):
            raise BundleRefused(f"{file.name} is not the file that was signed as {path}")

    # -------------------------------------------------------------- inside

    def _brought(
        self, url: str, target: Path, info: TargetFile, arrived: Callable[[int], None], patience: Patience
    ) -> bool:
        """Whether one mirror has brought a file, or its end, that is what was signed; else nothing is left."""
        went_on = True
        while went_on:
            if url.startswith(_LOCAL):
                _copy(url, target, arrived, self.stop)
                went_on = False
            else:
                went_on = self._downloaded(url, target, info.length, arrived, patience)
            if _is(target, info):
                return True
            target.unlink(missing_ok=True)
        return False

    def _downloaded(
        self, url: str, target: Path, size: int, arrived: Callable[[int], None], patience: Patience
    ) -> bool:
        """Fetch a file; returns whether it began with bytes that were here already."""
        before = target.is_file() and target.stat().st_size > 0
        went_on = download(
            url,
            target,
            size,
            arrived=arrived,
            stop=self.stop,
            patience=patience,
            tls=self._connections.tls,
            by_content=True,
        )
        return before and went_on

    def _refreshed(self, mirror: Mirror) -> Updater:
        self._folder.mkdir(parents=True, exist_ok=True)
        config = UpdaterConfig(targets_max_length=_METADATA_BYTES, prefix_targets_with_hash=False)
        try:
            updater = Updater(
                str(self._folder), mirror.metadata, fetcher=self._fetcher, config=config, bootstrap=self._anchor
            )
            # ngclient asks the system's clock once, when this set is made; a board's is believed with a floor.
            updater._trusted_set.reference_time = self.trusted_now()
            updater.refresh()
        except exceptions.RepositoryError as error:
            raise BundleRefused(f"{mirror.url}: {_sentence(error)}") from error
        except exceptions.DownloadLengthMismatchError as error:
            raise BundleRefused(f"{mirror.url}: it sends more metadata than was announced") from error
        except exceptions.DownloadError as error:
            cause = error.__cause__ if isinstance(error.__cause__, FetchError) else None
            offline = cause is not None and cause.offline
            raise FetchError(str(cause or f"{mirror.url}: {error}"), offline=offline) from error
        return updater

    def _info(self, path: str) -> TargetFile | None:
        if self._updater is None:
            raise RuntimeError("refresh() has to come first")
        try:
            return self._updater.get_targetinfo(path)
        except exceptions.RepositoryError as error:
            raise BundleRefused(_sentence(error)) from error

    def _signed(self, path: str) -> TargetFile:
        info = self._info(path)
        if info is None:
            raise BundleRefused(f"nothing is signed under {path}")
        return info

    def _of_any_mirror(self, path: str, info: TargetFile) -> bytes:
        problems: list[str] = []
        failed: list[FetchError] = []
        for mirror in self._mirrors:
            url = mirror.target(path, info.hashes["sha256"])
            try:
                data = self._fetcher.download_bytes(url, info.length)
                info.verify_length_and_hashes(data)
            except exceptions.DownloadLengthMismatchError:
                problems.append(f"{url} is longer than what was signed")
            except exceptions.LengthOrHashMismatchError:
                problems.append(f"{url} is not the file that was signed")
            except exceptions.DownloadError as error:
                cause = error.__cause__
                failed.append(cause if isinstance(cause, FetchError) else FetchError(str(error)))
            else:
                return data
        if problems:
            raise BundleRefused("; ".join(problems))
        raise _all_failed(failed)


class _Fetcher(FetcherInterface):
    """Metadata over our own https rules; ngclient counts the bytes.

    The timestamp is asked for on condition: a mirror that would send the one that is here says so in 0.1 KB.
    """

    def __init__(self, folder: Path, connections: Connections, stop: Callable[[], Stop]) -> None:
        self._folder, self._connections, self._stop = folder, connections, stop

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            if url.startswith(_LOCAL):
                return iter((_local(url).read_bytes(),))
            if url.endswith(f"/{_TIMESTAMP}"):
                return iter((self._timestamp(url),))
            pieces = self._connections.read(url, stop=self._stop())
            first = next(pieces, b"")  # a refusal is told before anything is yielded
        except FileNotFoundError as error:
            raise exceptions.DownloadHTTPError(f"{_local(url).name} is not there", HTTPStatus.NOT_FOUND) from error
        except FetchError as error:
            if error.status is not None:
                raise exceptions.DownloadHTTPError(str(error), error.status) from error
            raise exceptions.DownloadError(str(error)) from error
        return _after(first, pieces)

    def _timestamp(self, url: str) -> bytes:
        """This mirror's timestamp, by its own word the one that is here where nothing is new."""
        validators = read_json(self._folder / _VALIDATORS)
        here = _bytes_of(self._folder / _TIMESTAMP)
        known = validators.get(url)
        match known:
            case {"validator": str(validator), "sha256": sha256} if sha256 == hashlib.sha256(here).hexdigest():
                pass
            case _:
                validator = ""
        seen: list[str] = []
        data = b""
        try:
            for piece in self._connections.read(url, stop=self._stop(), validator=validator, seen=seen):
                data += piece
                if len(data) > _LONGEST_TIMESTAMP:
                    break  # ngclient refuses it for its length
        except NotModified:
            return here
        if seen and seen[0]:
            told = {"validator": seen[0], "sha256": hashlib.sha256(data).hexdigest()}
            if told != known:
                write_json(self._folder / _VALIDATORS, {**validators, url: told})
        return data


def _local(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _copy(url: str, target: Path, arrived: Callable[[int], None], stop: Stop) -> None:
    """A file of a mirror on this disk. Raises `FetchError` where it is not there."""
    try:
        source = _local(url).open("rb")
    except FileNotFoundError as error:
        raise FetchError(f"{_local(url).name} is not there") from error
    with source, target.open("wb") as file:
        while chunk := source.read(CHUNK):
            file.write(chunk)
            arrived(file.tell())
            stop.check()


def _after(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    try:
        yield from pieces
    except FetchError as error:
        raise exceptions.DownloadError(str(error)) from error


def _keep(kept: Path, data: bytes) -> None:
    """Keep a small target for the next look, whole or not at all. A full disk may refuse."""
    draft = kept.with_name(f".{kept.name}.new")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.replace(kept)
        there = sorted(kept.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for path in there[:-_MOST_READ]:
            path.unlink(missing_ok=True)
    except OSError as error:
        log.info("target_not_kept error=%s", os.strerror(error.errno or 0))


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _is(file: Path, info: TargetFile) -> bool:
    try:
        with file.open("rb") as opened:
            info.verify_length_and_hashes(opened)
    except (OSError, exceptions.LengthOrHashMismatchError):
        return False
    return True


def _sentence(error: exceptions.RepositoryError) -> str:
    """What a refusal means, in words that name the attack it may be."""
    match error:
        case exceptions.ExpiredMetadataError():
            return f"what it serves has expired ({error}): it is frozen, or its host has not signed for long"
        case exceptions.BadVersionNumberError():
            return f"what it serves is older than what is known here ({error}): a roll-back is refused"
        case exceptions.UnsignedMetadataError():
            return f"what it serves is not signed by enough of the keys that are trusted ({error})"
        case exceptions.LengthOrHashMismatchError():
            return f"parts of different states are mixed, or one was changed ({error})"
        case _:
            return f"what it serves cannot be used ({error})"


def _all_failed(failed: Sequence[FetchError]) -> FetchError:
    if not failed:
        return FetchError("no mirror is configured: set sync.mirrors")
    return FetchError("; ".join(map(str, failed)), offline=all(error.offline for error in failed))
