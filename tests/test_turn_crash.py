"""kill -9 at random moments of turns: what was reported as done is there, and the next start works."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from perslm_runtime.memory import Memory
from real_models import models_dir

ROUNDS = int(os.environ.get("PERSLM_STRESS_ROUNDS", "10"))


@pytest.mark.stress
@pytest.mark.timeout(60 + ROUNDS * 12)
def test_kill_9_at_any_moment_of_a_turn_loses_no_reply_that_was_reported_as_done(
    small_gguf: Path, tmp_path: Path
) -> None:
    del small_gguf  # skips where the model is missing
    chance = random.Random(20)  # noqa: S311 - moments, no secrets; the real randomness is the scheduler's
    reported: dict[int, tuple[str, str]] = {}
    started = 0
    for _ in range(ROUNDS):
        lines = run_and_kill(tmp_path, after_ready_s=chance.uniform(0.0, 0.7))
        started += "ready" in lines
        for line in lines:
            if line.startswith("{"):
                done = json.loads(line)
                reported[done["id"]] = (done["said"], done["reply"])
        check(tmp_path, reported)
    assert started == ROUNDS, "every start after a kill has to work"
    assert reported, "some turns have to finish between the kills"


def run_and_kill(folder: Path, after_ready_s: float) -> list[str]:
    """Start the child, kill it that long after it said "ready", and return its whole lines."""
    script = Path(__file__).with_name("turn_child.py")
    settings = [f"models_dir={models_dir()}", "model.max_reply_tokens=8", "embed.enabled=false"]
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, str(script), str(folder), *settings], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        timer = threading.Timer(after_ready_s, child.kill)
        for line in child.stdout:
            lines.append(line.strip())
            if lines == ["ready"]:
                timer.start()
        timer.join()
    return lines


def check(folder: Path, reported: dict[int, tuple[str, str]]) -> None:
    store = Memory(folder / "memory.db")
    try:
        store.check()
        for number, (said, reply) in reported.items():
            entry = store.get(number)
            assert entry is not None, f"turn {number} was reported as done and is gone"
            assert (entry.said, entry.reply) == (said, reply)
    finally:
        store.close()
