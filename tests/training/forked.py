"""Commands and processes of a group as forks of this process, which has torch loaded already: that is 3 s each."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO, cast

from perslm_training_host.cli import run


def killed_after(lines: int, log: Path, arguments: list[str]) -> None:
    """Run a command and kill it by SIGKILL once `log` has so many lines."""
    assert _signalled(signal.SIGKILL, lines, log, arguments) == -signal.SIGKILL


def interrupted_after(lines: int, log: Path, arguments: list[str]) -> int:
    """Run a command and press Ctrl-C once `log` has so many lines; returns its exit code."""
    return _signalled(signal.SIGINT, lines, log, arguments)


def interrupted_when_told(words: str, told: Path, arguments: list[str]) -> int:
    """Run a command whose standard error goes to `told`, and press Ctrl-C as it says `words`; its exit code.

    The process presses it itself: on a busy machine another one would often come too late.
    """
    return os.waitstatus_to_exitcode(os.waitpid(_forked(arguments, told, words), 0)[1])


class _Pressing(io.TextIOBase):
    """Passes text on to `file`, and presses Ctrl-C once where `words` are in it."""

    def __init__(self, file: TextIO, words: str) -> None:
        self._file, self._words = file, words

    def write(self, text: str) -> int:
        written = self._file.write(text)
        if self._words and self._words in text:
            self._words = ""
            os.kill(os.getpid(), signal.SIGINT)
        return written

    def flush(self) -> None:
        self._file.flush()


def _signalled(number: signal.Signals, lines: int, log: Path, arguments: list[str]) -> int:
    child = _forked(arguments)
    by = time.monotonic() + 240
    while not (log.exists() and log.read_text(encoding="utf-8").count("\n") >= lines):
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended too early"
        assert time.monotonic() < by, f"{log} did not get so far"
        time.sleep(0.002)
    os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _forked(arguments: list[str], told: Path | None = None, words: str = "") -> int:
    child = os.fork()
    if child == 0:
        code = 99
        try:
            if told is not None:
                sys.stderr = cast("TextIO", _Pressing(told.open("w", encoding="utf-8"), words))
            code = run(arguments)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return child


def ranks(folder: Path, work: Callable[[], int], environment: Mapping[str, str]) -> list[tuple[int, str]]:
    """Two processes of a group at once; the exit code and the standard error of each."""
    children: list[tuple[int, Path]] = []
    for rank in (0, 1):
        told = folder / f"rank-{rank}.err"
        child = os.fork()
        if child == 0:
            code = 99
            try:
                sys.stderr = told.open("w", encoding="utf-8")
                os.environ |= {**environment, "RANK": str(rank)}
                code = work()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append((child, told))
    by = time.monotonic() + 240
    return [(_code_of(child, by), told.read_text(encoding="utf-8")) for child, told in children]


def _code_of(child: int, by: float) -> int:
    """The exit code of a child that ends in time; one that does not is killed."""
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > by:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(ended[1])
