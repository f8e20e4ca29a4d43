"""The trial of a bundle before it is used: starts the probe in a process of its own, and judges what it measured.

A crash or excess there costs the daemon nothing; a turn that comes meanwhile stops it for as long as it lasts.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import Process

from perslm_daemon.config_sections import Config
from perslm_daemon.machine import processor_times
from perslm_daemon.turns_first import TurnsFirst
from perslm_daemon.update_book import KEYS
from perslm_daemon.update_probe import Measured
from perslm_runtime.bundle import Manifest
from perslm_runtime.errors import BundleRefused, CatalogError

LONGEST_S = 900.0  # a 1.5B model on a Pi 4 loads and answers a dozen questions in five minutes
_WORKED = 0.2  # of a core: a probe that got less was held up by others, and nothing is known of the model
_IDLE = 0.25  # of all cores' time: below it, the idle class gets too little
_LOOK_S = 0.5  # the load average would still speak of what was over a minute ago


class OutOfMemory(BundleRefused):
    """The kernel ended the trial: memory did not hold it, or somebody with the power to do so wanted its end."""


def with_model(config: Config, kind: str, name: str) -> Config:
    """The configuration in which `name` is the model of its kind."""
    section, _, key = KEYS[kind].partition(".")
    return replace(config, **{section: replace(getattr(config, section), **{key: name})})


async def run_trial(
    config: Config, manifest: Manifest, turns: TurnsFirst, longest_s: float = LONGEST_S
) -> Measured:
    """Try a bundle that is in its place, stopping while a turn runs.

    Raises `BundleRefused` with what was wrong (`OutOfMemory` where memory ran out), and `CatalogError` where the
    board was too busy to find out; cancelling ends the child.
    """
    # Our own child, of this very code: nobody else can hand it anything.
    tried = with_model(config, manifest.kind, manifest.name)
    values = {one.name: getattr(tried, one.name) for one in fields(tried) if one.name != "sources"}
    gentle = await _idle_share() >= _IDLE
    handed = pickle.dumps((values, msgspec.json.encode(manifest), gentle))
    command = [sys.executable, "-m", "perslm_daemon.update_probe"]
    said_all, ended_with = await _ran(command, handed, turns, manifest.name, longest_s)
    told = said_all.decode("utf-8", "replace").strip().rpartition("\n")[2]
    if ended_with == -signal.SIGKILL:
        raise OutOfMemory(f"{manifest.name} was ended in its trial by the system: memory does not hold it")
    if ended_with < 0:
        raise BundleRefused(f"{manifest.name} crashed in its trial (signal {-ended_with})")
    try:
        said = json.loads(told)
    except ValueError as error:
        raise BundleRefused(f"{manifest.name} ended its trial with {ended_with} and no result") from error
    if "error" in said:
        raise BundleRefused(f"{manifest.name} cannot be used: {said['error']}")
    outcome = Measured(**said)
    judge(manifest, outcome)
    return outcome


async def _ran(
    command: Sequence[str], handed: bytes, turns: TurnsFirst, name: str, longest_s: float
) -> tuple[bytes, int]:
    """Run the child, which gives way to turns: what it printed, and what it ended with. Raises as `run_trial`."""
    quiet = subprocess.DEVNULL
    said, worked_s = b"", None
    async with await anyio.open_process(command, stderr=quiet) as process, anyio.create_task_group() as tasks:
        tasks.start_soon(turns.give_way, process)
        with anyio.move_on_after(longest_s) as limit:
            said = await _heard(process, handed)
            await process.wait()
        if limit.cancelled_caught and process.returncode is None:
            worked_s = await anyio.to_thread.run_sync(_processor_s, process.pid)
            process.kill()
        await process.wait()
        tasks.cancel_scope.cancel()
    if worked_s is not None:
        late = f"{name} did not end its trial within {longest_s:.0f} s"
        if worked_s < _WORKED * longest_s:
            raise CatalogError(f"{late}: the board was too busy for it ({worked_s:.0f} s of processor time)")
        raise BundleRefused(late)
    return said, process.returncode or 0


async def _heard(process: Process, handed: bytes) -> bytes:
    """Hand the child what it needs, and hear it out."""
    said = b""
    if process.stdin is not None and process.stdout is not None:
        with suppress(anyio.BrokenResourceError):  # it ended before it had heard all; its code says why
            await process.stdin.send(handed)
        await process.stdin.aclose()
        async for piece in process.stdout:
            said += piece
    return said


async def _idle_share() -> float:
    """The part of all cores' time that nobody used in the last moment; 1.0 where it cannot be told."""
    before = await anyio.to_thread.run_sync(processor_times)
    await anyio.sleep(_LOOK_S)
    after = await anyio.to_thread.run_sync(processor_times)
    passed = after[1] - before[1]
    return (after[0] - before[0]) / passed if passed > 0 else 1.0


def _processor_s(pid: int) -> float:
    """Processor time a process has used, in seconds; 0 where it cannot be told."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def judge(manifest: Manifest, outcome: Measured) -> None:
    """Hold what was measured to what the manifest asks for. Raises `BundleRefused` with everything that fails."""
    wanted, failures = manifest.trial, []
    shown = f" ({', '.join(outcome.wrong)})" if outcome.wrong else ""
    if manifest.kind in ("llm", "adapter") and outcome.right < wanted.right:
        failures.append(
            f"{outcome.right} of {outcome.asked} questions were answered right, {wanted.right} have to be"
        )
    if manifest.kind == "intents" and outcome.right < outcome.asked:
        failures.append(f"{outcome.asked - outcome.right} of {outcome.asked} sentences were not understood{shown}")
    if manifest.kind == "wake" and outcome.right < outcome.asked:
        failures.append(f"{outcome.asked - outcome.right} of {outcome.asked} clips were not heard right{shown}")
    if outcome.word_errors is not None and outcome.word_errors > wanted.word_errors:
        failures.append(f"{outcome.word_errors:.0%} of the words were wrong and {wanted.word_errors:.0%} may be")
    for measured, least, said in (
        (outcome.tokens_per_s, wanted.tokens_per_s, "it writes {0:.1f} tokens/s and {1:.1f} are asked for"),
        (outcome.real_time, wanted.real_time, "it does {0:.1f} s of sound a second and {1:.1f} are asked for"),
    ):
        if measured is not None and measured < least:
            failures.append(said.format(measured, least))
    if wanted.sentence_ms and outcome.sentence_ms is not None and outcome.sentence_ms > wanted.sentence_ms:
        failures.append(f"a sentence takes {outcome.sentence_ms:.0f} ms and {wanted.sentence_ms:.0f} are allowed")
    if wanted.memory_mb and outcome.memory_mb > wanted.memory_mb:
        failures.append(f"it takes {outcome.memory_mb:.0f} MB and {wanted.memory_mb} are allowed")
    if failures:
        raise BundleRefused(f"{manifest.name} failed its trial: {'; '.join(failures)}")
