"""LoRA adapters: llama.cpp with the adapter says what torch with the LoRA says, and without it what it said."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from conftest import Small
from perslm_runtime.errors import InputError
from perslm_runtime.llama_library import c
from perslm_training_host import adapter, gguf_file, gguf_model, llama_scores

RANK, ALPHA = 4, 8


def save_lora(folder: Path, small: Small, **config: object) -> dict[str, torch.Tensor]:
    """A LoRA on a query, a key and a feed-forward matrix, saved as PEFT does; returns what it adds to each."""
    folder.mkdir()
    torch.manual_seed(3)
    model = gguf_model.load(gguf_file.read(small.parent))
    tensors, added = {}, {}
    for name in ("layers.0.self_attn.q_proj", "layers.2.self_attn.k_proj", "layers.4.mlp.down_proj"):
        rows, columns = model.get_parameter(f"model.{name}.weight").shape
        first, second = torch.randn(RANK, columns) * 0.1, torch.randn(rows, RANK) * 0.1
        tensors[f"base_model.model.model.{name}.lora_A.weight"] = first
        tensors[f"base_model.model.model.{name}.lora_B.weight"] = second
        added[f"model.{name}.weight"] = second @ first
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"r": RANK, "lora_alpha": ALPHA, "peft_type": "LORA", **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return added


@pytest.mark.parametrize(("rslora", "scale"), [(False, ALPHA / RANK), (True, ALPHA / RANK**0.5)])
def test_llama_cpp_with_the_adapter_says_what_torch_says(
    small: Small, tmp_path: Path, *, rslora: bool, scale: float
) -> None:
    added = save_lora(tmp_path / "lora", small, use_rslora=rslora)
    assert adapter.write(tmp_path / "lora", gguf_file.read(small.parent), tmp_path / "a.gguf") == 3
    model = gguf_model.load(gguf_file.read(small.parent))
    tokens = small.tokens(small.held_out)[:128]
    with torch.no_grad():
        for name, change in added.items():
            model.get_parameter(name).add_(change * scale)
        wanted = torch.log_softmax(model(input_ids=torch.tensor([tokens])).logits[0], dim=-1).numpy()
    with llama_scores.Scorer(small.parent, threads=1) as scorer:
        bare = scorer.logits(tokens, 0)
        loaded = c.llama_adapter_lora_init(scorer._model, str(tmp_path / "a.gguf").encode())
        assert loaded
        one = (c.llama_adapter_lora_p_ctypes * 1)(loaded)
        c.llama_set_adapters_lora(scorer._context, one, 1, (ctypes.c_float * 1)(1.0))
        found = llama_scores.log_softmax(scorer.logits(tokens, 0))
        c.llama_set_adapters_lora(scorer._context, None, 0, None)
        assert np.array_equal(scorer.logits(tokens, 0), bare)
    kl = float((np.exp(wanted) * (wanted - found)).sum(axis=1).mean())
    apart = llama_scores.log_softmax(bare)
    assert kl < 1e-5
    assert float((np.exp(wanted) * (wanted - apart)).sum(axis=1).mean()) > 1000 * kl  # it does change something


def test_a_lora_that_is_cut_off_or_of_another_model_is_refused(small: Small, tmp_path: Path) -> None:
    base = gguf_file.read(small.parent)
    save_lora(tmp_path / "lora", small)
    file = tmp_path / "lora" / "adapter_model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut off or broken"):
        adapter.write(tmp_path / "lora", base, tmp_path / "a.gguf")
    save_file({"base_model.model.model.layers.9.mlp.up_proj.lora_A.weight": torch.zeros(2, 8)}, file)
    with pytest.raises(InputError, match="not both factors"):
        adapter.write(tmp_path / "lora", base, tmp_path / "a.gguf")
    far = "base_model.model.model.layers.9.mlp.up_proj.lora_"
    save_file({f"{far}A.weight": torch.zeros(2, 8), f"{far}B.weight": torch.zeros(8, 2)}, file)
    with pytest.raises(InputError, match=r"which .* has not"):
        adapter.write(tmp_path / "lora", base, tmp_path / "a.gguf")
    with pytest.raises(InputError, match="no folder of a LoRA"):
        adapter.write(tmp_path / "nowhere", base, tmp_path / "a.gguf")
    assert not list(tmp_path.glob("a.gguf*"))
