"""What every test shares: the real models on disk, and a loop that no blocking call may hold up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from perslm_runtime.llama import LlamaOptions
from perslm_runtime.model import ChatModel
from perslm_runtime.prompt import EXAMPLES, SYSTEM_TEXT

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning OpenMP threads ruin each other on two cores


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_blocking_in_the_loop() -> Iterator[BlockBuster]:
    """A blocking call made in the event loop's thread fails the test."""
    with blockbuster_ctx() as blockbuster:
        yield blockbuster


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


@pytest.fixture(scope="session")
def small_gguf() -> Path:
    return model_path("smollm2-135m-q4_1", "model.gguf")


def build_model(file: Path, snapshots: Path | None = None, **changes: int | str) -> ChatModel:
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
        system=str(changes.get("system", SYSTEM_TEXT.format(name="PersLM"))),
        examples=EXAMPLES,
        max_reply_tokens=int(changes.get("max_reply_tokens", 48)),
        snapshots=snapshots,
    )


@pytest.fixture(scope="module")
def chat_model(small_gguf: Path) -> Iterator[ChatModel]:
    """One loaded model for a module's tests; each begins its own conversation."""
    model = build_model(small_gguf)
    yield model
    model.close()
