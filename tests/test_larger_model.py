"""The board's larger model, 1.5 billion parameters: the same engine, another architecture and template."""

from __future__ import annotations

from pathlib import Path

import pytest

from perslm_runtime.lane import Stop
from perslm_runtime.model import ReplyEnd
from perslm_runtime.prompt import user_text
from real_models import build_model, model_path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def gguf() -> Path:
    return model_path("qwen2.5-coder-1.5b-q4_k_m", "model.gguf")


def test_the_larger_model_answers_from_memory_and_restores_its_head(gguf: Path, tmp_path: Path) -> None:
    told = user_text("What is the name of my sister?", ["My sister's name is Ana.", "I live in Porto."])
    heads: list[str] = []
    replies: list[str] = []
    for _ in range(2):
        model = build_model(gguf, tmp_path)
        heads.append(model.head_from)
        pieces = list(model.reply(Stop(), told))
        replies.append("".join(piece for piece in pieces if isinstance(piece, str)))
        assert isinstance(pieces[-1], ReplyEnd)
        assert pieces[-1].reused_tokens == model.head_tokens
        model.close()
    assert heads == ["prefill", "snapshot"]
    assert replies[0] == replies[1]
    assert "Ana" in replies[0]
