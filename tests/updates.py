"""A training host's repository on the loopback, and small bundles for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loopback_http import Site, serving
from perslm_runtime.bundle import MANIFEST, BundleFile, Manifest, write_manifest
from perslm_runtime.bundle_trial import Trial
from perslm_runtime.trust import Trust
from perslm_training_host.repository import Repository
from perslm_training_host.signing_keys import SigningKeys

NOW_S = 1_800_000_000.0


def bundle(
    folder: Path, version: int = 1, content: bytes = b"GGUF", file: str = "model.gguf", **changes: object
) -> Path:
    """A bundle's folder: manifest, and one `file` with `content`."""
    folder = folder / f"bundle-{version}-{hashlib.sha256(content).hexdigest()[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(content)
    listed = BundleFile(file, len(content), hashlib.sha256(content).hexdigest())
    given: dict[str, object] = {"trial": Trial(), **changes}
    manifest = Manifest(
        id="home",
        version=version,
        kind="llm",
        what="a model for tests",
        licence="Apache-2.0",
        files=(listed,),
        memory_mb=200,
    )
    (folder / MANIFEST).write_bytes(write_manifest(msgspec.structs.replace(manifest, **given)))
    return folder


def repository(folder: Path) -> Repository:
    """A new repository with its keys beside it."""
    return Repository.create(folder / "repository", SigningKeys([folder / "keys"]))


def pages(folder: Path) -> dict[str, bytes]:
    """A repository's files as a web server gives them."""
    return {f"/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def served(repo: Repository) -> Iterator[Site]:
    """The repository as it is now; `site.pages = pages(repo.folder)` shows what came later."""
    with serving(pages(repo.folder)) as site:
        site.version = None  # a plain static server; etags are the downloads' own tests
        yield site


def board(folder: Path, repo: Repository, *mirrors: Site, now_s: float | None = None) -> Trust:
    """A board that knows the repository's first root."""
    now = repo._now().timestamp() if now_s is None else now_s
    return Trust(
        folder, repo.anchor.read_bytes(), [site.address for site in mirrors], now=lambda: now, timeout_s=5
    )


def derived(gguf: Path, change: Callable[[bytearray], None]) -> bytes:
    """Another model's bytes, made of the small one's."""
    data = bytearray(gguf.read_bytes())
    change(data)
    return bytes(data)


def renamed(data: bytearray) -> None:
    """Other bytes, the same weights."""
    at = data.index(b"Smollm2", data.index(b"general.name"))
    data[at : at + 7] = b"PersLM2"


def emptied(data: bytearray) -> None:
    """It loads, and what it says is nonsense."""
    half = len(data) // 2
    data[half : half + (16 << 20)] = bytes(16 << 20)


def touched(data: bytearray) -> None:
    """A few codes of the last blocks, which is what teaching changes: the model says the same."""
    for at in range(len(data) - 2000, len(data) - 1000, 100):
        data[at] ^= 1


def longer(data: bytearray) -> None:
    """Other bytes again: what lies behind the tensors is never read."""
    data.append(0)
