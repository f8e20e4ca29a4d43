"""Teachers that say how likely every next token is: a torch model, or a GGUF file in llama.cpp.

A torch model keeps its answer as hidden states, of which logits are made chunk by chunk; llama.cpp gives the k
likeliest words and the rest's mass, in any quantization a file has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from perslm_runtime.errors import InputError
from perslm_training_host.divergence import LEAST, with_rest
from perslm_training_host.lessons import CHUNK, Dense, Likeliest, Wanted, multiplied_in
from perslm_training_host.llama_scores import PIECE, Scorer
from perslm_training_host.student_model import cap_of


class Teacher(Protocol):
    """Says what comes next."""

    def wanted(self, tokens: Tensor, sources: Tensor) -> Wanted:
        """What it holds possible after the places `sources` [places] of the flattened `tokens` [rows, length]."""

    def close(self) -> None:
        """Free the model."""


class TorchTeacher:
    """A Hugging Face model. Dense where `likeliest` is 0."""

    def __init__(self, model: Any, *, likeliest: int = 0, temperature: float = 1.0, bf16: bool = False) -> None:
        self._model = model.requires_grad_(False).eval()
        self._likeliest, self._temperature, self._bf16 = likeliest, temperature, bf16
        self._cap = cap_of(model)
        self._heads: dict[torch.dtype, Tensor] = {}

    def wanted(self, tokens: Tensor, sources: Tensor) -> Wanted:
        """As the protocol says."""
        with torch.no_grad(), torch.autocast(tokens.device.type, torch.bfloat16, enabled=self._bf16):
            hidden = self._model.model(input_ids=tokens, use_cache=False).last_hidden_state
            dense = Dense(hidden.reshape(-1, hidden.shape[-1])[sources], self._head, self._temperature)
            return self._cut(dense) if self._likeliest else dense

    def _head(self, hidden: Tensor) -> Tensor:
        head = self._model.lm_head
        kind = multiplied_in(head.weight)
        if kind not in self._heads:
            self._heads[kind] = head.weight.to(kind)
        logits: Tensor = functional.linear(hidden, self._heads[kind], head.bias)
        return self._cap * torch.tanh(logits.float() / self._cap) if self._cap else logits

    def _cut(self, dense: Dense) -> Likeliest:
        ids, logs = [], []
        for at in range(0, len(dense.hidden), CHUNK):
            logits = self._head(dense.hidden[at : at + CHUNK]).float() / self._temperature
            best = logits.topk(min(self._likeliest, logits.shape[-1]), dim=-1).indices
            ids.append(best)
            logs.append(with_rest(logits, best))
        return Likeliest(torch.cat(ids), torch.cat(logs), self._temperature)

    def close(self) -> None:
        """Let the model go."""
        self._model = None
        self._heads.clear()


class LlamaTeacher:
    """A GGUF file of any quantization in llama.cpp: its `likeliest` words. Pieces of at most 512 tokens."""

    def __init__(self, path: Path, likeliest: int, *, temperature: float = 1.0) -> None:
        if likeliest < 1:
            raise InputError("a GGUF teacher in llama.cpp gives its likeliest words: give --likeliest 64")
        self._scorer = Scorer(path, threads=torch.get_num_threads())
        self._likeliest, self._temperature = min(likeliest, self._scorer.words), temperature

    def wanted(self, tokens: Tensor, sources: Tensor) -> Wanted:
        """As the protocol says."""
        length = tokens.shape[1]
        if length > PIECE:
            raise InputError(f"a GGUF teacher reads pieces of {PIECE} tokens: give --length {PIECE} or less")
        found = [self._of_row(row) for row in tokens.tolist()]
        chosen = sources.cpu()
        ids = torch.from_numpy(np.concatenate([row for row, _ in found]))[chosen]
        logs = torch.from_numpy(np.concatenate([row for _, row in found]))[chosen]
        return Likeliest(ids.to(tokens.device), logs.to(tokens.device), self._temperature)

    def _of_row(self, tokens: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        logits = self._scorer.logits(tokens, 0) / np.float32(self._temperature)
        best = np.argpartition(-logits, self._likeliest - 1, axis=1)[:, : self._likeliest].astype(np.int64)
        whole = torch.from_numpy(logits)
        logs = with_rest(whole, torch.from_numpy(best)).clamp(min=LEAST).numpy()
        return best, logs

    def close(self) -> None:
        """Free the file's model."""
        self._scorer.close()
