"""A smaller student out of a larger model: fewer layers, inner neurons, columns. What matters least goes.

What matters is measured on text, one pass: a layer by how far it turns its input (ShortGPT's block influence), an
inner neuron and a column by how strongly it is driven (as an importance matrix is). Attention heads stay as they
are. The smaller model answers nonsense until it is taught: that is what `distill` is for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from perslm_runtime.errors import InputError
from perslm_training_host.gguf_file import GgufFile, Reshaped

_ACROSS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")  # read the columns that a layer gets
_BACK = ("o_proj", "down_proj")  # write them


@dataclass(frozen=True, slots=True)
class Shape:
    """What the student has: layers, inner neurons of a layer, columns; 0 is as many as the model has."""

    layers: int = 0
    feed_forward: int = 0
    width: int = 0

    @property
    def smaller(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.layers or self.feed_forward or self.width)


@dataclass(frozen=True, slots=True)
class _Importance:
    layers: Tensor  # [layers]
    neurons: list[Tensor]  # a layer: [feed_forward]
    columns: Tensor  # [width]


def pruned(model: Any, shape: Shape, tokens: Tensor) -> Any:
    """A new model of `shape`, its weights taken out of `model`; `tokens` [rows, length] say what matters.

    Raises InputError for a shape that is larger, or whose rows fill no blocks of 32 (files could not be 4-bit).
    """
    config = model.config
    for name, asked, has in (
        ("layers", shape.layers, config.num_hidden_layers),
        ("feed-forward", shape.feed_forward, config.intermediate_size),
        ("width", shape.width, config.hidden_size),
    ):
        if asked < 0 or asked > has:
            raise InputError(f"--{name} {asked}: the model has {has}")
        if name != "layers" and asked % 32:
            raise InputError(f"--{name} {asked}: give a multiple of 32, so that the file can be 4-bit")
    known = {"down_proj", "up_proj", "gate_proj"}
    if not known <= {name for name, _ in model.model.layers[0].mlp.named_children()}:
        raise InputError(f"a {config.model_type} model cannot be pruned here: llama, qwen2 and qwen3 can")
    found = _importance(model, tokens)
    smaller = copy.deepcopy(model)
    if shape.layers:
        kept = _best(found.layers, shape.layers).tolist()
        _keep_layers(smaller, kept)
        found = _Importance(found.layers, [found.neurons[number] for number in kept], found.columns)
    if shape.feed_forward:
        for layer, importance in zip(smaller.model.layers, found.neurons, strict=True):
            _keep_neurons(layer.mlp, _best(importance, shape.feed_forward))
        smaller.config.intermediate_size = shape.feed_forward
    if shape.width:
        _keep_columns(smaller, _best(found.columns, shape.width))
    return smaller


def reshaped(file: GgufFile, config: Any, state: Mapping[str, Tensor]) -> Reshaped:
    """How the head of a pruned model's GGUF file differs from that of `file`, which it came from.

    `state` holds its plain weights, `config` its shape.
    """
    from perslm_training_host.gguf_model import is_learned, torch_name  # noqa: PLC0415 - torch and transformers

    shapes: dict[str, tuple[int, ...]] = {}
    gone = {name for name in file.tensors if _block(name) >= config.num_hidden_layers}
    for name in filter(is_learned, file.tensors.keys() - gone):
        values = state.get(torch_name(name, file.architecture))
        if values is not None and tuple(values.shape) != file.tensors[name].shape:
            shapes[name] = tuple(values.shape)
    numbers = {
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "embedding_length": config.hidden_size,
    }
    changed = {name: value for name, value in numbers.items() if file.number(name) != value}
    if "embedding_length" in changed:  # llama.cpp divides it by the heads where nothing else is said
        changed |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    return Reshaped(changed, shapes, frozenset(gone))


def _block(name: str) -> int:
    """The layer of a GGUF tensor; -1 for those of none."""
    return int(name.split(".")[1]) if name.startswith("blk.") else -1


def _importance(model: Any, tokens: Tensor) -> _Importance:
    layers = list(model.model.layers)
    with _watched(layers) as seen, torch.no_grad():
        columns = model.model(input_ids=tokens, use_cache=False).last_hidden_state.float().square().mean((0, 1))
    return _Importance(torch.stack(seen.turned), seen.driven, columns)


@dataclass(frozen=True, slots=True)
class _Seen:
    turned: list[Tensor]
    driven: list[Tensor]


@contextmanager
def _watched(layers: list[Any]) -> Iterator[_Seen]:
    """Note, while a pass runs, how far each layer turns its input and how strongly its neurons are driven."""
    seen = _Seen([], [])

    def turned(_layer: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        made = made[0] if isinstance(made, tuple) else made
        seen.turned.append(1 - functional.cosine_similarity(given[0].float(), made.float(), dim=-1).mean())

    def driven(_linear: nn.Module, given: tuple[Any, ...]) -> None:
        seen.driven.append(given[0].float().square().mean((0, 1)))

    hooks = [layer.register_forward_hook(turned) for layer in layers]
    hooks += [layer.mlp.down_proj.register_forward_pre_hook(driven) for layer in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _best(importance: Tensor, count: int) -> Tensor:
    """The places of the `count` largest, in their old order."""
    return importance.argsort(descending=True, stable=True)[:count].sort().values


def _keep_layers(model: Any, kept: list[int]) -> None:
    layers = [model.model.layers[number] for number in kept]
    for number, layer in enumerate(layers):
        layer.self_attn.layer_idx = number  # the cache's place
    model.model.layers = nn.ModuleList(layers)
    config = model.config
    config.num_hidden_layers = len(kept)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[number] for number in kept]


def _keep_neurons(mlp: Any, kept: Tensor) -> None:
    _cut(mlp.gate_proj, 0, kept)
    _cut(mlp.up_proj, 0, kept)
    _cut(mlp.down_proj, 1, kept)


def _keep_columns(model: Any, kept: Tensor) -> None:
    config = model.config
    config.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if last in _ACROSS or last in ("embed_tokens", "lm_head"):
            _cut(module, 1, kept)
        elif last in _BACK:
            _cut(module, 0, kept)
        elif last.endswith("norm") and last not in ("q_norm", "k_norm"):
            module.weight = nn.Parameter(module.weight.detach()[kept].clone())
    if config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    config.hidden_size = len(kept)
    model.model.embed_tokens.embedding_dim = len(kept)


def _cut(module: Any, axis: int, kept: Tensor) -> None:
    """Keep some rows (axis 0) or columns (axis 1) of a matrix, and the bias of the rows."""
    if module.weight.shape[axis] == len(kept):
        return
    module.weight = nn.Parameter(module.weight.detach().index_select(axis, kept).clone())
    if axis == 0 and getattr(module, "bias", None) is not None:
        module.bias = nn.Parameter(module.bias.detach()[kept].clone())
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
