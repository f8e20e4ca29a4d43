"""A host's files that come over MQTT in chunks: in any order, twice, after a break; believed by signature."""

from __future__ import annotations

import base64
import hashlib
import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_daemon.update_mailbox import LONGEST_CHUNK, Mailbox
from perslm_daemon.update_send import Parcel, parcels
from perslm_runtime.bundle import BundleFile, Delta, channel_path, read_channel, read_manifest
from perslm_runtime.bundles import Bringing, bring, look_up
from perslm_runtime.errors import BundleRefused, CatalogError, InputError
from perslm_runtime.trust import Trust
from perslm_training_host.repository import Repository
from updates import bundle, repository

ROOM = 10_000_000


def chunk(mailbox: Mailbox, path: str, whole: bytes, start: int, end: int) -> dict[str, Any]:
    piece = base64.b64encode(whole[start:end]).decode()
    return mailbox.put(path, hashlib.sha256(whole).hexdigest(), len(whole), start, piece)


def sent(mailbox: Mailbox, parcel: Parcel) -> None:
    """As a sender does: ask what is missing, and send that."""
    whole = parcel.file.read_bytes()
    told = chunk(mailbox, parcel.path, whole, 0, 0)
    while not told["complete"]:
        start, end = told["missing"][0]
        told = chunk(mailbox, parcel.path, whole, start, min(end, start + LONGEST_CHUNK))


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.randoms(use_true_random=False))
def test_chunks_in_any_order_and_twice_make_the_file(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, chance: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("box")
    places = [(at, min(len(whole), at + 7)) for at in range(0, len(whole), 5)] * 2
    chance.shuffle(places)
    for number, (start, end) in enumerate(places):
        mailbox = Mailbox(folder, ROOM)  # as after a restart between any two
        told = chunk(mailbox, "targets/files/a", whole, start, end)
        if told["complete"]:
            assert (folder / "targets/files/a").read_bytes() == whole
            break
        assert number < len(places) - 1
    shutil.rmtree(folder)


def test_what_came_wrong_is_not_kept_and_what_is_here_is_not_asked_for_again(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path, ROOM)
    right, wrong = b"right bytes", b"wrong bytes"
    told = hashlib.sha256(right).hexdigest()
    with pytest.raises(InputError, match="is not what was announced"):
        mailbox.put("metadata/timestamp.json", told, len(right), 0, base64.b64encode(wrong).decode())
    assert not (tmp_path / "metadata/timestamp.json").exists()
    assert chunk(mailbox, "metadata/timestamp.json", right, 0, len(right))["complete"]
    assert chunk(mailbox, "metadata/timestamp.json", right, 0, 0)["complete"]
    newer = b"newer bytes, under the same name"
    assert chunk(mailbox, "metadata/timestamp.json", newer, 5, len(newer))["missing"] == [[0, 5]]
    assert (tmp_path / "metadata/timestamp.json").read_bytes() == right, (
        "the old one serves until the new one is whole"
    )
    chunk(mailbox, "metadata/timestamp.json", newer, 0, 5)
    assert (tmp_path / "metadata/timestamp.json").read_bytes() == newer


@pytest.mark.parametrize(
    "path",
    ["../etc/passwd", "/etc/passwd", "metadata", "metadata/../x", "targets/.hidden", "other/x", "targets//x", ""],
)
def test_no_chunk_leaves_the_mailbox(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputError, match="is none of a repository"):
        chunk(Mailbox(tmp_path / "box", ROOM), path, b"x", 0, 1)
    assert list(tmp_path.iterdir()) == []


def test_no_more_is_taken_than_there_is_room_for(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path, 100)
    chunk(mailbox, "targets/files/a", b"a" * 60, 0, 10)
    with pytest.raises(CatalogError, match="over_mqtt_mb"):
        chunk(mailbox, "targets/files/b", b"b" * 60, 0, 10)
    for at, data, wrong in ((-1, "eA==", "within size"), (60, "eA==", "within size"), (0, "x", "base64")):
        with pytest.raises(InputError, match=wrong):
            mailbox.put("targets/files/a", "a" * 64, 60, at, data)


def put_in(base: Path, difference: Path, target: Path) -> None:
    """A difference of the simplest kind; the real one is applied in flows/test_updates.py."""
    new = difference.read_bytes()
    old = base.read_bytes()
    target.write_bytes(old[:200_000] + new + old[200_000 + len(new) :])


@pytest.fixture
def with_a_delta(tmp_path: Path) -> Repository:
    """A host whose second version is a difference to the first one's file, which the board has."""
    chance = random.Random(1)  # noqa: S311 - bytes, no secrets
    first = chance.randbytes(400_000)
    second = first[:200_000] + b"changed" + first[200_007:]
    for name, content in (("first", first), ("second", second)):
        (tmp_path / name).write_bytes(content)
    difference = second[200_000:200_007]
    folder = bundle(tmp_path, 2, second)
    delta = Delta(hashlib.sha256(first).hexdigest(), len(difference), hashlib.sha256(difference).hexdigest())
    manifest = read_manifest((folder / "bundle.json").read_bytes())
    file = msgspec.structs.replace(manifest.files[0], deltas=(delta,))
    assert isinstance(file, BundleFile)
    (folder / "bundle.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, files=(file,))))
    (folder / "deltas").mkdir()
    (folder / "deltas" / delta.sha256).write_bytes(difference)
    repo = repository(tmp_path / "host")
    repo.publish(folder)
    repo.promote("home", 2, "stable")
    return repo


def test_a_difference_that_came_in_chunks_becomes_the_model_and_a_forged_one_does_not(
    with_a_delta: Repository, tmp_path: Path
) -> None:
    repo, box = with_a_delta, tmp_path / "box"
    mailbox = Mailbox(box, ROOM)
    found = parcels(repo.folder, "stable", whole=False)
    assert sum(one.size for one in found) < 50_000, "the file itself, of 400 KB, is not sent"
    assert found[-1].path == "metadata/timestamp.json"
    for parcel in found:
        sent(mailbox, parcel)
    first = tmp_path / "first"
    how = Bringing(apply=put_in, known={hashlib.sha256(first.read_bytes()).hexdigest(): first}, reserve_bytes=0)

    def followed(name: str) -> tuple[Trust, Path]:
        trust = Trust(
            tmp_path / name, repo.anchor.read_bytes(), [box.as_uri()], now=lambda: repo._now().timestamp()
        )
        return trust, tmp_path / f"models-{name}"

    trust, models = followed("board")
    trust.refresh()
    ((bundle_id, version),) = read_channel(trust.read(channel_path("stable"))).for_board("kitchen")
    manifest = look_up(trust, bundle_id, version)
    home = bring(trust, manifest, models, how)
    assert (home / "model.gguf").read_bytes() == (tmp_path / "second").read_bytes()

    (delta,) = (one for one in found if one.path.startswith("targets/files/"))
    forged = delta.file.read_bytes()[:-1] + b"?"
    chunk(mailbox, delta.path, forged, 0, len(forged))
    trust, models = followed("another")
    trust.refresh()
    with pytest.raises(BundleRefused, match="is not the file that was signed"):
        bring(trust, manifest, models, how)
    mailbox.clear()
    assert not list(box.glob("targets/files/*"))
    for parcel in parcels(repo.folder, "stable", whole=True):
        sent(mailbox, parcel)
    bring(trust, manifest, tmp_path / "models-whole", Bringing(reserve_bytes=0))


def test_a_mailbox_with_nothing_in_it_is_a_mirror_that_is_empty(tmp_path: Path) -> None:
    repo = repository(tmp_path / "host")
    looked = partial(Trust, tmp_path / "trust", repo.anchor.read_bytes(), now=lambda: repo._now().timestamp())
    with pytest.raises(CatalogError, match=r"timestamp\.json is not there"):
        looked([(tmp_path / "box").as_uri()]).refresh()
    with pytest.raises(InputError, match="is no repository"):
        parcels(tmp_path, "stable", whole=False)
