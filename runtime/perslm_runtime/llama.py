"""llama.cpp's C interface, as small as PersLM needs it.

Owns one model, one context with one sequence, and one sampler chain; frees them in `close`. It knows tokens
and positions, not conversations (model.py does). The high-level `Llama` class is not used: it copies a row
of logits per token into Python (311 MB for a 152k vocabulary), saves whole score matrices with its states,
and refuses where PersLM has to go on. All methods are for one thread, the lane's.

Source: llama.h of llama-cpp-python 0.3.36, read through its ctypes module.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import Cancelled, EngineError, InputError
from perslm_runtime.lane import Stop, stop_of_build
from perslm_runtime.llama_library import c as _c
from perslm_runtime.llama_library import last_words

_GGUF_MAGIC = b"GGUF"
_KV_TYPES = {"f16": 1, "q8_0": 8}  # ggml_type numbers
_ABORTED = 2  # llama_decode's answer when the abort callback said so


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """How to open a GGUF file. Token counts are tokens; `kv` is the cache's type, "q8_0" or "f16"."""

    context_tokens: int = 2048
    batch_tokens: int = 128
    threads: int = 2
    batch_threads: int = 2
    kv: str = "q8_0"
    flash_attention: bool = True
    mmap: bool = True
    mlock: bool = False


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 takes the likeliest token (deterministic).

    `repeat_penalty` looks at the last 64 generated tokens only, never at the prompt, so that a recalled
    name can be repeated freely.
    """

    temperature: float = 0.0
    top_p: float = 0.95
    repeat_penalty: float = 1.0
    seed: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0

    @property
    def penalizes(self) -> bool:
        """Whether words that were used lose weight."""
        return self.repeat_penalty != 1.0 or self.frequency_penalty != 0.0 or self.presence_penalty != 0.0


def system_info() -> str:
    """The CPU features this llama.cpp build uses, as it prints them ("AVX2 = 1 | REPACK = 1 | ...")."""
    info: bytes = _c.llama_print_system_info()
    return info.decode("utf-8", "replace")


class Llama:
    """One GGUF file, opened for text generation on the CPU, with a LoRA adapter put onto it where one is given.

    Raises `EngineError` when a file is missing, no GGUF, or does not fit the options or the model.
    """

    def __init__(self, file: Path, options: LlamaOptions, adapter: Path | None = None) -> None:
        self.file = file
        self.files = (file,) if adapter is None else (file, adapter)
        self.options = options
        self._stop: Stop | None = None
        self._sampler: Any = None
        self._ctx: Any = None
        self._lora: Any = None
        for path in self.files:
            _check_magic(path)
        _c.llama_backend_init()
        self._model = self._load_model()
        self.vocab = _c.llama_model_get_vocab(self._model)  # freed with the model
        self._abort = _c.ggml_abort_callback(lambda _data: bool(self._stop))
        try:
            if adapter is not None:
                self._lora = self._load_adapter(adapter)
            self.resize(options.context_tokens)
        except EngineError:
            self.close()
            raise
        self._one = (_c.llama_token * 1)()
        self._one_batch = _c.llama_batch_get_one(self._one, 1)
        self._piece = ctypes.create_string_buffer(256)
        self.set_sampling(Sampling())

    def _load_model(self) -> Any:
        params = _c.llama_model_default_params()
        params.n_gpu_layers = 0
        mode = (_c.LLAMA_LOAD_MODE_MMAP if self.options.mmap else 0) | (
            _c.LLAMA_LOAD_MODE_MLOCK if self.options.mlock else 0
        )
        params.load_mode = mode
        stop = stop_of_build()
        params.progress_callback = _c.llama_progress_callback(lambda _part, _data: not stop)
        model = _c.llama_model_load_from_file(str(self.file).encode(), params)
        if not model:
            stop.check()
            raise EngineError(
                f"{self.file} could not be loaded ({last_words()}): run `perslm models verify` and pull it again"
            )
        return model

    def _load_adapter(self, file: Path) -> Any:
        lora = _c.llama_adapter_lora_init(self._model, str(file).encode())
        if not lora:
            raise EngineError(
                f"the adapter {file.name} does not fit {self.file.name} ({last_words()}): take one made for it"
            )
        return lora

    def resize(self, context_tokens: int) -> None:
        """Replace the context by an empty one of that size; the weights stay. Raises `EngineError`.

        The former is freed first: this is what a board with no memory left does to get some back.
        """
        if self._ctx:
            _c.llama_free(self._ctx)
            self._ctx = None
        self._ctx = self._open_context(context_tokens, self.options.kv, flash=self.options.flash_attention)
        self._memory = _c.llama_get_memory(self._ctx)
        if self._lora:
            adapters, scales = (_c.llama_adapter_lora_p_ctypes * 1)(self._lora), (ctypes.c_float * 1)(1.0)
            if _c.llama_set_adapters_lora(self._ctx, adapters, 1, scales) != 0:
                raise EngineError(f"the adapter could not be put onto {self.file.name} ({last_words()})")

    def _open_context(self, tokens: int, kv: str, *, flash: bool) -> Any:
        params = _c.llama_context_default_params()
        params.n_ctx = tokens
        params.n_batch = params.n_ubatch = self.options.batch_tokens
        params.n_seq_max = 1
        params.n_threads = self.options.threads
        params.n_threads_batch = self.options.batch_threads
        params.flash_attn_type = _c.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else _c.LLAMA_FLASH_ATTN_TYPE_DISABLED
        # Without flash attention a quantized V makes the context fail.
        self.kv = kv if flash else "f16"
        params.type_k = params.type_v = _KV_TYPES[self.kv]
        params.abort_callback = self._abort
        params.no_perf = True
        ctx = _c.llama_init_from_model(self._model, params)
        if ctx:
            return ctx
        if kv != "f16":  # head sizes that are no multiple of 32 cannot hold q8_0 blocks
            return self._open_context(tokens, "f16", flash=flash)
        raise EngineError(
            f"no context of {tokens} tokens for {self.file.name} ({last_words()}): set model.context_tokens lower"
        )

    def close(self) -> None:
        """Free the sampler, the context, the adapter and the model, in this order. May be called twice."""
        if self._sampler:
            _c.llama_sampler_free(self._sampler)
        if self._ctx:
            _c.llama_free(self._ctx)
        if self._lora:
            _c.llama_adapter_lora_free(self._lora)
        if self._model:
            _c.llama_model_free(self._model)
        self._sampler = self._ctx = self._lora = self._model = None

    # What the file says of itself

    def metadata(self, key: str) -> str | None:
        """The GGUF metadata value of `key` as text, or None."""
        size = 1 << 16
        buffer = ctypes.create_string_buffer(size)
        length: int = _c.llama_model_meta_val_str(self._model, key.encode(), buffer, size)
        return buffer.value.decode("utf-8", "replace") if length >= 0 else None

    @property
    def chat_template(self) -> str | None:
        """The Jinja chat template inside the file, or None."""
        raw: bytes | None = _c.llama_model_chat_template(self._model, None)
        return raw.decode() if raw else None

    @property
    def description(self) -> str:
        """Architecture, size class and quantization, e.g. "llama 134.52M Q4_1"."""
        buffer = ctypes.create_string_buffer(256)
        _c.llama_model_desc(self._model, buffer, 256)
        return buffer.value.decode("utf-8", "replace")

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors: what decoding one token has to read."""
        return int(_c.llama_model_size(self._model))

    @property
    def context_tokens(self) -> int:
        """Tokens that fit the context."""
        return int(_c.llama_n_ctx(self._ctx))

    @property
    def trained_context_tokens(self) -> int:
        """Tokens the model was trained to look back."""
        return int(_c.llama_model_n_ctx_train(self._model))

    # Text and tokens

    def tokenize(self, text: str, *, special: bool, begin: bool = False) -> list[int]:
        """Token ids of `text`. Only with `special` are control tokens such as <|im_end|> recognized in it.

        `begin` puts the model's own begin-of-text token in front where it wants one. Text that no encoder
        accepts (lone surrogates) has the offending characters replaced.
        """
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        tokens = (_c.llama_token * room)()
        count: int = _c.llama_tokenize(self.vocab, raw, len(raw), tokens, room, begin, special)
        if count < 0:
            raise InputError(f"text of {len(raw)} bytes could not be turned into tokens")
        return list(tokens[:count])

    def piece(self, token: int) -> bytes:
        """The bytes `token` stands for; control tokens give b"". May be part of a UTF-8 character."""
        length: int = _c.llama_token_to_piece(self.vocab, token, self._piece, 256, 0, False)
        return self._piece.raw[:length] if length > 0 else b""

    def is_end(self, token: int) -> bool:
        """Whether `token` ends a reply: an end-of-generation or any other control token."""
        return bool(_c.llama_vocab_is_eog(self.vocab, token) or _c.llama_vocab_is_control(self.vocab, token))

    # Computing

    def decode(self, tokens: Sequence[int], stop: Stop) -> None:
        """Append `tokens` to the sequence, in batches. `stop` ends it within one graph node (~10 ms).

        Raises `Cancelled` when stopped: some of the tokens may then be in the cache, so the caller truncates.
        """
        self._stop = stop
        step = self.options.batch_tokens
        for start in range(0, len(tokens), step):
            stop.check()
            part = tokens[start : start + step]
            array = (_c.llama_token * len(part))(*part)
            self._run(_c.llama_batch_get_one(array, len(part)))

    def decode_one(self, token: int, stop: Stop) -> None:
        """Append one token: what a generation loop does; nothing is allocated."""
        self._stop = stop
        self._one[0] = token
        self._run(self._one_batch)

    def _run(self, batch: Any) -> None:
        code: int = _c.llama_decode(self._ctx, batch)
        if code == _ABORTED or self._stop:
            raise Cancelled("stopped while the model was computing")
        if code != 0:
            raise EngineError(f"llama_decode answered {code} ({last_words()})")

    def truncate(self, length: int) -> bool:
        """Drop everything at and after position `length`; False where the model's memory cannot do that."""
        return bool(_c.llama_memory_seq_rm(self._memory, 0, length, -1))

    def clear(self) -> None:
        """Forget the whole sequence, and overwrite nothing else."""
        _c.llama_memory_clear(self._memory, True)

    def set_sampling(self, sampling: Sampling) -> None:
        """Replace the sampler chain (and with it the penalties' memory)."""
        if self._sampler:
            _c.llama_sampler_free(self._sampler)
        chain = _c.llama_sampler_chain_init(_c.llama_sampler_chain_default_params())
        if sampling.penalizes or sampling.temperature > 0:
            # Top-k first: what follows looks at 40 candidates, not at a whole vocabulary. The penalty alone took
            # 0.16 ms of a 7 ms token before.
            _c.llama_sampler_chain_add(chain, _c.llama_sampler_init_top_k(40))
        if sampling.penalizes:
            size = _c.llama_vocab_n_tokens(self.vocab)
            penalty = _c.llama_sampler_init_penalties(
                size, 64, sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty
            )
            _c.llama_sampler_chain_add(chain, penalty)
        if sampling.temperature <= 0:
            _c.llama_sampler_chain_add(chain, _c.llama_sampler_init_greedy())
        else:
            _c.llama_sampler_chain_add(chain, _c.llama_sampler_init_top_p(sampling.top_p, 1))
            _c.llama_sampler_chain_add(chain, _c.llama_sampler_init_temp(sampling.temperature))
            _c.llama_sampler_chain_add(chain, _c.llama_sampler_init_dist(sampling.seed))
        self._sampler = chain

    def reset_sampling(self) -> None:
        """Forget what the penalties have seen: a new reply begins."""
        _c.llama_sampler_reset(self._sampler)

    def seen(self, tokens: Sequence[int]) -> None:
        """Let the penalties know of tokens that were chosen before."""
        for token in tokens:
            _c.llama_sampler_accept(self._sampler, token)

    def sample(self) -> int:
        """Choose the next token from the logits of the last decoded one."""
        return int(_c.llama_sampler_sample(self._sampler, self._ctx, -1))

    @property
    def logits(self) -> NDArray[np.float32]:
        """The last decoded token's logits, float32 [vocabulary]; valid until the next decode."""
        size = _c.llama_vocab_n_tokens(self.vocab)
        return np.ctypeslib.as_array(_c.llama_get_logits_ith(self._ctx, -1), (size,))

    # The state of the sequence as bytes

    @property
    def state_bytes(self) -> int:
        """How many bytes `state` would give."""
        return int(_c.llama_state_seq_get_size(self._ctx, 0))

    def state(self) -> bytes:
        """The sequence's cache as llama.cpp serializes it (about the KV bytes of its tokens)."""
        size: int = _c.llama_state_seq_get_size(self._ctx, 0)
        buffer = (ctypes.c_uint8 * size)()
        written: int = _c.llama_state_seq_get_data(self._ctx, buffer, size, 0)
        return bytes(memoryview(buffer)[:written])

    def restore(self, state: memoryview) -> bool:
        """Replace the sequence by a saved one. Give it only bytes whose checksum was verified."""
        self.clear()
        size = len(state)
        buffer = (ctypes.c_uint8 * size).from_buffer_copy(state)
        return int(_c.llama_state_seq_set_data(self._ctx, buffer, size, 0)) == size


@dataclass(frozen=True, slots=True)
class BareSpeed:
    """Tokens per second of a bare llama_decode loop: the physical reference for PersLM's own speed."""

    prefill: float
    decode: float


def bare_speed(llama: Llama, before: Sequence[int], prompt: Sequence[int], generate: int) -> BareSpeed:
    """Run a greedy loop on `llama`'s own context with nothing between the library's calls; clears the sequence.

    `before` is put into the cache untimed, so that attention looks back as far as in our own turns; `prompt` is
    decoded in the same batches. For `perslm bench raw`, in the same process and minute as ours.
    """
    ctx, step = llama._ctx, llama.options.batch_tokens
    greedy = _c.llama_sampler_chain_init(_c.llama_sampler_chain_default_params())
    _c.llama_sampler_chain_add(greedy, _c.llama_sampler_init_greedy())
    llama.clear()
    llama.decode(before, Stop())
    _c.llama_synchronize(ctx)
    began = time.perf_counter()
    for start in range(0, len(prompt), step):
        part = prompt[start : start + step]
        array = (_c.llama_token * len(part))(*part)
        _c.llama_decode(ctx, _c.llama_batch_get_one(array, len(part)))
    _c.llama_synchronize(ctx)
    filled = time.perf_counter()
    one = (_c.llama_token * 1)()
    batch = _c.llama_batch_get_one(one, 1)
    for _ in range(generate):
        one[0] = _c.llama_sampler_sample(greedy, ctx, -1)
        _c.llama_decode(ctx, batch)
    ended = time.perf_counter()
    _c.llama_sampler_free(greedy)
    llama.clear()
    return BareSpeed(len(prompt) / (filled - began), generate / (ended - filled))


def _check_magic(file: Path) -> None:
    try:
        with file.open("rb") as handle:
            magic = handle.read(4)
    except OSError as error:
        raise EngineError(
            f"the model file {file} cannot be read ({error.strerror}): run `perslm models list`"
        ) from error
    if magic != _GGUF_MAGIC:
        raise EngineError(f"{file} is not a GGUF model file: run `perslm models verify` and pull it again")
