"""The model that is taught: out of a GGUF file or a Hugging Face folder, in PyTorch, with the board's own prompts.

A GGUF file is dequantized to float32; what that takes is checked before. Prompts are put together by the runtime's
own functions, from the same chat template, so that what is trained is what the board will ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from perslm_runtime.errors import EngineError, InputError
from perslm_runtime.prompt import CHATML, Conversation, chat_format, start_conversation
from perslm_training_host import gguf_file, gguf_model, model_facts, packed_attention
from perslm_training_host.packing import Batch, Dialogue
from perslm_training_host.preflight import TooLittleMemory

_BYTES_PER_WEIGHT = 4
_EACH_DIGIT = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"}
"""llama.cpp's names of tokenizers that cut out every digit, then go on as GPT-2's."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """A model's tokenizer and chat template: text as the tokens that the board's engine would make of it."""

    tokenizer: Any  # transformers has no types
    template: str

    def tokens(self, text: str, *, special: bool = False, begin: bool = False) -> list[int]:
        """Tokens of `text`; control tokens in it are read only where `special`."""
        raw = self.tokenizer.backend_tokenizer
        raw.encode_special_tokens = not special
        adds = begin and bool(getattr(self.tokenizer, "add_bos_token", False))
        found: list[int] = raw.encode(text, add_special_tokens=adds).ids
        return found

    def head(self, system: str, examples: Sequence[tuple[str, str]]) -> Conversation:
        """A prompt's head with what opens and closes a reply, as the runtime puts it together."""
        return start_conversation(self.tokens, chat_format(self.template), system, examples, 1 << 20)

    def dialogue(self, talk: Conversation, question: str, answer: str) -> Dialogue:
        """A question and its answer behind `talk`'s head; the answer ends with the token that ends a reply."""
        return Dialogue([*self.tokens(question), *talk.opening], [*self.tokens(answer), talk.closing[0]])


@dataclass(frozen=True, slots=True)
class Base:
    """A model in float32 with its prompts, and where it came from."""

    model: Any  # transformers has no types
    prompts: Prompts
    path: Path


def prompts_of(path: Path) -> Prompts:
    """The tokenizer and chat template of a model that is not loaded. Raises InputError for a broken one."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast  # noqa: PLC0415 - seconds to import

    gguf = {"gguf_file": path.name} if path.is_file() else {}
    folder = str(path.parent if path.is_file() else path)
    head = gguf_file.read(path) if path.is_file() else None
    # It reads a first Gemma's tokenizer but for the way through the model's config, which it does not know.
    first_gemma = head is not None and head.architecture == "gemma"
    loader = PreTrainedTokenizerFast if first_gemma else AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(folder, local_files_only=True, **gguf)
        if head is not None and head.metadata.get("tokenizer.ggml.pre") in _EACH_DIGIT:
            _cut_each_digit(tokenizer)
    except Exception as error:  # every loader below raises its own kinds
        raise InputError(f"{path} has no tokenizer that can be read ({error}): fetch it again") from error
    return Prompts(tokenizer, tokenizer.chat_template or CHATML)


def _cut_each_digit(tokenizer: Any) -> None:
    """Cut text as llama.cpp does for these files, which transformers does not: 27 of 1,000 strings were others."""
    from tokenizers import pre_tokenizers  # noqa: PLC0415 - with transformers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def load(path: Path, device: str = "cpu") -> Base:
    """Load a `.gguf` file or a folder with safetensors, float32, ready to be trained.

    llama, qwen and gemma files are dequantized by our own reader, others (gemma3, phi3, …) by transformers'.
    Raises TooLittleMemory before anything is loaded, InputError for a missing or broken model.
    """
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - seconds to import

    if not path.exists():
        raise InputError(f"{path} does not exist: give a GGUF file or a folder with config.json and safetensors")
    file = gguf_file.read(path) if path.is_file() else None
    _check_memory(model_facts.read(path))
    gguf = {"gguf_file": path.name} if path.is_file() else {}
    folder = str(path.parent if path.is_file() else path)
    prompts = prompts_of(path)
    try:
        if file is not None and file.architecture in gguf_model.MAPPED:
            model = gguf_model.load(file)
        else:
            model = _by_transformers(AutoModelForCausalLM, folder, gguf)
    except (InputError, EngineError):
        raise
    except Exception as error:  # every loader below raises its own kinds
        raise InputError(f"{path} cannot be loaded ({type(error).__name__}: {error}): fetch it again") from error
    model.config.use_cache = False
    return Base(model.to(device), prompts, path)


def _by_transformers(loader: Any, folder: str, gguf: dict[str, str]) -> Any:
    """A model as transformers reads it; out of a GGUF file it refuses to be saved until these marks are gone."""
    if gguf and find_spec("accelerate") is None:
        raise EngineError(
            "a GGUF file of this architecture is read by transformers, which needs accelerate:"
            " .venv-train/bin/pip install 'perslm[more-models]'"
        )
    model = loader.from_pretrained(folder, dtype=torch.float32, local_files_only=True, **gguf)
    if gguf:
        model.hf_quantizer = model.is_quantized = model.quantization_method = None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
    return model


def _check_memory(facts: model_facts.Facts) -> None:
    needed, free = facts.weights * _BYTES_PER_WEIGHT, psutil.virtual_memory().available
    if needed > free:
        raise TooLittleMemory(
            f"{facts.path} has {facts.weights / 1e6:.0f} million weights, {needed / 1e9:.1f} GB in float32, and"
            f" {free / 1e9:.1f} GB are free: take a smaller model or a larger machine"
        )


class AnswerModel(nn.Module):  # type: ignore[misc]  # torch has no types here
    """The model as training calls it: a packed batch in, logits at the answers out. DDP and FSDP wrap this."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        packed_attention.install(model)
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        """Logits [answers, vocabulary], at the answers alone: over all tokens they are a third of the work."""
        hidden = self.model.model(
            input_ids=batch.tokens,
            attention_mask=batch.mask(),
            position_ids=batch.positions,
            use_cache=False,
            packed=batch,
        ).last_hidden_state
        chosen = hidden.reshape(-1, hidden.shape[-1])[batch.sources]
        logits: Tensor = self.model.lm_head(chosen)
        return logits


def device_of(name: str) -> torch.device:
    """The device called `name` ("cpu", "cuda"). Raises EngineError where this machine has none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise EngineError("this machine has no CUDA device that PyTorch can use: give --device cpu")
    return torch.device(name)
