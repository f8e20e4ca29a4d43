"""A llama model of 1.3 million weights with its own tokenizer, made and taught in seconds, as a GGUF file.

Its text is what this project ships: the licence and the documentation. gguf's own writer makes the file, so
nothing here shares code with what is tested.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFWriter, TokenType
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).resolve().parents[2]
WORDS = 512
CONFIG = LlamaConfig(
    vocab_size=WORDS,
    hidden_size=128,
    intermediate_size=512,
    num_hidden_layers=5,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=1024,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    tie_word_embeddings=True,
    initializer_range=0.08,  # at the usual 0.02 all words are nearly equally likely: nothing to lose
    attn_implementation="sdpa",
)
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def train_text() -> str:
    """Text to learn: the first nine tenths of the licence and of the documentation."""
    return "\n\n".join(text[: len(text) * 9 // 10] for text in _texts())


def held_out_text() -> str:
    """Text that is never trained on: the last tenths."""
    return "\n\n".join(text[len(text) * 9 // 10 :] for text in _texts())


def _texts() -> list[str]:
    names = ["LICENSE", "docs/control.md", "docs/voice.md", "docs/mqtt.md", "DECISIONS.md", "README.md"]
    return [(ROOT / name).read_text(encoding="utf-8") for name in names]


def make_tokenizer(text: str) -> Any:
    """A byte-level BPE tokenizer of `WORDS` words, learnt from `text`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def make_model(seed: int = 0) -> Any:
    """The model with the random weights of `seed`."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(CONFIG).eval()


def write_gguf(model: Any, tokenizer: Any, path: Path, licence: str = "", pre: str = "gpt-2") -> None:
    """Write the model as F32 GGUF with gguf's writer, as a converter would."""
    writer = GGUFWriter(path, "llama")
    if licence:
        writer.add_license(licence)
    config = model.config
    writer.add_name("small")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_file_type(0)
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([word for word, _ in words])
    writer.add_token_types([TokenType.CONTROL if word in _SPECIAL else TokenType.NORMAL for word, _ in words])
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":
            writer.add_tensor(*_as_gguf(name, tensor.float().numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _as_gguf(name: str, values: Any, config: Any) -> tuple[str, Any]:
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in top:
        return top[name], values
    _, _, block, *rest = name.split(".")
    part = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "q_proj": "attn_q",
        "k_proj": "attn_k",
        "v_proj": "attn_v",
        "o_proj": "attn_output",
        "gate_proj": "ffn_gate",
        "up_proj": "ffn_up",
        "down_proj": "ffn_down",
    }[rest[-2]]
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(part)
    if heads:
        rows, columns = values.shape
        values = values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    return f"blk.{block}.{part}.weight", np.ascontiguousarray(values)
