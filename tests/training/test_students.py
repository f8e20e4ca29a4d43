"""Students that are smaller than their teacher, or of another kind, and what a run takes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import other_models
import pytest
import torch
from distil_command import COMMON, distil, told

from conftest import Small
from perslm_runtime.errors import EngineError
from perslm_training_host import base_model, gguf_file, gguf_model, pruning
from perslm_training_host.llama_scores import Scorer
from perslm_training_host.pruning import Shape


def test_a_smaller_student_runs_in_llama_cpp_as_in_torch(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--layers", "3", "--feed-forward", "256", "--width", "96", "--steps", "3"]
    report = told(capsys, *distil(small, tmp_path / "run", *asked, student=small.parent))
    path = Path(report["written"][0])
    file = gguf_file.read(path)
    assert file.number("block_count") == 3
    assert file.tensors["blk.2.ffn_up.weight"].shape == (256, 96)
    assert "blk.3.ffn_up.weight" not in file.tensors
    tokens = small.tokens(small.held_out)[:64]
    with Scorer(path, threads=1) as scorer:
        shipped = torch.from_numpy(scorer.logits(tokens, 0))
    with torch.no_grad():
        again = gguf_model.load(file)(input_ids=torch.tensor([tokens])).logits[0]
    assert float((shipped.softmax(-1) - again.softmax(-1)).abs().max()) < 1e-3


def test_pruning_keeps_what_matters(small: Small) -> None:
    model = base_model.load(small.parent).model
    tokens = torch.tensor([small.tokens(small.train)[:128]])
    with torch.no_grad():
        model.model.layers[2].mlp.down_proj.weight.zero_()
        model.model.layers[2].self_attn.o_proj.weight.zero_()  # this layer does nothing now
        model.model.layers[0].mlp.up_proj.weight[::2] = 0  # nor does every second neuron of this one
        before = model(input_ids=tokens).logits
        smaller = pruning.pruned(model, Shape(layers=4, feed_forward=256), tokens)
        smaller.model.layers[1].mlp, smaller.model.layers[2].mlp, smaller.model.layers[3].mlp = (
            model.model.layers[number].mlp for number in (1, 3, 4)
        )  # only the first layer's neurons are under test
        after = smaller(input_ids=tokens).logits
    assert torch.allclose(before, after, atol=1e-4)


def test_what_it_would_take_is_told_and_nothing_is_written(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = distil(
        small, tmp_path / "run", "--steps", "1000", "--accumulate", "2", "--estimate", "--price", "3600"
    )
    report = told(capsys, *command)
    found = report["estimate"]
    assert found["tokens"] == 1000 * 2 * 2 * 64
    weights = 1_295_744  # of the small model, which is its own teacher
    assert found["flops"] == pytest.approx(found["tokens"] * 8 * weights, rel=0.01)
    assert found["money"] == pytest.approx(found["seconds"])  # 3,600 an hour is 1 a second
    assert report["outcome"] is None
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["phi3", "gemma", "gemma2", "gemma3"])
def test_other_architectures_are_read_to_the_bit_learn_and_run_in_llama_cpp(
    tmp_path: Path, small: Small, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    model, path = other_models.make(kind), tmp_path / "model" / "model.gguf"
    path.parent.mkdir()
    other_models.write(model, kind, path)
    if kind not in gguf_model.MAPPED and find_spec("accelerate") is None:
        with pytest.raises(EngineError, match="more-models"):
            base_model.load(path)
        pytest.skip("transformers reads other GGUF files with accelerate: extra `more-models`")
    tokens = torch.tensor([list(range(20, 60))])
    with torch.no_grad():
        assert torch.equal(base_model.load(path).model(input_ids=tokens).logits, model(input_ids=tokens).logits)
    command = [
        "distill", path, path, "--text", small.train, "--out", tmp_path / "run", "--steps", "2", "--loss", "ce",
        *COMMON,
    ]  # fmt: skip
    written = Path(told(capsys, *command)["written"][0])
    assert written.suffix == ".gguf"
    with torch.no_grad():
        learnt = base_model.load(written).model(input_ids=tokens).logits[0]
        assert 0 < float((learnt - model(input_ids=tokens).logits[0]).abs().max()) < 1
    with Scorer(written, threads=1) as scorer:
        shipped = torch.from_numpy(scorer.logits(tokens[0].tolist(), 0))
    assert float((shipped.softmax(-1) - learnt.softmax(-1)).abs().max()) < 1e-3
