"""The trial of a model before it is used: in a process of its own, whose crash or excess costs the daemon nothing.

`run_trial` starts it and judges; `python -m perslm_daemon.update_trial` is the child: it loads the model as the
daemon would, answers the manifest's questions, and says how fast it was and what it took.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

import anyio
import msgspec

from perslm_daemon.config_sections import Config
from perslm_daemon.turns_first import TurnsFirst
from perslm_daemon.update_book import KEYS
from perslm_runtime.bundle import Manifest
from perslm_runtime.errors import BundleRefused, PersLMError
from perslm_runtime.lane import Stop

LONGEST_S = 900.0  # a 1.5B model on a Pi 4 loads and answers a dozen questions in five minutes
_ANSWER_TOKENS = 48
_ENOUGH_TOKENS = 16  # fewer say nothing of the speed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the child measured: questions answered right, tokens per second (None: too few), MB, seconds."""

    right: int
    asked: int
    tokens_per_s: float | None
    memory_mb: float
    seconds: float


def with_model(config: Config, kind: str, name: str) -> Config:
    """The configuration in which `name` is the model of its kind."""
    section, _, key = KEYS[kind].partition(".")
    return replace(config, **{section: replace(getattr(config, section), **{key: name})})


async def run_trial(
    config: Config, manifest: Manifest, turns: TurnsFirst, longest_s: float = LONGEST_S
) -> Outcome:
    """Try a bundle that is in its place, stopping while a turn runs.

    Raises `BundleRefused` with what was wrong; cancelling ends the child.
    """
    # Our own child, of this very code: nobody else can hand it anything.
    tried = with_model(config, manifest.kind, manifest.name)
    values = {one.name: getattr(tried, one.name) for one in fields(tried) if one.name != "sources"}
    handed = pickle.dumps((values, msgspec.json.encode(manifest)))
    command = [sys.executable, "-m", "perslm_daemon.update_trial"]
    try:
        with anyio.fail_after(longest_s):
            said_all, ended_with = await _ran(command, handed, turns)
    except TimeoutError as error:
        raise BundleRefused(f"{manifest.name} did not end its trial within {longest_s:.0f} s") from error
    told = said_all.decode("utf-8", "replace").strip().rpartition("\n")[2]
    if ended_with < 0:
        raise BundleRefused(f"{manifest.name} crashed in its trial (signal {-ended_with})")
    try:
        said = json.loads(told)
    except ValueError as error:
        raise BundleRefused(f"{manifest.name} ended its trial with {ended_with} and no result") from error
    if "error" in said:
        raise BundleRefused(f"{manifest.name} cannot be used: {said['error']}")
    outcome = Outcome(**said)
    judge(manifest, outcome)
    return outcome


async def _ran(command: Sequence[str], handed: bytes, turns: TurnsFirst) -> tuple[bytes, int]:
    """Run the child, which gives way to turns: what it printed, and what it ended with."""
    quiet = subprocess.DEVNULL
    async with await anyio.open_process(command, stderr=quiet) as process, anyio.create_task_group() as tasks:
        tasks.start_soon(turns.give_way, process)
        said = b""
        if process.stdin is not None and process.stdout is not None:
            with suppress(anyio.BrokenResourceError):  # it ended before it had heard all; its code says why
                await process.stdin.send(handed)
            await process.stdin.aclose()
            async for piece in process.stdout:
                said += piece
        ended_with = await process.wait()
        tasks.cancel_scope.cancel()
    return said, ended_with


def judge(manifest: Manifest, outcome: Outcome) -> None:
    """Hold what was measured to what the manifest asks for. Raises `BundleRefused` with everything that fails."""
    wanted, failures = manifest.trial, []
    if outcome.right < wanted.right:
        failures.append(
            f"{outcome.right} of {outcome.asked} questions were answered right, {wanted.right} have to be"
        )
    if outcome.tokens_per_s is not None and outcome.tokens_per_s < wanted.tokens_per_s:
        failures.append(
            f"it writes {outcome.tokens_per_s:.1f} tokens/s and {wanted.tokens_per_s:.1f} are asked for"
        )
    if wanted.memory_mb and outcome.memory_mb > wanted.memory_mb:
        failures.append(f"it takes {outcome.memory_mb:.0f} MB and {wanted.memory_mb} are allowed")
    if failures:
        raise BundleRefused(f"{manifest.name} failed its trial: {'; '.join(failures)}")


def _child() -> None:
    """What the child does: read what to try, try it, print one line of JSON."""
    # A turn that comes meanwhile goes first: at nice 10 turns took 1.8 times as long.
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    values, manifest = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent wrote it
    try:
        said = msgspec.to_builtins(_measured(Config(**values), msgspec.json.decode(manifest, type=Manifest)))
    except PersLMError as error:
        said = {"error": str(error)}
    sys.stdout.write("\n" + json.dumps(said) + "\n")


def _measured(config: Config, manifest: Manifest) -> Outcome:
    from perslm_daemon.app import build_engine  # noqa: PLC0415 - the parent has no use for engines here
    from perslm_daemon.process import resident_bytes  # noqa: PLC0415 - as above

    began, before = time.monotonic(), resident_bytes()
    engine = build_engine(config, "model" if manifest.kind == "llm" else manifest.kind)
    try:
        engine.prove()
        right, tokens_per_s = _asked(engine, manifest) if manifest.kind == "llm" else (0, None)
        memory_mb = (resident_bytes() - before) / 1e6
    finally:
        engine.close()
    asked = len(manifest.trial.questions) if manifest.kind == "llm" else 0
    return Outcome(right, asked, tokens_per_s, round(memory_mb, 1), round(time.monotonic() - began, 2))


def _asked(model: Any, manifest: Manifest) -> tuple[int, float | None]:
    """Questions answered right, and the decoding speed over all of them."""
    right, tokens, decode_ms = 0, 0, 0.0
    for question in manifest.trial.questions:
        model.begin(Stop())
        *_, end = model.reply(Stop(), question.ask, _ANSWER_TOKENS)
        tokens, decode_ms = tokens + end.generated_tokens, decode_ms + end.decode_ms
        right += any(word.casefold() in end.text.casefold() for word in question.any_of)
    speed = tokens / decode_ms * 1000 if tokens >= _ENOUGH_TOKENS and decode_ms else None
    return right, speed


if __name__ == "__main__":
    _child()
