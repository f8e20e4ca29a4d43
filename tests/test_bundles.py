"""A bundle on its way to the disk: whole or not there, whatever happens meanwhile."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import fill_up, small_disk
from loopback_http import Site
from perslm_runtime.bundle import MANIFEST, BundleFile, Delta, Manifest, write_manifest
from perslm_runtime.bundles import Bringing, bring, forget_partial, installed, look_up, remove, with_bundles
from perslm_runtime.catalog import Store
from perslm_runtime.catalog_file import load_catalog
from perslm_runtime.errors import BundleRefused, Cancelled, CatalogError
from perslm_runtime.fetch import Patience, Progress
from perslm_runtime.lane import Stop
from perslm_runtime.trust import Trust
from perslm_training_host.repository import Repository
from updates import board, bundle, pages, repository, served

ROUNDS = int(os.environ.get("PERSLM_STRESS_ROUNDS", "10"))
CHILD = Path(__file__).with_name("bring_child.py")
HOW = Bringing(patience=Patience(timeout_s=5, tries=2, backoff_s=0.01), reserve_bytes=0)
CONTENT = bytes(range(256)) * 4096 * 4  # 4 MB


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    made = repository(tmp_path / "host")
    made.publish(bundle(tmp_path, 1, CONTENT))
    return made


@pytest.fixture
def site(repo: Repository) -> Iterator[Site]:
    with served(repo) as found:
        yield found


@pytest.fixture
def trust(repo: Repository, site: Site, tmp_path: Path) -> Trust:
    found = board(tmp_path / "board", repo, site)
    found.refresh()
    return found


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_a_bundle_becomes_a_model_like_any_other(trust: Trust, models: Path) -> None:
    told: list[Progress] = []
    manifest = look_up(trust, "home", 1)
    how = Bringing(report=told.append, reserve_bytes=0)
    folder = bring(trust, manifest, models, how)
    store = Store(models, with_bundles(load_catalog(), models))
    assert store.file("home-v1").read_bytes() == CONTENT
    assert store.verify("home-v1") == []
    assert store.info("home-v1").verified
    assert told[-1] == Progress("home-v1", len(CONTENT), len(CONTENT))
    assert [one.name for one in installed(models)] == ["home-v1"]
    assert not (models / ".partial" / "home-v1").exists()
    remove(models, "home-v1")
    assert (folder.exists(), installed(models)) == (False, [])


def test_what_has_arrived_is_not_fetched_again(trust: Trust, site: Site, models: Path) -> None:
    site.version = '"one"'
    manifest = look_up(trust, "home", 1)
    site.requests.clear()
    site.cuts = [1_000_000, None]
    bring(trust, manifest, models, HOW)
    assert [asked for path, asked in site.requests if "files" in path] == [None, "bytes=1000000-"]


def test_a_file_that_another_version_has_is_copied(
    trust: Trust, repo: Repository, site: Site, models: Path, tmp_path: Path
) -> None:
    bring(trust, look_up(trust, "home", 1), models, HOW)
    repo.publish(bundle(tmp_path, 2, CONTENT, what="the same weights, another trial"))
    site.pages = pages(repo.folder)
    newer = board(tmp_path / "board", repo, site)
    newer.refresh()
    site.requests.clear()
    bring(newer, look_up(newer, "home", 2), models, HOW)
    assert not any("/files/" in path for path, _ in site.requests)
    assert (models / "home-v2/model.gguf").read_bytes() == CONTENT


def by_xor(base: Path, difference: Path, target: Path) -> None:
    """A difference for this test: the bytes that change, xor."""
    old, change = base.read_bytes(), difference.read_bytes()
    target.write_bytes(bytes(a ^ b for a, b in zip(old, change.ljust(len(old), b"\0"), strict=True)))


@pytest.mark.parametrize("wrong", [False, True])
def test_a_difference_is_enough_and_is_held_to_the_signed_file(
    trust: Trust, repo: Repository, site: Site, models: Path, tmp_path: Path, wrong: bool
) -> None:
    import hashlib

    bring(trust, look_up(trust, "home", 1), models, HOW)
    change = b"\x01" * 100
    newer = bytes(a ^ 1 for a in CONTENT[:100]) + CONTENT[100:]
    folder = bundle(tmp_path, 2, newer)
    (folder / "deltas").mkdir()
    shown = b"\x02" * 100 if wrong else change
    name = hashlib.sha256(shown).hexdigest()
    (folder / "deltas" / name).write_bytes(shown)
    delta = Delta(hashlib.sha256(CONTENT).hexdigest(), 100, name)
    file = BundleFile("model.gguf", len(newer), hashlib.sha256(newer).hexdigest(), (delta,))
    manifest = Manifest("home", 2, "llm", "a model", "Apache-2.0", (file,), 200)
    (folder / MANIFEST).write_bytes(write_manifest(manifest))
    repo.publish(folder)
    site.pages = pages(repo.folder)
    trust = board(tmp_path / "board", repo, site)
    trust.refresh()
    before = site.sent_bytes
    how = Bringing(patience=HOW.patience, reserve_bytes=0, apply=by_xor)
    if wrong:
        with pytest.raises(BundleRefused, match="not the file that was signed"):
            bring(trust, look_up(trust, "home", 2), models, how)
        assert not (models / "home-v2").exists()
        return
    bring(trust, look_up(trust, "home", 2), models, how)
    assert (models / "home-v2/model.gguf").read_bytes() == newer
    assert site.sent_bytes - before < 10_000


def test_a_stop_ends_it_and_the_rate_is_held(trust: Trust, models: Path) -> None:
    stop = Stop()
    manifest = look_up(trust, "home", 1)
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        bring(trust, manifest, models, Bringing(stop=stop, bytes_per_s=1_000_000, reserve_bytes=0))
    assert time.monotonic() - began < 3
    assert (models / ".partial/home-v1/files/model.gguf").stat().st_size < 3_000_000
    forget_partial(models, ["home-v1"])
    assert (models / ".partial/home-v1").exists()
    forget_partial(models, [])
    assert not (models / ".partial/home-v1").exists()


def test_a_disk_with_too_little_room_is_told_before_anything_is_fetched(
    trust: Trust, site: Site, models: Path
) -> None:
    manifest = look_up(trust, "home", 1)
    site.requests.clear()
    with pytest.raises(CatalogError, match="free some space"):
        bring(trust, manifest, models, Bringing(reserve_bytes=1 << 60))
    assert site.requests == []


def test_a_disk_that_becomes_full_on_the_way_is_told_and_what_has_arrived_is_used_when_there_is_room(
    trust: Trust, site: Site, tmp_path: Path
) -> None:
    how = Bringing(patience=HOW.patience, reserve_bytes=-len(CONTENT))  # others fill it only after the look
    with small_disk(tmp_path / "disk", "6m") as models:
        fill_up(models / "ballast", 2 << 20)
        with pytest.raises(CatalogError, match=r"became full while home-v1 arrived: free some space"):
            bring(trust, look_up(trust, "home", 1), models, how)
        assert installed(models) == []
        (models / "ballast").unlink()
        site.requests.clear()
        bring(trust, look_up(trust, "home", 1), models, how)
        (asked,) = [asked for path, asked in site.requests if "/files/" in path]
        assert asked is not None, "from the byte on that found no room"
        assert (models / "home-v1/model.gguf").read_bytes() == CONTENT


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_kill_9_at_any_moment_leaves_a_whole_bundle_or_none(
    repo: Repository, site: Site, models: Path, tmp_path: Path
) -> None:
    site.version, site.chunk_bytes, site.pause_s = '"one"', 1 << 18, 0.005  # ~80 ms, so that kills fall into it
    chance = random.Random(1)  # noqa: S311 - the same moments every time
    finished = 0
    for _ in range(ROUNDS):
        with subprocess.Popen(
            [sys.executable, CHILD, tmp_path, repo.anchor, site.address, "1"], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "begun\n"
            try:
                child.wait(chance.uniform(0, 0.35))
            except subprocess.TimeoutExpired:
                child.kill()
        for manifest in installed(models):
            assert (models / manifest.name / "model.gguf").read_bytes() == CONTENT
            finished += 1
            remove(models, manifest.name)
    trust = board(tmp_path / "trust", repo, site)  # what was left of the metadata can be used, too
    trust.refresh()
    bring(trust, look_up(trust, "home", 1), models, HOW)
    assert (models / "home-v1/model.gguf").read_bytes() == CONTENT
