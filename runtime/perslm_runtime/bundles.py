"""The bundles on a board: brought into the models folder by what is signed, listed, and removed.

    <models_dir>/<id>-v<version>/             bundle.json and the bundle's files, stamped as every model's
    <models_dir>/.partial/<id>-v<version>/    what has arrived so far; the next call goes on from it

A bundle appears by one rename when it is whole, and then is a model like any other. Does not know which is used.
"""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from perslm_runtime.bundle import (
    FILES,
    MANIFEST,
    BundleFile,
    Delta,
    Manifest,
    manifest_path,
    model_of,
    read_manifest,
)
from perslm_runtime.catalog_file import Catalog
from perslm_runtime.errors import BundleRefused, CatalogError, InputError
from perslm_runtime.fetch import PATIENCE, Patience, Progress
from perslm_runtime.fingerprint import fingerprint, sync, sync_tree, write_stamp
from perslm_runtime.lane import Stop

if TYPE_CHECKING:
    from perslm_runtime.trust import Trust

log = logging.getLogger("perslm.updates")

_PARTIAL = ".partial"
_RESERVE_BYTES = 50 << 20
_LONGEST_MANIFEST = 1 << 20

Apply = Callable[[Path, Path, Path], object]
"""Makes a file out of a base file and a difference: base, difference, target."""


@dataclass(frozen=True, slots=True)
class Bringing:
    """How a bundle is brought: told of progress, stopped, no faster than `bytes_per_s` (0: as fast as it goes).

    `apply` makes files out of differences; without it whole files are fetched. `known` are files that are here
    besides those of bundles, by sha256.
    """

    report: Callable[[Progress], None] = lambda _progress: None
    stop: Stop | None = None
    bytes_per_s: int = 0
    patience: Patience = PATIENCE
    apply: Apply | None = None
    known: Mapping[str, Path] = field(default_factory=dict)
    reserve_bytes: int = _RESERVE_BYTES


def installed(models_dir: Path) -> list[Manifest]:
    """The manifests of every bundle that is whole, oldest version first; one that cannot be read is left out."""
    found = []
    for path in models_dir.glob(f"*/{MANIFEST}"):
        try:
            manifest = read_manifest(path.read_bytes(), str(path))
        except (OSError, BundleRefused):
            continue
        if path.parent.name == manifest.name:
            found.append(manifest)
    return sorted(found, key=lambda one: (one.id, one.version))


def with_bundles(catalog: Catalog, models_dir: Path) -> Catalog:
    """The catalogue and, behind its entries, the bundles that are here."""
    known = {model.id for model in catalog.models}
    models = (model_of(one) for one in installed(models_dir) if one.name not in known)
    return replace(catalog, models=(*catalog.models, *models))


def look_up(trust: Trust, bundle: str, version: int) -> Manifest:
    """The signed manifest of a bundle's version. Raises `BundleRefused` for one that names another bundle."""
    path = manifest_path(bundle, version)
    manifest = read_manifest(trust.read(path, _LONGEST_MANIFEST), path)
    if (manifest.id, manifest.version) != (bundle, version):
        raise BundleRefused(f"{path} is the manifest of {manifest.name}")
    return manifest


def bring(trust: Trust, manifest: Manifest, models_dir: Path, how: Bringing) -> Path:
    """Fetch a bundle, verify every file against what is signed, and give it its place; returns its folder.

    Nothing is fetched that is here already: the same file of another version is copied, a difference to one is
    applied. What has arrived before a stop, a full disk or a power cut is used by the next call. Raises
    `BundleRefused`, `FetchError`, `CatalogError` for a full disk, and `Cancelled`.
    """
    home = models_dir / manifest.name
    if (home / MANIFEST).is_file():
        return home
    work = models_dir / _PARTIAL / manifest.name
    stop = trust.stop = Stop() if how.stop is None else how.stop
    try:
        _check_space(manifest, work, how.reserve_bytes)
        files = work / "files"
        files.mkdir(parents=True, exist_ok=True)
        done = 0
        here = {**how.known, **_files_here(models_dir)}
        for file in manifest.files:
            _bring_file(trust, manifest, file, work, here, done, how, stop)
            done += file.size
        signed = trust.read(manifest_path(manifest.id, manifest.version), _LONGEST_MANIFEST)
        (files / MANIFEST).write_bytes(signed)
        prints = {one.path: fingerprint(files / one.path, lambda _n: None, stop) for one in manifest.files}
        for file in manifest.files:
            if prints[file.path].sha256 != file.sha256:
                (files / file.path).unlink()
                raise BundleRefused(
                    f"{file.path} of {manifest.name} is not what its manifest says: it was removed"
                )
        write_stamp(files, prints)
        sync_tree(files)
        files.rename(home)
        sync(models_dir)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise CatalogError(
                f"the disk of {models_dir} became full while {manifest.name} arrived: free some space; what has "
                "arrived is kept and used"
            ) from error
        raise CatalogError(f"the disk of {models_dir} failed ({error}): check it with `perslm doctor`") from error
    shutil.rmtree(work, ignore_errors=True)
    return home


def remove(models_dir: Path, name: str) -> None:
    """Delete a bundle, or what has arrived of it. One rename first: no half bundle ever bears its name."""
    home, work = models_dir / name, models_dir / _PARTIAL / name
    if (home / MANIFEST).is_file():
        work.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(work / "removed", ignore_errors=True)
        home.rename(work / "removed")
    shutil.rmtree(work, ignore_errors=True)


def forget_partial(models_dir: Path, keep: Iterable[str]) -> None:
    """Delete what has arrived of bundles that nobody waits for any more; pulls of models are not touched."""
    kept = set(keep)
    for work in (models_dir / _PARTIAL).glob("*-v*"):
        if work.name not in kept and (work / "files").is_dir():
            shutil.rmtree(work, ignore_errors=True)


def _check_space(manifest: Manifest, work: Path, reserve_bytes: int) -> None:
    work.mkdir(parents=True, exist_ok=True)
    here = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    needed = max(0, manifest.size - here) + reserve_bytes
    free = shutil.disk_usage(work).free
    if free < needed:
        raise CatalogError(
            f"{manifest.name} needs {needed / 1e6:.0f} MB in {work.parent.parent}, {free / 1e6:.0f} MB are free: "
            "free some space (`perslm models remove ID`)"
        )


def _files_here(models_dir: Path) -> dict[str, Path]:
    """Files of bundles by sha256, as their manifests name them."""
    return {
        file.sha256: models_dir / manifest.name / file.path
        for manifest in installed(models_dir)
        for file in manifest.files
    }


def _bring_file(
    trust: Trust,
    manifest: Manifest,
    file: BundleFile,
    work: Path,
    here: dict[str, Path],
    done: int,
    how: Bringing,
    stop: Stop,
) -> None:
    """Make one file of the bundle be there: by copy, by difference, or from a mirror."""
    target = work / "files" / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    source = here.get(file.sha256)
    path = f"{FILES}/{file.sha256}"
    pace = _Pace(how.bytes_per_s, stop)

    def arrived(count: int) -> None:
        how.report(Progress(manifest.name, done + count, manifest.size))
        pace.wait(count)

    if source is not None and source.is_file():
        shutil.copyfile(source, target)
        return
    for delta in file.deltas:
        base = here.get(delta.base)
        if how.apply is not None and base is not None and base.is_file():
            try:
                _by_difference(trust, delta, base, target, work, arrived, how)
            except InputError as error:  # what differs from what was meant: the whole file is the way that is left
                log.warning("difference_not_applied bundle=%s error=%s", manifest.name, error)
                continue
            trust.verify(path, target)
            return
    trust.fetch(path, target, arrived, how.patience)


def _by_difference(
    trust: Trust, delta: Delta, base: Path, target: Path, work: Path, arrived: Callable[[int], None], how: Bringing
) -> None:
    difference = work / "delta"
    trust.fetch(f"{FILES}/{delta.sha256}", difference, arrived, how.patience)
    if how.apply is not None:
        how.apply(base, difference, target)
    difference.unlink()


class _Pace:
    """Holds a download to a rate, so that a turn meanwhile has the network and the card for itself."""

    def __init__(self, bytes_per_s: int, stop: Stop) -> None:
        self._rate, self._stop = bytes_per_s, stop
        self._began_at: tuple[float, int] | None = None

    def wait(self, count: int) -> None:
        """`count` bytes are there."""
        if not self._rate:
            return
        now = time.monotonic()
        if self._began_at is None:
            self._began_at = (now, count)
        began, before = self._began_at
        ahead_s = (count - before) / self._rate - (now - began)
        while ahead_s > 0:
            self._stop.check()
            time.sleep(min(ahead_s, 0.1))
            ahead_s -= 0.1
