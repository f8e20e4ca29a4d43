"""The models on disk, opened as the `dev` profile opens them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from perslm_daemon.config import Flags, load
from perslm_daemon.config_sections import Config
from perslm_runtime.llama import LlamaOptions
from perslm_runtime.model import ChatModel
from perslm_runtime.prompt import EXAMPLES


def models_dir() -> Path:
    """Where `make test` has put the models."""
    default = Path.home() / ".local/share/perslm/models"
    return Path(os.environ.get("PERSLM_MODELS_DIR", default))


def model_path(model: str, *parts: str) -> Path:
    """A file of a pulled model; the test is skipped, with the command to run, where it is missing."""
    path = models_dir().joinpath(model, *parts)
    if not path.exists():
        pytest.skip(f"model {model} is not pulled: run `perslm models pull {model}`")
    return path


HEADS = Path.home() / ".cache/perslm/tests/heads"
"""Snapshots of prompt heads that several tests share: reading a head costs half a second of both cores."""


def with_heads(data: Path) -> Path:
    """A data folder whose daemon need not read its prompt's head when another test has. Returns it."""
    place = data / "snapshots"
    if not place.exists():
        HEADS.mkdir(parents=True, exist_ok=True)
        data.mkdir(parents=True, exist_ok=True)
        place.symlink_to(HEADS)
    return data


def load_with_heads(flags: Flags, environ: Mapping[str, str] | None = None, *, with_kept: bool = False) -> Config:
    """The configuration, as a daemon in this process loads it, of a data folder as `with_heads` makes it."""
    assert flags.data_dir is not None
    with_heads(flags.data_dir)
    return load(flags, environ, with_kept=with_kept)


def build_model(file: Path, snapshots: Path | None = HEADS, **changes: int | str) -> ChatModel:
    """The small model as the `dev` profile opens it."""
    options = LlamaOptions(
        context_tokens=int(changes.get("context_tokens", 1024)),
        threads=2,
        batch_threads=2,
        batch_tokens=int(changes.get("batch_tokens", 128)),
    )
    return ChatModel(
        file,
        options,
        system=str(changes.get("system", Config().model.system_prompt)),
        examples=EXAMPLES,
        max_reply_tokens=int(changes.get("max_reply_tokens", 48)),
        snapshots=snapshots,
    )
