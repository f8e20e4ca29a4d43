"""What every test shares: the real models on disk, and a loop that no blocking call may hold up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from perslm_build.suite import pytest_runtest_logreport  # noqa: F401 - a hook, which pytest finds by its name
from perslm_runtime.model import ChatModel
from real_models import build_model, model_path

collect_ignore = ["training"]  # runs in .venv-train: test_training_host.py starts it


# Sound is real time: a microphone that is not read for half a second counts as lost, as it should.
ALONE = {
    "test_arbitration_mqtt",
    "test_chime_echo",
    "test_cli_audio",
    "test_ears",
    "test_ears_noise",
    "test_live",
    "test_mouth",
    "test_serve_sound",
    "test_sound_card",
    "test_sound_server",
    "test_voice",
    "test_wyoming",
    "test_wyoming_satellites",
}


LONGEST = "test_training_host"
"""Its file is one long wait: begun last, it would be waited for alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem != LONGEST)
    for item in items:
        if item.path.stem in ALONE:
            item.add_marker("alone")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_blocking_in_the_loop() -> Iterator[BlockBuster]:
    """A blocking call made in the event loop's thread fails the test."""
    with blockbuster_ctx() as blockbuster:
        yield blockbuster


@pytest.fixture(scope="session")
def small_gguf() -> Path:
    return model_path("smollm2-135m-q4_1", "model.gguf")


@pytest.fixture(scope="module")
def chat_model(small_gguf: Path) -> Iterator[ChatModel]:
    """One loaded model for a module's tests; each begins its own conversation."""
    model = build_model(small_gguf)
    yield model
    model.close()
