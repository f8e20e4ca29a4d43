"""Our 4-bit blocks against llama.cpp's own bytes, and the importance matrix that goes into both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Small
from perslm_runtime.errors import InputError
from perslm_training_host import ggml_blocks as blocks
from perslm_training_host import gguf_file, gguf_model, imatrix
from perslm_training_host.llama_quantize import llama_quantize


def importances(file: gguf_file.GgufFile) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(1)
    return {
        name: draw.gamma(1.0, 1.0, file.tensors[name].shape[1]).astype(np.float32)
        for name in gguf_model.matrices(file)
    }


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["Q4_0", "IQ4_NL"])
def test_4_bit_blocks_are_written_as_llama_cpp_writes_them(
    small: Small, tmp_path: Path, kind: str, *, weighted: bool
) -> None:
    parent = gguf_file.read(small.parent)
    importance = importances(parent) if weighted else None
    llama_quantize(small.parent, tmp_path / "theirs.gguf", kind, importance=importance, pure=True)
    theirs = gguf_file.read(tmp_path / "theirs.gguf")
    for name in gguf_model.matrices(parent):
        rows = parent.values(name)
        if kind == "IQ4_NL":
            ours = blocks.quantize_iq4_nl(rows, importance[name] if importance else None)
        elif importance:
            ours = blocks.quantize_q4_0_weighted(rows, importance[name])
        else:
            ours = blocks.quantize_q4_0(rows.reshape(-1, blocks.BLOCK))
        assert np.array_equal(blocks.pack(*ours), theirs.raw(name)), name


def test_q8_0_is_written_and_read_as_llama_cpp_does(small: Small) -> None:
    parent, theirs = gguf_file.read(small.parent), gguf_file.read(small.quantized("Q8_0"))
    name = "blk.0.ffn_down.weight"
    raw = blocks.quantize_q8_0(parent.values(name).reshape(-1, blocks.BLOCK))
    assert np.array_equal(raw, theirs.raw(name))
    expected = dequantize(raw, GGMLQuantizationType.Q8_0)
    assert np.array_equal(blocks.values_of_q8_0(raw).reshape(-1), expected.reshape(-1))


@pytest.mark.parametrize("kind", ["Q4_0", "IQ4_NL"])
@settings(max_examples=30, deadline=None)
@given(raw=st.binary(min_size=36, max_size=36))
def test_any_bytes_mean_what_gguf_says_they_mean_and_are_packed_back_to_themselves(kind: str, raw: bytes) -> None:
    found = np.frombuffer(raw, dtype=np.uint8)
    scales, codes = blocks.unpack(found)
    with np.errstate(invalid="ignore", over="ignore"):
        ours = blocks.values_of(blocks.GRIDS[kind], scales, codes)
        theirs = dequantize(found, GGMLQuantizationType[kind])
    assert np.array_equal(ours.reshape(-1), theirs.reshape(-1), equal_nan=True)
    assert blocks.pack(scales, codes).tobytes() == raw


@pytest.mark.parametrize("kind", ["Q4_0", "IQ4_NL"])
def test_weights_on_the_grid_keep_their_codes(kind: str) -> None:
    draw = np.random.default_rng(3)
    scales = draw.normal(0, 0.1, 500).astype(np.float16)
    codes = draw.integers(0, 16, (500, 32)).astype(np.uint8)
    grid = blocks.GRIDS[kind]
    assert np.array_equal(blocks.nearest_codes(grid, scales, blocks.values_of(grid, scales, codes)), codes)


@pytest.mark.parametrize("kind", ["Q4_0", "IQ4_NL"])
def test_a_block_of_zeros_stays_zeros(kind: str) -> None:
    zeros = np.zeros((2, 64), dtype=np.float32)
    even = np.ones(64, dtype=np.float32)
    both = (
        (blocks.quantize_iq4_nl(zeros, even),)
        if kind == "IQ4_NL"
        else (blocks.quantize_q4_0_weighted(zeros, even),)
    )
    for scales, codes in both:
        assert not blocks.values_of(blocks.GRIDS[kind], scales, codes).any()


def test_importances_are_the_mean_squares_of_what_goes_into_a_matrix(small: Small) -> None:
    file = gguf_file.read(small.parent)
    model = gguf_model.load(file)
    pieces = [list(range(5, 37)), list(range(40, 72))]
    found = imatrix.measure(model, file, pieces)
    with torch.no_grad():
        into = [model.model.layers[0].input_layernorm(model.model.embed_tokens(torch.tensor([p]))) for p in pieces]
    expected = torch.cat(into).square().mean(dim=(0, 1)).numpy()
    assert np.allclose(found["blk.0.attn_q.weight"], expected, rtol=1e-5)
    assert found.keys() == set(gguf_model.matrices(file))


def test_importances_come_back_from_disk_and_a_broken_file_is_told(tmp_path: Path) -> None:
    kept = {"blk.0.attn_q.weight": np.arange(4, dtype=np.float32)}
    imatrix.save(kept, tmp_path / "i.npz")
    assert np.array_equal(imatrix.load(tmp_path / "i.npz")["blk.0.attn_q.weight"], kept["blk.0.attn_q.weight"])
    (tmp_path / "i.npz").write_bytes((tmp_path / "i.npz").read_bytes()[:40])
    with pytest.raises(InputError, match="holds no importances"):
        imatrix.load(tmp_path / "i.npz")
    imatrix.save({"a": np.array([np.nan], dtype=np.float32)}, tmp_path / "n.npz")
    with pytest.raises(InputError, match="not finite"):
        imatrix.load(tmp_path / "n.npz")
