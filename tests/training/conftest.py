"""The small model that every test of the training host works on, made once a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import small_model
import torch

from perslm_training_host.llama_quantize import llama_quantize
from perslm_training_host.llama_scores import Scorer

torch.set_num_threads(
    1
)  # two threads at a model of a million weights wait for each other longer than they compute


@dataclass(frozen=True, slots=True)
class Small:
    """Files of the small model: the parent in F32, and the texts."""

    folder: Path
    parent: Path
    train: Path
    held_out: Path

    def quantized(self, kind: str) -> Path:
        """The parent in `kind`, every matrix of it."""
        path = self.folder / f"{kind}.gguf"
        if not path.exists():
            llama_quantize(self.parent, path, kind, pure=True)
        return path

    def tokens(self, path: Path) -> list[int]:
        """The tokens of a text."""
        with Scorer(self.parent, only_tokens=True) as tokenizer:
            return tokenizer.tokens(path.read_text(encoding="utf-8"))


def make(folder: Path, seed: int = 0) -> Small:
    """The model with its texts, in `folder`."""
    text = small_model.train_text()
    small = Small(folder, folder / "parent.gguf", folder / "train.txt", folder / "held-out.txt")
    small_model.write_gguf(small_model.make_model(seed), small_model.make_tokenizer(text), small.parent)
    small.train.write_text(text, encoding="utf-8")
    small.held_out.write_text(small_model.held_out_text(), encoding="utf-8")
    return small


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The small model, made once a file of tests."""
    return make(tmp_path_factory.mktemp("small"))
