"""The prompt head's saved state: verified or not used."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime.snapshot import load_snapshot, model_identity, save_snapshot, snapshot_key

STATE = bytes(range(256)) * 8


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    assert save_snapshot(tmp_path / "deep" / "er", "key", STATE)
    loaded = load_snapshot(tmp_path / "deep" / "er", "key")
    assert loaded is not None
    assert bytes(loaded) == STATE
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["key.kv"]


def test_a_missing_snapshot_is_none(tmp_path: Path) -> None:
    assert load_snapshot(tmp_path, "key") is None


@settings(max_examples=40, deadline=None, database=None)
@given(st.integers(0, len(STATE) + 40), st.integers(1, 255))
def test_any_changed_byte_is_noticed_and_the_file_removed(tmp_path_factory: object, where: int, flip: int) -> None:
    folder = tmp_path_factory.mktemp("snap")  # type: ignore[attr-defined]  # pytest gives a factory of paths
    save_snapshot(folder, "key", STATE)
    path = folder / "key.kv"
    raw = bytearray(path.read_bytes())
    raw[where] ^= flip
    path.write_bytes(raw)
    assert load_snapshot(folder, "key") is None
    assert not path.exists()


@settings(max_examples=20, deadline=None, database=None)
@given(st.integers(0, len(STATE) + 43))
def test_a_torn_file_is_not_used(tmp_path_factory: object, length: int) -> None:
    folder = tmp_path_factory.mktemp("snap")  # type: ignore[attr-defined]  # pytest gives a factory of paths
    save_snapshot(folder, "key", STATE)
    path = folder / "key.kv"
    path.write_bytes(path.read_bytes()[:length])
    assert load_snapshot(folder, "key") is None


def test_a_snapshot_under_another_name_is_not_used(tmp_path: Path) -> None:
    save_snapshot(tmp_path, "key", STATE)
    (tmp_path / "key.kv").rename(tmp_path / "other.kv")
    assert load_snapshot(tmp_path, "other") is None


def test_a_folder_that_cannot_be_made_is_no_disaster(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert save_snapshot(tmp_path / "file" / "folder", "key", STATE) is False


def test_only_the_newest_six_are_kept(tmp_path: Path) -> None:
    for number in range(8):
        save_snapshot(tmp_path, f"key{number}", STATE)
        os.utime(tmp_path / f"key{number}.kv", ns=(number * 10**9, number * 10**9))
    save_snapshot(tmp_path, "newest", STATE)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["key3.kv", "key4.kv", "key5.kv", "key6.kv", "key7.kv", "newest.kv"]


def test_the_key_changes_with_everything_it_depends_on(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF" + bytes(200_000))
    one = model_identity(model)
    base = snapshot_key(one, "1.0", "2048 q8_0", [1, 2])
    os.utime(model, ns=(1, 1))
    others = {
        snapshot_key(model_identity(model), "1.0", "2048 q8_0", [1, 2]),
        snapshot_key(one, "1.1", "2048 q8_0", [1, 2]),
        snapshot_key(one, "1.0", "2048 f16", [1, 2]),
        snapshot_key(one, "1.0", "2048 q8_0", [1, 3]),
        snapshot_key(one, "1.0", "2048 q8_0", [12]),
    }
    assert len(others | {base}) == 6
