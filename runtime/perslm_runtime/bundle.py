"""The manifest of a model bundle: what it is, which files it has, which boards it fits, and how it proves itself.

Pure: knows no signature, no network and no folder. Who signed a manifest, and that the files are those it names,
is settled before anything here is believed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import msgspec

from perslm_runtime import bundle_trial
from perslm_runtime.bundle_trial import Trial
from perslm_runtime.catalog_file import BOARDS, File, Model, Signed
from perslm_runtime.errors import BundleRefused

MANIFEST = "bundle.json"
FILES = "files"
"""Targets of a repository in this folder are named by their sha256, so any number of versions share them."""
FORMAT = 1
KINDS = ("llm", "adapter", "stt", "tts", "embed", "wake", "intents")
"""What a board's daemon can take into use; others are refused by name."""
ADAPTER, SENTENCES = "adapter.gguf", "sentences.toml"
"""What an adapter's and an intents bundle's file is called."""
MOST_SENTENCES_BYTES = 64 << 10
LAID_OVER = ("adapter", "wake", "intents")
"""Kinds that come on top of what a board has, which may have none of them."""
APP = "app"
"""A release of PersLM itself: signed alike, on channels of its own, taken by root and never by the daemon."""

_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_MANIFEST = 1 << 20


class Delta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file as a difference to one that a board may have: `base` is its sha256, the rest the difference's."""

    base: str
    size: int
    sha256: str


class BundleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the bundle: relative path, bytes, sha256, and differences it can be made from."""

    path: str
    size: int
    sha256: str
    deltas: tuple[Delta, ...] = ()


class Manifest(msgspec.Struct, frozen=True):
    """A bundle. Unknown keys are left out of account: a newer host may say more.

    `version` counts up from 1 for one `id`. `base_sha256` is the file of the language model that an adapter was
    made for: it changes numbers of that file, and on another it would change other ones. `app_min` is the oldest
    PersLM that can use it. `evaluation` and `data` are the host's report and data card, kept with the bundle and
    shown, never interpreted.
    """

    id: str
    version: int
    kind: str
    what: str
    licence: str
    files: tuple[BundleFile, ...]
    memory_mb: int
    format: int = FORMAT
    languages: tuple[str, ...] = ("en",)
    boards: tuple[str, ...] = BOARDS
    base: str = ""
    base_sha256: str = ""
    app_min: str = "0.1.0"
    trial: Trial = msgspec.field(default_factory=Trial)
    evaluation: dict[str, Any] = msgspec.field(default_factory=dict)
    data: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name on a board: `perslm-home-v3`."""
        return f"{self.id}-v{self.version}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


class Offer(msgspec.Struct, frozen=True):
    """What a channel offers: a version of a bundle to `percent` of the boards, and `before` to the others."""

    id: str
    version: int
    kind: str
    percent: int = 100
    before: int | None = None


class Channel(msgspec.Struct, frozen=True):
    """A channel: its offers, and the names (`id-vN`) that nobody shall use any more."""

    offers: tuple[Offer, ...] = ()
    retracted: tuple[str, ...] = ()

    def retracted_versions(self) -> set[tuple[str, int]]:
        """(id, version) of what was retracted."""
        split = (name.rpartition("-v") for name in self.retracted)
        return {(bundle, int(version)) for bundle, _, version in split if version.isdecimal()}

    def full(self, bundle: str, kind: str) -> int | None:
        """The version that every board may have, or None."""
        for one in self.offers:
            if (one.id, one.kind) == (bundle, kind):
                return one.version if one.percent == 100 else one.before
        return None

    def for_board(self, board_id: str, kinds: tuple[str, ...] = KINDS) -> tuple[tuple[str, int], ...]:
        """(id, version) of what this board shall have; which share it is in depends on its id and the bundle."""
        wanted = []
        for one in self.offers:
            if one.kind not in kinds:
                continue
            version = one.version if share_of(board_id, f"{one.id}-v{one.version}") < one.percent else one.before
            if version is not None:
                wanted.append((one.id, version))
        return tuple(wanted)


def share_of(board_id: str, name: str) -> int:
    """0 to 99: where a board stands in the roll-out of a bundle, another place for every bundle."""
    return int.from_bytes(hashlib.sha256(f"{board_id}\n{name}".encode()).digest()[:8], "big") % 100


def fingerprint_of(anchor: bytes) -> str:
    """What two people compare of a root metadata: 64 bits of its sha256, in groups of four digits."""
    return " ".join(re.findall("....", hashlib.sha256(anchor).hexdigest()[:16]))


def manifest_path(bundle: str, version: int) -> str:
    """Where a bundle's manifest is in a repository."""
    return f"bundles/{bundle}/{version}.json"


def release_channel(name: str) -> str:
    """The channel of PersLM's own releases beside a channel of models."""
    return f"{APP}-{name}"


def channel_path(name: str) -> str:
    """Where a channel's offers are in a repository."""
    return f"channels/{name}.json"


def read_channel(data: bytes) -> Channel:
    """Read a channel's offers; `BundleRefused` where they are none."""
    try:
        return msgspec.json.decode(data, type=Channel)
    except msgspec.MsgspecError as error:
        raise BundleRefused(f"the channel's offers cannot be read: {error}") from error


def read_manifest(data: bytes, origin: str = MANIFEST) -> Manifest:
    """Read and check a manifest; `BundleRefused` lists every mistake in it."""
    if len(data) > _LONGEST_MANIFEST:
        raise BundleRefused(f"{origin} has {len(data)} bytes, and no manifest has more than {_LONGEST_MANIFEST}")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleRefused(f"{origin} is no manifest of a bundle: {error}") from error
    mistakes = _mistakes(manifest)
    if mistakes:
        raise BundleRefused(f"{origin} cannot be used: {'; '.join(mistakes)}")
    return manifest


def write_manifest(manifest: Manifest) -> bytes:
    """The manifest as it is published: the same bytes for the same content."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)


def _mistakes(manifest: Manifest) -> list[str]:
    found: list[str] = []
    if manifest.format != FORMAT:
        found.append(f"its format is {manifest.format} and this PersLM reads {FORMAT}: update PersLM first")
    if not _ID.fullmatch(manifest.id):
        found.append("id has to be lower-case letters, digits, '.' and '-'")
    if manifest.version < 1:
        found.append("version counts from 1")
    if manifest.kind not in (*KINDS, APP):
        found.append(f"kind {manifest.kind[:40]!r} is none of {', '.join(KINDS)}")
    if not manifest.licence.strip():
        found.append("licence is missing")
    if manifest.memory_mb < 1:
        found.append("memory_mb has to be 1 or more")
    if not _version(manifest.app_min):
        found.append("app_min has to be numbers with dots between")
    if not manifest.files:
        found.append("it has no files")
    if not manifest.boards or not manifest.languages:
        found.append("boards and languages name one each at the least")
    paths = [file.path for file in manifest.files]
    found += bundle_trial.mistakes(manifest.kind, manifest.trial, paths)
    found += _kind_mistakes(manifest, paths)
    if len(set(paths)) != len(paths):
        found.append("a path appears twice")
    for file in manifest.files:
        found += _file_mistakes(file)
    return found


def _kind_mistakes(manifest: Manifest, paths: Sequence[str]) -> list[str]:
    """What the files of a kind that is laid over have to be called, so that a configuration alone finds them."""
    found: list[str] = []
    if bool(manifest.base_sha256) != (manifest.kind == "adapter"):
        found.append("an adapter, and nothing else, has base_sha256: the file of the model it was made for")
    if manifest.base_sha256 and not _SHA256.fullmatch(manifest.base_sha256):
        found.append("base_sha256 has to be 64 lower-case hexadecimal digits")
    missing = (wanted for wanted in _own_files(manifest) if wanted not in paths)
    found += [f"a bundle of kind {manifest.kind} has the file {wanted}" for wanted in missing]
    if manifest.kind == "intents" and any(file.size > MOST_SENTENCES_BYTES for file in manifest.files):
        found.append(f"sentences have {MOST_SENTENCES_BYTES} bytes at most")
    return found


def _own_files(manifest: Manifest) -> tuple[str, ...]:
    match manifest.kind:
        case "adapter":
            return (ADAPTER,)
        case "wake":
            return (f"{manifest.id}.tflite", f"{manifest.id}.json")
        case "intents":
            return (SENTENCES,)
    return ()


def wake_model(name: str) -> str:
    """The model's file in the bundle of a wake word, which goes by the bundle's id: `hey-house.tflite`."""
    return f"{name.rpartition('-v')[0]}.tflite"


def _file_mistakes(file: BundleFile) -> list[str]:
    found: list[str] = []
    parts = PurePosixPath(file.path).parts
    plain = file.path and not file.path.startswith("/") and "\\" not in file.path and "\0" not in file.path
    if not plain or any(part.startswith(".") for part in parts) or file.path == MANIFEST:
        found.append(f"the path {file.path[:80]!r} does not lie inside the bundle")
    sizes = [file.size, *(delta.size for delta in file.deltas)]
    if any(size < 1 for size in sizes):
        found.append(f"{file.path[:80]} needs sizes above 0")
    sums = [file.sha256, *(text for delta in file.deltas for text in (delta.base, delta.sha256))]
    if not all(_SHA256.fullmatch(text) for text in sums):
        found.append(f"{file.path[:80]} needs sha256 as 64 lower-case hexadecimal digits")
    return found


def unfit(manifest: Manifest, *, board: str, app: str, budget_mb: int | None = None) -> str:
    """Why this board cannot use the bundle, as a sentence; "" where it can.

    `board` is the profile's name, `app` this PersLM's version, `budget_mb` what the model may take in memory.
    """
    if _version(app) < _version(manifest.app_min):
        return f"{manifest.name} needs PersLM {manifest.app_min} and this is {app}: update PersLM first"
    if board not in manifest.boards and board != "dev":
        return f"{manifest.name} is for {', '.join(manifest.boards)}, and this board is {board}"
    if budget_mb is not None and manifest.memory_mb > budget_mb:
        return f"{manifest.name} takes {manifest.memory_mb} MB of memory and {budget_mb} MB are left for it"
    return ""


def model_of(manifest: Manifest) -> Model:
    """The bundle as an entry of the catalogue of this board."""
    files = tuple(File(file.path, file.size, file.sha256) for file in manifest.files)
    return Model(
        id=manifest.name,
        kind=manifest.kind,
        what=manifest.what,
        licence=manifest.licence,
        languages=manifest.languages,
        memory_mb=manifest.memory_mb,
        boards=manifest.boards,
        files=files,
        raw=files,
        convert=None,
        sources=(Signed(manifest.id, manifest.version),),
    )


def _version(text: str) -> tuple[int, ...]:
    """(1, 2, 3) of "1.2.3"; () for what is no version."""
    numbers = text.partition("+")[0].split(".")
    return tuple(int(number) for number in numbers) if all(number.isdecimal() for number in numbers) else ()
