"""Quantization-aware distillation: what is trained is written, runs resume to the bit, bad input is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Small
from perslm_runtime.errors import InputError
from perslm_training_host import ggml_blocks as blocks
from perslm_training_host import gguf_file, gguf_model, llama_scores
from perslm_training_host.grid_distilling import GridDistilling, LossIsNaN, Plan

PLAN = Plan(steps=6, rows=2, length_tokens=32, rate=3e-4, bf16=False)


def run_of(small: Small, kind: str = "Q4_0", plan: Plan = PLAN) -> GridDistilling:
    base = gguf_file.read(small.quantized(kind))
    return GridDistilling(gguf_file.read(small.parent), base, small.tokens(small.train), plan)


@pytest.mark.parametrize("kind", ["Q4_0", "IQ4_NL"])
def test_the_file_holds_exactly_what_the_model_computed_with(small: Small, tmp_path: Path, kind: str) -> None:
    run = run_of(small, kind)
    run.run()
    base = gguf_file.read(small.quantized(kind))
    gguf_file.write_child(base, tmp_path / "child.gguf", run.replacements())
    child = gguf_file.read(tmp_path / "child.gguf")
    changed = 0
    for matrix in run.matrices:
        matrix.project()
        shipped = gguf_model.row_order(child, matrix.name).to_torch(child.values(matrix.name))
        assert np.array_equal(shipped, matrix.weight.detach().numpy())
        before, after = blocks.unpack(base.raw(matrix.name)), blocks.unpack(child.raw(matrix.name))
        assert np.array_equal(before[0], after[0])  # frozen scales
        changed += int((before[1] != after[1]).sum())
    total = sum(matrix.hidden.numel() for matrix in run.matrices)
    assert 0 < changed / total == pytest.approx(run.outcome.changed_codes)


@pytest.mark.parametrize("kind", ["Q4_0", "IQ4_NL"])
def test_before_the_first_step_the_model_stands_on_the_codes_nearest_to_its_parent(
    small: Small, kind: str
) -> None:
    run = run_of(small, kind)
    file, parent = gguf_file.read(small.quantized(kind)), gguf_file.read(small.parent)
    for matrix in run.matrices:
        scales, _ = blocks.unpack(file.raw(matrix.name))
        rows = parent.values(matrix.name).reshape(-1, blocks.BLOCK)
        expected = blocks.nearest_codes(matrix.grid, scales, rows)
        assert np.array_equal(blocks.unpack(matrix.replacement().raw)[1], expected)


def test_recomputed_scales_leave_the_bases_and_fit_their_weights_better(small: Small) -> None:
    run = run_of(small, plan=dataclasses.replace(PLAN, scales="recomputed"))
    matrix = run.matrices[0]

    def error() -> float:
        matrix.project()
        return float((matrix.weight.detach() - matrix.hidden).square().sum())

    before, scales = error(), matrix.scales.clone()
    matrix.refit()
    assert error() < before
    assert not torch.equal(scales, matrix.scales)
    assert torch.equal(matrix.scales, matrix.scales.half().float())  # the file keeps them as float16


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(small: Small, tmp_path: Path) -> None:
    whole = run_of(small)
    whole.run()

    class Stopped(BaseException):
        pass

    def stop(step: int, _loss: float) -> None:
        if step == 3:
            raise Stopped

    first = run_of(small)
    with pytest.raises(Stopped):
        first.run(stop)
    first.keep(tmp_path / "kept.run")
    second = run_of(small)
    second.go_on_from(tmp_path / "kept.run")
    assert second.step == 3
    second.run()
    assert second.outcome.losses == whole.outcome.losses
    for one, other in zip(second.matrices, whole.matrices, strict=True):
        assert torch.equal(one.hidden, other.hidden)


def test_a_run_of_other_settings_and_a_broken_one_are_not_taken_up(small: Small, tmp_path: Path) -> None:
    run = run_of(small)
    run.keep(tmp_path / "kept.run")
    other = run_of(small, plan=dataclasses.replace(PLAN, rate=1e-3))
    with pytest.raises(InputError, match="other settings"):
        other.go_on_from(tmp_path / "kept.run")
    (tmp_path / "kept.run").write_bytes((tmp_path / "kept.run").read_bytes()[:1000])
    with pytest.raises(InputError, match="holds no run"):
        run.go_on_from(tmp_path / "kept.run")


def broken_parent(small: Small, target: Path, name: str) -> gguf_file.GgufFile:
    """The parent with one NaN in tensor `name`."""
    parent = gguf_file.read(small.parent)
    raw = parent.raw(name).copy()
    raw[:4] = np.array([np.nan], dtype=np.float32).view(np.uint8)
    gguf_file.write_child(parent, target, {name: gguf_file.Replacement("F32", raw)})
    return gguf_file.read(target)


def test_a_loss_that_is_no_number_ends_the_run_with_its_step_and_the_next_thing_to_try(
    small: Small, tmp_path: Path
) -> None:
    parent = broken_parent(small, tmp_path / "nan.gguf", "output_norm.weight")
    run = GridDistilling(parent, gguf_file.read(small.quantized("Q4_0")), small.tokens(small.train), PLAN)
    with pytest.raises(LossIsNaN, match=r"nan at step 1 .*: give a lower --rate"):
        run.run()
    assert run.outcome.losses == []


def test_a_parent_with_nan_weights_is_refused(small: Small, tmp_path: Path) -> None:
    parent = broken_parent(small, tmp_path / "nan.gguf", "blk.1.ffn_up.weight")
    with pytest.raises(InputError, match=r"ffn_up\.weight holds NaN"):
        GridDistilling(parent, gguf_file.read(small.quantized("Q4_0")), small.tokens(small.train), PLAN)


def test_a_base_of_another_model_or_of_another_kind_is_refused(small: Small) -> None:
    parent = gguf_file.read(small.parent)
    with pytest.raises(InputError, match="quantize to Q4_0 or IQ4_NL first"):
        GridDistilling(parent, gguf_file.read(small.quantized("Q8_0")), small.tokens(small.train), PLAN)
    fewer = dataclasses.replace(parent, tensors={name: parent.tensors[name] for name in list(parent.tensors)[:-1]})
    with pytest.raises(InputError, match="is not made from"):
        GridDistilling(fewer, gguf_file.read(small.quantized("Q4_0")), small.tokens(small.train), PLAN)


def test_too_little_text_is_told_before_anything_is_loaded(small: Small) -> None:
    base = gguf_file.read(small.quantized("Q4_0"))
    with pytest.raises(InputError, match="the text has 3 tokens"):
        GridDistilling(gguf_file.read(small.parent), base, [1, 2, 3], PLAN)


def test_every_piece_is_seen_once_before_one_is_seen_again() -> None:
    from perslm_training_host.texts import Pieces

    pieces = Pieces(list(range(70)), 10, seed=5)
    seen = np.concatenate([pieces.of_step(step, 2)[:, 0] for step in range(7)])
    assert sorted(seen[:7]) == sorted(seen[7:]) == list(range(0, 70, 10))
    assert np.array_equal(pieces.of_step(3, 2), Pieces(list(range(70)), 10, seed=5).of_step(3, 2))


def test_scores_of_a_file_against_itself_are_zero_and_another_tokenizer_is_refused(small: Small) -> None:
    tokens = small.tokens(small.held_out)[:512]
    with (
        llama_scores.Scorer(small.parent, threads=1) as one,
        llama_scores.Scorer(small.parent, threads=1) as other,
    ):
        own, found = llama_scores.compare(one, [other], tokens)
        assert float(np.abs(found.kl).max()) < 1e-6
        assert found.same_top.all()
        assert found.perplexity == pytest.approx(own.perplexity)
        other.words += 1
        with pytest.raises(InputError, match="other tokenizer"):
            llama_scores.compare(one, [other], tokens)
        with pytest.raises(InputError, match="at least 512 are needed"):
            llama_scores.compare(one, [], tokens[:100])
