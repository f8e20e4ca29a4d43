"""Benchmark of tool calls: what a call in the sandbox costs, first and warm, beside the same without a sandbox."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio

from perslm_daemon.bench_row import Row
from perslm_daemon.process import private_bytes
from perslm_daemon.tool_workers import Box, Workers
from perslm_daemon.tools import Limits

_ROUNDS = 40
_ALLOWED_MS = 80.0


def sandboxed_calls() -> list[Row]:
    """Spawn, sandbox, result: a tool that lists a folder, as the daemon calls it."""
    return anyio.run(_measured)


async def _measured() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as folder:
        box, limits = Box("perslm_daemon.tool_files:listed", Path(folder), preload=True), Limits()
        async with Workers() as workers:
            times = []
            for _ in range(_ROUNDS + 1):
                began = time.perf_counter()
                await workers.run(box, {}, limits)
                times.append((time.perf_counter() - began) * 1000)
            held = 0.0 if workers.pid is None else private_bytes(workers.pid) / 1e6
    warm = sorted(times[1:])
    return [
        Row("tool call in the sandbox", "ms", statistics.median(warm), _ALLOWED_MS, "the most it may be"),
        Row("tool call in the sandbox, the slowest of 40", "ms", warm[-1], _ALLOWED_MS, "the most it may be"),
        Row("tool call in the sandbox, the first", "ms", times[0], _python_ms(), "a Python that does nothing"),
        Row("memory of the process that forks", "MB", held, None, "started with the first call"),
    ]


def _python_ms() -> float:
    """What it takes to start a Python: the least that a process per call would cost."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)
