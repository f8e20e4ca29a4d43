"""GGUF files: read, transplanted, and refused where they are broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Small
from perslm_runtime.errors import InputError
from perslm_training_host import gguf_file, gguf_model, llama_scores
from perslm_training_host.gguf_file import BrokenGguf, Replacement, write_child


def test_a_child_without_changes_is_its_base_byte_for_byte(small: Small, tmp_path: Path) -> None:
    for path in (small.parent, small.quantized("Q4_0")):
        write_child(gguf_file.read(path), tmp_path / "child.gguf", {})
        assert (tmp_path / "child.gguf").read_bytes() == path.read_bytes()


def test_a_child_in_another_kind_keeps_every_key_and_computes_the_same(small: Small, tmp_path: Path) -> None:
    parent = gguf_file.read(small.parent)
    changes = {
        name: Replacement("F16", parent.values(name).astype(np.float16).view(np.uint8).reshape(-1))
        for name in gguf_model.matrices(parent)
    }
    write_child(parent, tmp_path / "child.gguf", changes, file_type=1)
    child = gguf_file.read(tmp_path / "child.gguf")
    assert dict(child.metadata) == {**parent.metadata, "general.file_type": 1}
    head = (tmp_path / "child.gguf").read_bytes()[: child.keys_end]
    before = small.parent.read_bytes()[: parent.keys_end]
    assert (
        sum(a != b for a, b in zip(head, before, strict=True)) == 1
    )  # the file type, and nothing of the tokenizer
    tokens = small.tokens(small.held_out)[:512]
    child_file = tmp_path / "child.gguf"
    with llama_scores.Scorer(small.parent, threads=1) as one, llama_scores.Scorer(child_file, threads=1) as other:
        _, found = llama_scores.compare(one, [other], tokens)
    assert found.kl.mean() < 1e-5


def test_torch_computes_what_llama_cpp_computes(small: Small) -> None:
    """The order of query and key rows, the rotary base and the norms are all wrong or all right."""
    model = gguf_model.load(gguf_file.read(small.parent))
    tokens = small.tokens(small.held_out)[:256]
    with torch.no_grad():
        ours = torch.log_softmax(model(input_ids=torch.tensor([tokens])).logits[0], dim=-1).numpy()
    with llama_scores.Scorer(small.parent, threads=1) as scorer:
        theirs = llama_scores.log_softmax(scorer.logits(tokens, 0))
    assert float((np.exp(ours) * (ours - theirs)).sum(axis=1).mean()) < 1e-5


def test_a_models_weights_come_back_out_of_torch_in_gguf_order(small: Small) -> None:
    file = gguf_file.read(small.parent)
    found = gguf_model.gguf_arrays(file, gguf_model.load(file).state_dict())
    assert found.keys() == file.tensors.keys()
    assert all(np.array_equal(found[name], file.values(name)) for name in found)


@pytest.mark.parametrize("cut", [0, 3, 20, 200, 5_000, -1_000])
def test_a_file_that_was_cut_off_is_refused(small: Small, tmp_path: Path, cut: int) -> None:
    (tmp_path / "cut.gguf").write_bytes(small.parent.read_bytes()[:cut])
    with pytest.raises(BrokenGguf, match=r"cut\.gguf .*fetch it again"):
        gguf_file.read(tmp_path / "cut.gguf")


@pytest.mark.parametrize(("at", "value"), [(0, b"GGML"), (4, b"\x09\0\0\0"), (8, b"\xff" * 8), (16, b"\xff" * 8)])
def test_a_head_that_contradicts_itself_is_refused(small: Small, tmp_path: Path, at: int, value: bytes) -> None:
    raw = bytearray(small.parent.read_bytes())
    raw[at : at + len(value)] = value
    (tmp_path / "bad.gguf").write_bytes(raw)
    with pytest.raises(BrokenGguf):
        gguf_file.read(tmp_path / "bad.gguf")


def test_flipped_bytes_in_the_head_end_in_a_named_error_or_in_a_file_that_reads(
    small: Small, tmp_path: Path
) -> None:
    whole = small.parent.read_bytes()
    head = gguf_file.read(small.parent).data_start
    draw = np.random.default_rng(0)
    for _ in range(200):
        raw = bytearray(whole)
        for at in draw.integers(4, head, size=3):
            raw[at] = draw.integers(256)
        (tmp_path / "f.gguf").write_bytes(raw)
        try:
            gguf_file.read(tmp_path / "f.gguf")
        except InputError:
            continue


def test_what_does_not_belong_into_a_base_is_refused(small: Small, tmp_path: Path) -> None:
    base = gguf_file.read(small.parent)
    few = np.zeros(8, dtype=np.uint8)
    with pytest.raises(InputError, match="has no tensor nobody"):
        write_child(base, tmp_path / "c.gguf", {"nobody": Replacement("F32", few)})
    with pytest.raises(InputError, match="got 8 bytes"):
        write_child(base, tmp_path / "c.gguf", {"output_norm.weight": Replacement("F32", few)})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_half_file_and_says_so(small: Small, tmp_path: Path) -> None:
    (tmp_path / "c.gguf.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match="make room, then run it again"):
        write_child(gguf_file.read(small.parent), tmp_path / "c.gguf", {})
    assert list(tmp_path.iterdir()) == []
