"""The command line against a running PersLM: real processes, a real socket, real engines in one process only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from command_line import PROGRAM, ROOT, environment
from perslm_daemon import control, control_client, outbox
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.control import ControlSocket
from perslm_daemon.control_claim import Claim
from perslm_daemon.control_client import SOCKET_NAME, NotRunningError
from perslm_daemon.control_verbs import SocketVerbs
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.turn import Parts, Tell
from perslm_daemon.verbs import Args, Request, Verb, Verbs
from perslm_runtime.audio import read_wav
from perslm_runtime.lane import Lane
from perslm_runtime.memory import Memory
from perslm_runtime.stt import open_recognizer
from perslm_runtime.tts import Piper
from real_models import build_model, model_path

pytestmark = pytest.mark.anyio


async def perslm(home: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    run = partial(
        subprocess.run,
        [*PROGRAM, *arguments],
        env=environment(home),
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return await anyio.to_thread.run_sync(run)


@dataclass(frozen=True)
class Voices:
    """Where the models of ears and mouth lie."""

    tts: Path
    stt: Path


@pytest.fixture(scope="module")
def voices() -> Voices:
    return Voices(
        model_path("piper-en_US-joe-medium", "voice.onnx").parent,
        model_path("whisper-tiny.en", "model.bin").parent,
    )


async def status(_args: Args, _request: Request, _tell: Tell) -> dict[str, Any]:
    return {
        "state": "idle",
        "node": "test",
        "uptime_s": 3725.0,
        "models": {"model": "smollm2"},
        "degraded": [{"part": "stt", "reason": "no model"}],
        "health": {},
    }


async def imported(home: Path) -> list[str]:
    """The heavy modules that a typed question imports, and how it ended."""
    program = (
        "import sys; from perslm_daemon.cli import run; code = run(['ask', 'Hello!'])\n"
        "print(*sorted({'numpy', 'llama_cpp', 'onnxruntime', 'msgspec'} & set(sys.modules)), 'code', code)"
    )
    argv = [sys.executable, "-c", program]
    run = partial(subprocess.run, argv, env=environment(home), capture_output=True, text=True, check=True)
    done: subprocess.CompletedProcess[str] = await anyio.to_thread.run_sync(run)
    return done.stdout.splitlines()[-1].split()


@asynccontextmanager
async def running(home: Path, small_gguf: Path, voices: Voices | None = None) -> AsyncIterator[Pipeline]:
    """A PersLM with its control socket in `home`'s data folder."""
    folder = home / "data"
    async with AsyncExitStack() as stack:
        parts = Parts(await stack.enter_async_context(Lane("model", lambda: build_model(small_gguf))))
        await anyio.Path(folder).mkdir(mode=0o700)
        parts.memory = await stack.enter_async_context(Lane("memory", lambda: Memory(folder / "memory.db")))
        if voices is not None:
            parts.tts = await stack.enter_async_context(Lane("tts", lambda: Piper(voices.tts, 1)))
            parts.stt = await stack.enter_async_context(
                Lane("stt", lambda: open_recognizer("whisper", voices.stt, 2))
            )
        pipeline = await stack.enter_async_context(Pipeline(parts, model_id="smollm2-135m-q4_1"))
        own = SocketVerbs(pipeline, pipeline.ask, voice="piper-en_US-joe-medium")
        served = ControlSocket(folder / SOCKET_NAME, Verbs({}), Bulletin(), own=own)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        await tasks.start(served.serve)
        yield pipeline
        tasks.cancel_scope.cancel()


async def test_a_typed_question_is_answered_there_as_it_would_be_here(small_gguf: Path, tmp_path: Path) -> None:
    async with running(tmp_path, small_gguf):
        there = await perslm(tmp_path, "ask", "What is the capital of Italy?")
        assert there.returncode == 0, there.stderr
        assert "Rome" in there.stdout
        asked = await perslm(tmp_path, "ask", "What is the capital of Italy?", "--json")
        chat = await perslm(tmp_path, "chat", typed="What is the capital of Italy?\n/new\nAnd of France?\n/quit\n")
        assert chat.returncode == 0, chat.stderr
        assert "Rome" in chat.stdout
        assert await imported(tmp_path) == ["code", "0"]
        empty = await perslm(tmp_path, "ask", "word " * 3000, "--json")
        assert (empty.returncode, json.loads(empty.stderr)["error"]["kind"]) == (3, "InputError")
    turn = json.loads(asked.stdout)
    assert list(turn) == [
        *("turn", "heard", "reply", "recalled", "model", "intent", "timings_ms", "remembered_as", "interrupted"),
        "spoken",
        "problems",
    ]
    assert turn["spoken"] is None
    assert there.stdout == turn["reply"] + "\n"


async def test_sound_is_heard_there_and_the_answer_comes_here(
    small_gguf: Path, tmp_path: Path, voices: Voices
) -> None:
    async with running(tmp_path, small_gguf, voices):
        question, answer = tmp_path / "question.wav", tmp_path / "answer.wav"
        said = await perslm(tmp_path, "say", "What is the capital of Italy?", "--out", str(question), "--json")
        assert said.returncode == 0, said.stderr
        assert json.loads(said.stdout)["timings_ms"]["load"] == 0
        asked = await perslm(tmp_path, "ask", "--audio", str(question), "--speak", str(answer), "--json")
        assert asked.returncode == 0, asked.stderr
    turn = json.loads(asked.stdout)
    assert "italy" in turn["heard"].lower()
    assert turn["spoken"] == str(answer)
    sound = await anyio.to_thread.run_sync(read_wav, answer)
    assert sound.seconds > 0.3


async def test_memories_are_added_found_and_forgotten_there(small_gguf: Path, tmp_path: Path) -> None:
    async with running(tmp_path, small_gguf) as pipeline:
        added = json.loads((await perslm(tmp_path, "--json", "memory", "add", "The key is under the mat.")).stdout)
        assert added["with_vector"] is False  # this running PersLM has no embedder, the command would have had one
        found = json.loads((await perslm(tmp_path, "--json", "memory", "search", "key")).stdout)
        assert [one["id"] for one in found] == [added["id"]]
        forgotten = await perslm(tmp_path, "memory", "forget", str(added["id"]))
        assert forgotten.stdout.startswith(f"forgotten for good: 1 (id {added['id']})")
        assert pipeline.parts.memory is not None
        assert await pipeline.parts.memory.call(lambda store, _stop: store.count()) == 0


async def test_status_tells_how_it_is(tmp_path: Path) -> None:
    verbs = Verbs({"status": Verb("status", Args, "status", status)})
    served = ControlSocket(tmp_path / "data" / SOCKET_NAME, verbs, Bulletin(), lambda: "perslm_up 1\n")
    async with anyio.create_task_group() as tasks:
        await tasks.start(served.serve)
        told = await perslm(tmp_path, "status")
        assert "state      idle" in told.stdout
        assert f"for 1:02:05 (pid {os.getpid()})" in told.stdout
        assert "stt: no model" in told.stdout
        assert json.loads((await perslm(tmp_path, "status", "--json")).stdout)["node"] == "test"
        assert (await perslm(tmp_path, "status", "--metrics")).stdout == "perslm_up 1\n"
        assert json.loads((await perslm(tmp_path, "tell", "status")).stdout)["node"] == "test"
        wrong = await perslm(tmp_path, "tell", "dance")
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert "there is no verb 'dance': known are status" in wrong.stderr
        tasks.cancel_scope.cancel()


async def test_without_a_running_perslm_status_says_how_to_start_one(tmp_path: Path) -> None:
    told = await perslm(tmp_path, "status")
    assert told.returncode == 1
    assert "perslm run" in told.stderr


async def test_a_process_that_holds_the_socket_and_says_nothing_is_told_apart(tmp_path: Path) -> None:
    claim = await anyio.to_thread.run_sync(Claim, tmp_path / SOCKET_NAME)
    try:
        with pytest.raises(NotRunningError, match="--local"):
            await anyio.to_thread.run_sync(control_client.connect, tmp_path, 0.2)
    finally:
        await anyio.to_thread.run_sync(claim.release)


def test_the_page_of_the_socket_names_every_verb_event_and_limit() -> None:
    page = (ROOT / "docs/control.md").read_text(encoding="utf-8")
    source = (ROOT / "daemon/perslm_daemon/control.py").read_text(encoding="utf-8")
    for event in set(re.findall(r'"event": "([a-z]+)"', source)):
        assert f"| `{event}` |" in page, event
    pipeline = Pipeline.__new__(Pipeline)  # the table of verbs needs no engine
    for verb in (*SocketVerbs(pipeline, pipeline.ask).table().names, "watch", "metrics"):
        assert f"| `{verb}` |" in page, verb
    limits = page.partition("## Limits")[2]
    assert f"{control.MAX_LINE_BYTES:,} bytes" in limits
    assert f"| {control.MAX_CLIENTS} |" in limits
    for seconds in (control.REQUEST_S, control.IDLE_S, outbox.SEND_S):
        assert f"{seconds:.0f} s" in limits
