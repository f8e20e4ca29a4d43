"""A Hugging Face folder as a GGUF file: what boards, and all that is measured here, can run of it.

Owns the head that llama.cpp wants: numbers, tokenizer, template. Names and orders of weights are gguf_model's.
How a tokenizer cuts text stands in no vocabulary: each way that llama.cpp knows is tried on 1,000 strings, and a
file that would cut one of them otherwise than the folder does is not written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter, TokenType

from perslm_runtime.errors import EngineError, InputError
from perslm_training_host import base_model, gguf_model, model_facts
from perslm_training_host.base_model import Base
from perslm_training_host.evaluation_tasks import parity_texts
from perslm_training_host.llama_scores import Scorer

KINDS = {"F16": 1, "F32": 0}  # llama.cpp's numbers
_BYTE_LEVEL = ("gpt-2", "smollm", "qwen2", "llama-bpe", "tekken", "gpt-4o", "starcoder", "falcon", "default")
"""llama.cpp's names of ways to cut text before the merges of a byte-level tokenizer."""
_NEVER_MERGED = -1e9  # the score of a piece that no merge ends in


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """Words in order with their kinds; either `merges`, or `scores` of a SentencePiece vocabulary."""

    words: tuple[str, ...]
    kinds: tuple[int, ...]
    merges: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class _Cut:
    """A way to cut text: llama.cpp's name of it, and whether a blank is put before the first word."""

    name: str
    blank_first: bool = False


def convert(folder: Path, target: Path, kind: str = "F16") -> None:
    """Write the model of `folder` to `target`, matrices in `kind`; it appears whole or not at all.

    Raises InputError for an architecture or tokenizer that cannot be written, and on a full disk.
    """
    if kind not in KINDS:
        raise InputError(f"--kind {kind}: a folder is written in F16 or F32; `perslm-host quantize` goes on")
    base = base_model.load(folder)
    architecture = str(base.model.config.model_type)
    if architecture not in gguf_model.MAPPED:
        raise InputError(
            f"{folder} is a {architecture} model: {', '.join(sorted(gguf_model.MAPPED))} can be written as GGUF"
        )
    gguf_model.check_positions(base.model.config, folder)
    words = _vocabulary(base)
    part = target.with_name(target.name + ".part")
    try:
        cut = _cut_like(base, words, part)
        writer = _head(base, words, cut, part, KINDS[kind])
        for name, array in gguf_model.arrays_of(base.model):
            wide = array.ndim < 2 or kind == "F32"  # llama.cpp wants norms in F32
            writer.add_tensor(name, np.ascontiguousarray(array, np.float32 if wide else np.float16))
        _write(writer)
        part.replace(target)
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error}): make room, then run it again") from error
    finally:
        part.unlink(missing_ok=True)


def _vocabulary(base: Base) -> _Vocabulary:
    about = json.loads(base.prompts.tokenizer.backend_tokenizer.to_str())
    model = about["model"]
    if model["type"] != "BPE":
        raise InputError(f"{base.path} has a {model['type']} tokenizer: only byte-pair ones can be written")
    by_id = {number: word for word, number in model["vocab"].items()}
    kinds = dict.fromkeys(by_id, TokenType.NORMAL)
    octets = bool(model.get("byte_fallback"))
    kinds |= {
        n: TokenType.BYTE for n, word in by_id.items() if octets and word.startswith("<0x") and len(word) == 6
    }
    for one in about["added_tokens"]:
        by_id[one["id"]] = one["content"]
        kinds[one["id"]] = TokenType.CONTROL if one["special"] else TokenType.USER_DEFINED
    count = int(base.model.config.vocab_size)  # padded beyond the words, in many a model
    words = tuple(by_id.get(number, f"[PAD{number}]") for number in range(count))
    kind_of = tuple(int(kinds.get(number, TokenType.UNUSED)) for number in range(count))
    merges = tuple(one if isinstance(one, str) else " ".join(one) for one in model["merges"])
    if not octets:
        return _Vocabulary(words, kind_of, merges=merges)
    ranks: dict[str, float] = {}
    for rank, pair in enumerate(merges):
        ranks.setdefault(pair.replace(" ", ""), -float(rank))
    plain = (TokenType.NORMAL, TokenType.UNUSED)
    scores = tuple(
        ranks.get(word, _NEVER_MERGED) if kind in plain else 0.0 for word, kind in zip(words, kind_of, strict=True)
    )
    return _Vocabulary(words, kind_of, scores=scores)


def _cut_like(base: Base, words: _Vocabulary, part: Path) -> _Cut:
    """The first way to cut text that gives what the folder's tokenizer gives, on all of 1,000 strings."""
    texts = parity_texts()
    wanted = [base.prompts.tokens(text) for text in texts]
    for cut in _ways(words):
        _write(_head(base, words, cut, part, 0))
        try:
            with Scorer(part, only_tokens=True) as opened:
                if all(opened.tokens(text) == tokens for text, tokens in zip(texts, wanted, strict=True)):
                    return cut
        except EngineError:
            continue  # a way that this llama.cpp does not know
    raise InputError(
        f"no way that llama.cpp knows cuts text as the tokenizer of {base.path} does: take a GGUF file of this"
        " model from those who made it"
    )


def _ways(words: _Vocabulary) -> Iterator[_Cut]:
    if words.scores:
        yield from (_Cut("default", blank_first) for blank_first in (False, True))
    else:
        yield from map(_Cut, _BYTE_LEVEL)


def _head(base: Base, words: _Vocabulary, cut: _Cut, part: Path, file_type: int) -> GGUFWriter:
    config, tokenizer = base.model.config, base.prompts.tokenizer
    writer = GGUFWriter(part, config.model_type)
    writer.add_name(base.path.resolve().name)
    if licence := model_facts.read(base.path).licence:
        writer.add_license(licence)
    _numbers(writer, config)
    writer.add_file_type(file_type)
    writer.add_tokenizer_model("llama" if words.scores else "gpt2")
    writer.add_tokenizer_pre(cut.name)
    writer.add_token_list(words.words)
    writer.add_token_types(words.kinds)
    if words.scores:
        writer.add_token_scores(words.scores)
        writer.add_add_space_prefix(cut.blank_first)
    else:
        writer.add_token_merges(words.merges)
    begun = tokenizer.backend_tokenizer.encode("a").ids
    writer.add_add_bos_token(bool(begun) and begun[0] == tokenizer.bos_token_id)
    for add, number in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if number is not None:
            add(number)
    writer.add_chat_template(base.prompts.template)
    return writer


def _write(writer: GGUFWriter) -> None:
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        with suppress(OSError):  # what a full disk did not take it would not take now
            writer.close()


def _numbers(writer: GGUFWriter, config: Any) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
