"""A GGUF model as a torch model, and a torch model's weights as GGUF tensors: one table of names, both ways.

Reads and writes llama, qwen2, qwen3 and gemma; phi3, gemma2 and gemma3, which transformers reads, are written.
GGUF keeps the query and key rows of llama in another order than Hugging Face (pairs of the rotary halves side by
side), and of gemma's norms one more than their weights; both are changed here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForCausalLM

from perslm_runtime.errors import InputError
from perslm_training_host.gguf_file import BrokenGguf, GgufFile, Reshaped

_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_IN_BLOCK = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_GEMMA_2 = _IN_BLOCK | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_OTHERS = {
    "phi3": {
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "attn_qkv": "self_attn.qkv_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_up": "mlp.gate_up_proj",
        "ffn_down": "mlp.down_proj",
    },
    "gemma2": _GEMMA_2,
    "gemma3": _GEMMA_2,
}
_BLOCK = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_TORCH_BLOCK = re.compile(r"model\.layers\.(\d+)\.([\w.]+)\.(weight|bias)")
MAPPED = frozenset({"llama", "qwen2", "qwen3", "gemma"})
"""Architectures that are read and written here; others are read by transformers."""
WRITTEN = MAPPED | _OTHERS.keys()
"""Architectures that are written as GGUF."""
# Architectures whose norms multiply by 1 + weight, and hold that in a file.
_ONE_MORE = {"gemma", "gemma2", "gemma3"}
_PAIRED = {"llama"}  # architectures whose query and key rows lie in pairs


def is_learned(name: str) -> bool:
    """Whether a GGUF tensor is one of the model's weights; tables of positions stay the base's."""
    return not name.startswith("rope_")


def torch_name(name: str, architecture: str = "llama") -> str:
    """The Hugging Face name of a GGUF tensor. Raises InputError for one that has none."""
    known = _OTHERS.get(architecture, _IN_BLOCK)
    if name in _TOP:
        return _TOP[name]
    found = _BLOCK.fullmatch(name)
    if found is None or found[2] not in known:
        raise InputError(f"tensor {name} has no place in a {architecture} model: its architecture is not mapped")
    return f"model.layers.{found[1]}.{known[found[2]]}.{found[3]}"


@dataclass(frozen=True, slots=True)
class RowOrder:
    """Heads of the rows of a query or key matrix that lies in pairs; for all others `heads` is 0."""

    heads: int

    def to_torch(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows [rows, …] as Hugging Face has them."""
        return self._swapped(rows, inner=2) if self.heads else rows

    def to_gguf(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows [rows, …] as GGUF has them."""
        return self._swapped(rows, inner=rows.shape[0] // self.heads // 2) if self.heads else rows

    def _swapped(self, rows: NDArray[Any], *, inner: int) -> NDArray[Any]:
        cut = rows.reshape(self.heads, rows.shape[0] // self.heads // inner, inner, *rows.shape[1:])
        return np.ascontiguousarray(cut.swapaxes(1, 2)).reshape(rows.shape)


def row_order(file: GgufFile, name: str) -> RowOrder:
    """How the rows of tensor `name` lie."""
    heads = int(file.number("attention.head_count"))
    return _order(file.architecture, name, heads, int(file.number("attention.head_count_kv", heads)))


def _order(architecture: str, name: str, heads: int, key_heads: int) -> RowOrder:
    if architecture not in _PAIRED:
        return RowOrder(0)
    return RowOrder(heads if ".attn_q." in name else key_heads if ".attn_k." in name else 0)


def needed_bytes(file: GgufFile) -> int:
    """Memory that the model takes as float32, in bytes: told before it is loaded."""
    return 4 * sum(int(np.prod(tensor.shape)) for tensor in file.tensors.values())


def load(file: GgufFile, dtype: torch.dtype = torch.float32) -> Any:
    """The model of `file` as Hugging Face's, in evaluation mode. Raises InputError for what is not mapped."""
    model = AutoModelForCausalLM.from_config(_config(file)).to(dtype).eval()
    state = {torch_name(name): tensor for name, tensor in _values(file)}
    missing, unknown = model.load_state_dict(state, strict=False)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    if set(missing) - tied or unknown:
        raise BrokenGguf(
            f"{file.path} lacks {sorted(set(missing) - tied)[:3]} and has {sorted(unknown)[:3]} too much"
        )
    return model


def _values(file: GgufFile) -> list[tuple[str, torch.Tensor]]:
    found = []
    for name in file.tensors:
        array = np.array(row_order(file, name).to_torch(file.values(name)))
        found.append((name, torch.from_numpy(array - _more_in_file(file.architecture, name))))
    return found


def _more_in_file(architecture: str, name: str) -> np.float32:
    """What a file has added to a norm's weights."""
    return np.float32("norm" in name and architecture in _ONE_MORE)


def _config(file: GgufFile) -> Any:
    if file.architecture not in MAPPED:
        raise InputError(
            f"{file.path} is a {file.architecture} model: {', '.join(sorted(MAPPED))} can be trained here"
        )
    if "rope_freqs.weight" in file.tensors or f"{file.architecture}.rope.scaling.type" in file.metadata:
        raise InputError(
            f"{file.path} scales its positions (rope scaling), which is not mapped: take another base"
        )
    heads = int(file.number("attention.head_count"))
    width = int(file.number("embedding_length"))
    return AutoConfig.for_model(
        file.architecture,
        vocab_size=file.tensors["token_embd.weight"].shape[0],
        hidden_size=width,
        intermediate_size=int(file.number("feed_forward_length")),
        num_hidden_layers=int(file.number("block_count")),
        num_attention_heads=heads,
        num_key_value_heads=int(file.number("attention.head_count_kv", heads)),
        head_dim=int(file.number("attention.key_length", width // heads)),
        max_position_embeddings=int(file.number("context_length")),
        rms_norm_eps=file.number("attention.layer_norm_rms_epsilon"),
        rope_theta=file.number("rope.freq_base", 10_000.0),
        tie_word_embeddings="output.weight" not in file.tensors,
        attn_implementation="sdpa",
    )


def matrices(file: GgufFile) -> list[str]:
    """GGUF names of the matrices inside the blocks: what is quantized to 4 bits and trained on its grid."""
    return [name for name, tensor in file.tensors.items() if name.startswith("blk.") and len(tensor.shape) == 2]


def gguf_arrays(
    file: GgufFile, state: Mapping[str, torch.Tensor], reshaped: Reshaped | None = None
) -> dict[str, NDArray[np.float32]]:
    """Every tensor of `file` taken out of a torch model's `state`, as float32 in GGUF's order of rows.

    With `reshaped`, of the pruned child of `file`. Raises InputError where the state lacks one, or one has another
    shape.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for name, tensor in file.tensors.items():
        if not is_learned(name) or (reshaped is not None and name in reshaped.without):
            continue
        wanted = tensor.shape if reshaped is None else reshaped.shapes.get(name, tensor.shape)
        known_as = torch_name(name, file.architecture)
        values = state.get(known_as)
        if values is None or tuple(values.shape) != wanted:
            shape = None if values is None else tuple(values.shape)
            raise InputError(f"{known_as} is {shape} in the model and {wanted} in {file.path}")
        array = values.detach().to("cpu", torch.float32).numpy()
        found[name] = row_order(file, name).to_gguf(array + _more_in_file(file.architecture, name))
    return found


def arrays_of(model: Any) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every tensor of a torch model of a mapped architecture under its GGUF name, as float32 in GGUF's order.

    Raises InputError for one that has no place there.
    """
    config = model.config
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    for known_as, values in model.state_dict().items():
        if known_as in tied:
            continue
        name = _gguf_name(known_as)
        array = values.detach().to("cpu", torch.float32).numpy()
        order = _order(config.model_type, name, config.num_attention_heads, config.num_key_value_heads)
        yield name, order.to_gguf(array + _more_in_file(config.model_type, name))


def _gguf_name(known_as: str) -> str:
    """The other way of `torch_name`, for the architectures that are read here."""
    top = {theirs: ours for ours, theirs in _TOP.items()}
    if known_as in top:
        return top[known_as]
    found = _TORCH_BLOCK.fullmatch(known_as)
    parts = {theirs: ours for ours, theirs in _IN_BLOCK.items()}
    if found is None or found[2] not in parts:
        raise InputError(f"tensor {known_as} has no place in a GGUF file: its architecture is not mapped")
    return f"blk.{found[1]}.{parts[found[2]]}.{found[3]}"


def check_positions(config: Any, path: Path) -> None:
    """Refuse scaled positions. Raises InputError."""
    if (config.rope_parameters or {}).get("rope_type", "default") != "default":
        raise InputError(f"{path} scales its positions (rope scaling), which is not mapped: take another base")
