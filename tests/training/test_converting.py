"""Hugging Face folders as GGUF files: the same weights, tokens and logits in llama.cpp; or refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import other_models
import pytest
import small_model
import torch
from distil_command import told
from tokenizers import Tokenizer, models

from perslm_runtime.errors import InputError
from perslm_training_host import base_model, converting, gguf_file
from perslm_training_host.evaluation_tasks import parity_texts
from perslm_training_host.llama_scores import Scorer


def made(kind: str, path: Path) -> Any:
    """A random model of an architecture, written to `path` by gguf's own writer."""
    path.parent.mkdir(parents=True)
    if kind == "llama":
        model = small_model.make_model()
        small_model.write_gguf(model, small_model.make_tokenizer(small_model.train_text()), path)
    else:
        model = other_models.make(kind)
        other_models.write(model, kind, path)
    return model


def as_folder(file: Path, folder: Path) -> Path:
    """The model of a GGUF file as transformers saves it, with a card that names its licence."""
    base = base_model.load(file)
    base.model.save_pretrained(folder)
    base.prompts.tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gemma"])
def test_a_folder_becomes_a_file_with_its_weights_tokens_and_logits_and_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    model = made(kind, tmp_path / "made" / "model.gguf")
    folder = as_folder(tmp_path / "made" / "model.gguf", tmp_path / "folder")
    target = tmp_path / "out.gguf"
    told(capsys, "models", "convert", folder, target, "--kind", "F32")
    theirs, ours = gguf_file.read(tmp_path / "made" / "model.gguf"), gguf_file.read(target)
    assert ours.tensors.keys() == theirs.tensors.keys()
    assert all(np.array_equal(ours.values(name), theirs.values(name)) for name in ours.tensors)
    assert ours.metadata["general.license"] == "mit"
    same = "tokenizer.chat_template", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
    assert all(ours.metadata[key] == theirs.metadata[key] for key in same)
    again = base_model.load(target)
    tokens = list(range(20, 60))
    with torch.no_grad():
        wanted, back = (each(input_ids=torch.tensor([tokens])).logits[0] for each in (model, again.model))
    assert torch.equal(wanted, back)
    with Scorer(target, threads=1) as scorer:
        shipped = torch.from_numpy(scorer.logits(tokens, 0))
        cut = [scorer.tokens(text) for text in parity_texts()]
    assert float((shipped.softmax(-1) - wanted.softmax(-1)).abs().max()) < 1e-3
    prompts = base_model.prompts_of(folder)
    assert cut == [prompts.tokens(text) for text in parity_texts()]


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "starcoder", "qwen2", "llama-bpe"])
def test_a_files_text_is_cut_for_training_as_it_will_be_cut_by_llama_cpp(tmp_path: Path, pre: str) -> None:
    path = tmp_path / "model.gguf"
    text = small_model.train_text() + "  1  22  333  2026  " * 2000  # pieces that only some ways to cut may use
    small_model.write_gguf(small_model.make_model(), small_model.make_tokenizer(text), path, pre=pre)
    prompts = base_model.prompts_of(path)
    with Scorer(path, only_tokens=True) as scorer:
        assert [prompts.tokens(text) for text in parity_texts()] == [
            scorer.tokens(text) for text in parity_texts()
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that can be written, to be spoilt."""
    place = tmp_path_factory.mktemp("folder")
    made("qwen3", place / "made" / "model.gguf")
    return as_folder(place / "made" / "model.gguf", place / "hf")


def spoilt(folder: Path, to: Path, **changes: object) -> Path:
    """The folder with another config."""
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    (to / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return to


def test_what_cannot_be_written_is_refused_by_name_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    cases = {
        "scales its positions": spoilt(folder, tmp_path / "scaled", rope_parameters=scaled),
        "is a phi3 model": spoilt(folder, tmp_path / "phi", model_type="phi3", architectures=["Phi3ForCausalLM"]),
    }
    pieces = spoilt(folder, tmp_path / "pieces")
    Tokenizer(models.Unigram([(f"w{n}", -1.0) for n in range(512)], unk_id=0)).save(str(pieces / "tokenizer.json"))
    (pieces / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    cases["has a Unigram tokenizer"] = pieces
    for message, bad in cases.items():
        with pytest.raises(InputError, match=re.escape(message)):
            converting.convert(bad, tmp_path / "out.gguf")
    with pytest.raises(InputError, match="written in F16 or F32"):
        converting.convert(folder, tmp_path / "out.gguf", "Q4_0")
    assert not list(tmp_path.glob("out.gguf*"))


def test_a_tokenizer_that_cuts_as_nobody_in_llama_cpp_does_is_refused(folder: Path, tmp_path: Path) -> None:
    odd = spoilt(folder, tmp_path / "odd")
    about = json.loads((odd / "tokenizer.json").read_text(encoding="utf-8"))
    about["normalizer"] = {"type": "Lowercase"}  # which llama.cpp does for none of its ways
    (odd / "tokenizer.json").write_text(json.dumps(about), encoding="utf-8")
    (odd / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(InputError, match=r"no way that llama\.cpp knows"):
        converting.convert(odd, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("out.gguf*"))


def test_a_full_disk_while_converting_is_said_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out.gguf.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match="make room, then run it again"):
        converting.convert(folder, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("out.gguf*"))
