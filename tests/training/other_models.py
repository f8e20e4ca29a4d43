"""Tiny Phi 3, Gemma and Qwen models as GGUF files, written by gguf's own writer as a converter would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFWriter, TokenType
from small_model import TEMPLATE, WORDS, make_tokenizer, train_text
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

_SHAPE = {
    "vocab_size": WORDS,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
}
# Gemma 2 and 3 divide by the root of 256, whatever the file says.
_HEAD = {"phi3": 16, "gemma": 32, "gemma2": 256, "gemma3": 256, "qwen2": 16, "qwen3": 32}
_LAYERS = {"gemma3": 6}  # of which the sixth sees everything, by another rotary base
_NAMES = {
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
}
_GEMMA_2 = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_Q_AND_K = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
_PLAIN = {"post_attention_layernorm": "ffn_norm"}
_NORMS = {
    "phi3": _PLAIN,
    "gemma": _PLAIN,
    "gemma2": _GEMMA_2,
    "gemma3": _GEMMA_2 | _Q_AND_K,
    "qwen2": _PLAIN,
    "qwen3": _PLAIN | _Q_AND_K,
}
_UNTIED = {"phi3", "qwen2"}  # the word's vectors in and out are not the same


def make(kind: str) -> Any:
    """A model of random weights; `kind` is phi3, gemma, gemma2, gemma3, qwen2 or qwen3."""
    torch.manual_seed(0)
    shape = _SHAPE | {"num_hidden_layers": _LAYERS.get(kind, 2), "tie_word_embeddings": kind not in _UNTIED}
    head = {"head_dim": _HEAD[kind]}
    model: Any = {
        "phi3": lambda: Phi3ForCausalLM(Phi3Config(**shape, pad_token_id=0)),
        "gemma": lambda: GemmaForCausalLM(GemmaConfig(**shape, **head)),
        "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**shape, **head)),
        "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**shape, **head, sliding_window=16)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**shape)),
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**shape, **head)),
    }[kind]()
    for parameter in model.parameters():
        parameter.data += (0.1 if parameter.ndim == 1 else 0.05) * torch.randn(parameter.shape)
    return model.eval()


def write(model: Any, kind: str, path: Path) -> None:
    """Write it as F32."""
    writer = GGUFWriter(path, kind)
    _about(writer, model.config, kind)
    (_pieces if kind == "gemma" else _tokenizer)(writer)
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight" or kind in _UNTIED:
            added = np.float32("norm" in name and kind.startswith("gemma"))  # Gemma's files keep 1 + weight
            writer.add_tensor(_name(name, kind), np.ascontiguousarray(tensor.float().numpy() + added))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _about(writer: GGUFWriter, config: Any, kind: str) -> None:
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1_000_000.0 if kind == "gemma3" else 10_000.0)
    writer.add_rope_dimension_count(_HEAD[kind])
    writer.add_key_length(_HEAD[kind])
    writer.add_value_length(_HEAD[kind])
    writer.add_file_type(0)
    if kind in ("phi3", "gemma2", "gemma3"):
        writer.add_sliding_window(config.sliding_window if kind == "gemma3" else 512)
    if kind == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def _tokenizer(writer: GGUFWriter) -> None:
    tokenizer = make_tokenizer(train_text())
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([word for word, _ in words])
    writer.add_token_types([TokenType.CONTROL if word.startswith("<|") else TokenType.NORMAL for word, _ in words])
    writer.add_token_merges([" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(0)
    writer.add_chat_template(TEMPLATE)


def _pieces(writer: GGUFWriter) -> None:
    """A SentencePiece vocabulary as a Gemma has one: control words, bytes, pieces best first, single letters."""
    controls = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    octets = [f"<0x{octet:02X}>" for octet in range(256)]
    letters = ["\u2581", *map(chr, range(33, 127))]
    merged = _merged(train_text(), WORDS - len(controls) - len(octets) - len(letters))
    words = [*controls, *octets, *merged, *letters]
    kinds = [TokenType.CONTROL] * 6 + [TokenType.BYTE] * 256 + [TokenType.NORMAL] * (len(words) - 262)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * 262 + [-float(place) for place in range(len(words) - 262)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def _merged(text: str, count: int) -> list[str]:
    """The pieces that byte-pair merging makes of `text` first, blanks as they are written in a vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    alphabet = ["\u2581", *map(chr, range(33, 127))]
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + count,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    by_place = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return [word for word, _ in by_place if len(word) > 1][:count]


def _name(name: str, kind: str) -> str:
    top = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in top:
        return top[name]
    _, _, block, *rest = name.split(".")
    part = ".".join(rest[:-1])
    return f"blk.{block}.{(_NAMES | _NORMS[kind])[part]}.{rest[-1]}"
