"""Deltas: the child comes out to the byte, and nothing comes out of a wrong base or a broken delta."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Small
from perslm_runtime import delta as deltas
from perslm_runtime.errors import InputError
from perslm_training_host import ggml_blocks as blocks
from perslm_training_host import gguf_file, gguf_model
from perslm_training_host.delta import make


def child_of(base: Path, target: Path, *, share: float, scales: bool = False, seed: int = 0) -> Path:
    """A child in which `share` of the codes moved, and where asked some scales and one norm."""
    file = gguf_file.read(base)
    draw = np.random.default_rng(seed)
    changes = {}
    for name in gguf_model.matrices(file)[::2]:
        scale, codes = blocks.unpack(file.raw(name))
        moved = draw.random(codes.shape) < share
        codes = np.where(moved, (codes + draw.integers(1, 16, codes.shape)) & 15, codes).astype(np.uint8)
        if scales:
            scale = np.where(draw.random(scale.shape) < 0.1, scale * np.float16(1.1), scale).astype(np.float16)
        changes[name] = gguf_file.Replacement(file.tensors[name].type, blocks.pack(scale, codes))
    if scales:
        norm = file.raw("output_norm.weight").copy()
        norm[:4] = np.array([1.25], dtype=np.float32).view(np.uint8)
        changes["output_norm.weight"] = gguf_file.Replacement("F32", norm)
    gguf_file.write_child(file, target, changes)
    return target


@pytest.mark.parametrize("kind", ["Q4_0", "IQ4_NL"])
@pytest.mark.parametrize("scales", [False, True])
def test_the_child_comes_out_to_the_byte(small: Small, tmp_path: Path, kind: str, *, scales: bool) -> None:
    base = small.quantized(kind)
    child = child_of(base, tmp_path / "child.gguf", share=0.002, scales=scales)
    made = make(base, child, tmp_path / "d")
    assert not made.whole_file
    assert made.delta_bytes == (tmp_path / "d").stat().st_size < made.child_bytes * 0.05
    assert (made.changed_scales > 0) is scales
    applied = deltas.apply(base, tmp_path / "d", tmp_path / "out.gguf")
    assert (tmp_path / "out.gguf").read_bytes() == child.read_bytes()
    assert applied.sha256 == deltas.sha256_of(child)


def test_equal_files_make_a_delta_that_changes_nothing(small: Small, tmp_path: Path) -> None:
    base = small.quantized("Q4_0")
    assert make(base, base, tmp_path / "d").changed_codes == 0
    deltas.apply(base, tmp_path / "d", tmp_path / "out.gguf")
    assert (tmp_path / "out.gguf").read_bytes() == base.read_bytes()


@settings(max_examples=40, deadline=None)
@given(
    codes=st.lists(st.integers(0, 15), min_size=64, max_size=64),
    moves=st.dictionaries(st.integers(0, 63), st.integers(1, 15), max_size=20),
)
def test_moving_codes_moves_those_and_no_others(codes: list[int], moves: dict[int, int]) -> None:
    before = np.array(codes, dtype=np.uint8).reshape(2, 32)
    packed = blocks.pack(np.zeros(2, dtype=np.float16), before).reshape(2, 18).copy()
    where = np.array(sorted(moves), dtype=np.int64)
    deltas.move_codes(packed[:, 2:], where, np.array([moves[int(at)] for at in where], dtype=np.uint8))
    expected = before.reshape(-1).copy()
    for at, step in moves.items():
        expected[at] = (expected[at] + step) % 16
    assert np.array_equal(blocks.unpack(packed.reshape(-1))[1].reshape(-1), expected)


def test_a_child_with_other_tensors_and_one_that_differs_too_much_are_sent_whole(
    small: Small, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="send it whole"):
        make(small.parent, small.quantized("Q4_0"), tmp_path / "d")
    base = small.quantized("Q4_0")
    child = child_of(base, tmp_path / "child.gguf", share=1.0, scales=True)
    made = make(base, child, tmp_path / "d")
    assert made.whole_file
    assert not (tmp_path / "d").exists()


def test_nothing_is_written_onto_another_base(small: Small, tmp_path: Path) -> None:
    base = small.quantized("Q4_0")
    make(base, child_of(base, tmp_path / "child.gguf", share=0.01), tmp_path / "d")
    other = child_of(base, tmp_path / "other.gguf", share=0.01, seed=9)
    with pytest.raises(deltas.DeltaRefused, match="not the file this delta was made for"):
        deltas.apply(other, tmp_path / "d", tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()
    assert not (tmp_path / "out.gguf.part").exists()


def test_a_broken_delta_ends_in_a_named_error_and_leaves_nothing(small: Small, tmp_path: Path) -> None:
    base = small.quantized("Q4_0")
    make(base, child_of(base, tmp_path / "child.gguf", share=0.01, scales=True), tmp_path / "d")
    whole = (tmp_path / "d").read_bytes()
    draw = np.random.default_rng(0)
    spoilt = [whole[:cut] for cut in (0, 7, 11, 100, len(whole) // 2, len(whole) - 1)]
    for at in draw.integers(0, len(whole), size=60):
        raw = bytearray(whole)
        raw[at] ^= 1 + draw.integers(255)
        spoilt.append(bytes(raw))
    for raw in spoilt:
        (tmp_path / "bad").write_bytes(raw)
        with pytest.raises(deltas.DeltaRefused):
            deltas.apply(base, tmp_path / "bad", tmp_path / "out.gguf")
        assert not (tmp_path / "out.gguf").exists()
        assert not (tmp_path / "out.gguf.part").exists()


def test_a_full_disk_is_told_and_leaves_nothing(small: Small, tmp_path: Path) -> None:
    base = small.quantized("Q4_0")
    make(base, child_of(base, tmp_path / "child.gguf", share=0.01), tmp_path / "d")
    (tmp_path / "out.gguf.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match="No space left"):
        deltas.apply(base, tmp_path / "d", tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf.part").is_symlink()
