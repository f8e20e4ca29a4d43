"""`perslm ask`, `chat` and `demo` as processes: what a person types and what comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perslm_runtime.audio import read_wav, write_wav
from perslm_runtime.lane import Stop
from perslm_runtime.tts import Piper
from real_models import model_path, models_dir, with_heads

COMMAND = [sys.executable, "-c", "from perslm_daemon.cli import main; main()"]


@pytest.fixture(scope="module", autouse=True)
def needed_models() -> None:
    for model, file in (
        ("smollm2-135m-q4_1", "model.gguf"),
        ("all-minilm-l6-v2", "model.onnx"),
        ("whisper-tiny.en", "model.bin"),
        ("piper-en_US-joe-medium", "voice.onnx"),
    ):
        model_path(model, file)


def perslm(folder: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [
        *COMMAND,
        "--data-dir",
        str(with_heads(folder)),
        "--profile",
        "dev",
        "--set",
        f"models_dir={models_dir()}",
    ]
    return subprocess.run(
        [*command, *arguments], input=typed, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden question, in the Piper voice, at its own 22,050 Hz."""
    path = tmp_path_factory.mktemp("sound") / "question.wav"
    voice = Piper(model_path("piper-en_US-joe-medium", "voice.onnx").parent, 1)
    (sound,) = voice.speak("What is the name of my sister?", Stop())
    write_wav(path, sound)
    voice.close()
    return path


def test_a_recorded_question_is_answered_from_memory_by_voice(question: Path, tmp_path: Path) -> None:
    told = perslm(tmp_path, "ask", "Please remember that my sister's name is Ana.")
    assert told.returncode == 0, told.stderr
    spoken = tmp_path / "answer.wav"
    asked = perslm(tmp_path, "--json", "ask", "--audio", str(question), "--speak", str(spoken))
    assert asked.returncode == 0, asked.stderr
    turn = json.loads(asked.stdout)
    assert "sister" in turn["heard"].lower()
    assert any("Ana" in memory["text"] and memory["score"] > 0 for memory in turn["recalled"])
    assert "Ana" in turn["reply"]
    assert turn["model"] == "smollm2-135m-q4_1"
    times = {name: value for name, value in turn["timings_ms"].items() if name != "intent"}
    assert set(times) == {"stt", "recall", "first_token", "first_sentence", "first_audio", "total"}
    assert all(value > 0 for value in times.values())
    assert read_wav(spoken).seconds > 0.5
    heard = perslm(tmp_path, "--json", "transcribe", str(spoken))
    assert "sister" in json.loads(heard.stdout)["text"].lower()


SUMS = (
    "What is 15 % of 80?\nHow many ounces are 600 grams?\nWhat time is it in Tokyo?\n"
    "How many days until December 24?\n"
)


def test_a_chat_reads_lines_until_the_input_ends(tmp_path: Path) -> None:
    result = perslm(
        tmp_path, "chat", typed="What is the capital of Italy?\n\n/new\n/help\nAnd of France?\n" + SUMS
    )
    assert result.returncode == 0, result.stderr
    assert "Rome" in result.stdout
    for answer in ("That is 12.", "ounces.", "In Tokyo it is ", " until then."):  # computed, not guessed
        assert answer in result.stdout
    assert "/quit" in result.stderr


def test_what_cannot_be_asked_is_told_with_its_exit_code_and_no_traceback(tmp_path: Path) -> None:
    nothing = perslm(tmp_path, "ask")
    assert (nothing.returncode, nothing.stdout) == (3, "")
    assert "--audio" in nothing.stderr
    text = tmp_path / "notes.wav"
    text.write_text("not audio")
    broken = perslm(tmp_path, "--json", "ask", "--audio", str(text))
    assert broken.returncode == 3
    assert json.loads(broken.stderr.splitlines()[-1])["error"]["kind"] == "InputError"
    nowhere = perslm(tmp_path, "ask", "hello", "--speak", str(tmp_path / "no" / "where.wav"))
    assert nowhere.returncode == 3
    assert "Traceback" not in nothing.stderr + broken.stderr + nowhere.stderr


def test_a_missing_model_says_which_command_gets_it(tmp_path: Path) -> None:
    result = perslm(tmp_path, "ask", "hello", "--set", f"models_dir={tmp_path / 'empty'}")
    assert result.returncode == 4
    assert "perslm models pull smollm2-135m-q4_1" in result.stderr


def test_ctrl_c_ends_an_ask_cleanly(tmp_path: Path) -> None:
    command = [
        *COMMAND,
        "--data-dir",
        str(with_heads(tmp_path)),
        "--profile",
        "dev",
        "--set",
        f"models_dir={models_dir()}",
    ]
    with subprocess.Popen(
        [*command, "ask", "Tell me a long story about a cat."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PERSLM_MODEL__MAX_REPLY_TOKENS": "1000", "PERSLM_MODEL__REPEAT_PENALTY": "1.3"},
    ) as child:
        assert child.stdout is not None
        first = child.stdout.read(1)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=30)
        took_s = time.monotonic() - began
    assert first
    assert child.returncode == 130
    assert "Traceback" not in errors
    assert took_s < 10


def test_the_demonstration_shows_the_main_job_and_forgets_what_it_learned(tmp_path: Path) -> None:
    result = perslm(tmp_path, "demo")
    assert result.returncode == 0, result.stderr
    for part in ("memory", "embed", "model", "stt", "tts"):
        assert part in result.stderr
    assert "Ana" in result.stdout
    assert read_wav(tmp_path / "answer.wav").seconds > 0.5
    left = perslm(tmp_path, "--json", "memory", "list")
    assert "Ana" not in left.stdout
