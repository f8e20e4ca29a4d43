"""A command of `perslm-host` in a fork of this process: torch is loaded in it already, which takes 3 s else."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from perslm_training_host.cli import run


def killed_after(lines: int, log: Path, arguments: list[str]) -> None:
    """Run a command and kill it by SIGKILL once `log` has so many lines."""
    assert _signalled(signal.SIGKILL, lines, log, arguments) == -signal.SIGKILL


def interrupted_after(lines: int, log: Path, arguments: list[str]) -> int:
    """Run a command and press Ctrl-C once `log` has so many lines; returns its exit code."""
    return _signalled(signal.SIGINT, lines, log, arguments)


def interrupted_when_told(words: str, told: Path, arguments: list[str]) -> int:
    """Run a command whose standard error goes to `told`, and press Ctrl-C at its words; returns its exit code."""
    return _signalled(signal.SIGINT, 1, told, arguments, words)


def _signalled(number: signal.Signals, times: int, log: Path, arguments: list[str], words: str = "") -> int:
    told = log if words else None
    child = _forked(arguments, told)
    by = time.monotonic() + 240
    while not (log.exists() and log.read_text(encoding="utf-8").count(words or "\n") >= times):
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended too early"
        assert time.monotonic() < by, f"{log} did not get so far"
        time.sleep(0.002)
    os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _forked(arguments: list[str], told: Path | None) -> int:
    child = os.fork()
    if child == 0:
        code = 99
        try:
            if told is not None:
                sys.stderr = told.open("w", encoding="utf-8")
            code = run(arguments)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return child
