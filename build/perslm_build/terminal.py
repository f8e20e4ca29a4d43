"""What a person sees while a long step runs: its name, how far it is, how long it took, and where the log lies.

Owns the running of child processes and the one error type of the set-up. Knows nothing of what the steps do.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

Reading = Callable[[str], str | None]
"""Turns one line of a child's output into what is worth showing, or None."""

_TICK_S = 0.5
_QUIET_S = 15.0  # without a terminal one line per 15 s says that work goes on and keeps a CI log short
_TAIL_LINES = 15


class SetupError(Exception):
    """A step could not be done. The message says what to do next."""


def seconds(value: float) -> str:
    """`value` seconds in words: `0.4 s`, `48 s`, `5 min 3 s`."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    return f"{int(value) // 60} min {int(value) % 60} s"


def say(text: str) -> None:
    """Print one line at once, also into a pipe."""
    print(text, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step and say how long it took; a failure or Ctrl-C is reported by the one who catches it."""
    say(f"── {title}")
    begin = time.monotonic()
    yield
    say(f"   done in {seconds(time.monotonic() - begin)}")


class Line:
    """One line that is rewritten in place on a terminal, and printed now and then where there is none."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._begin = time.monotonic()
        self._printed = self._begin
        self._text = "starting"

    def show(self, text: str | None) -> None:
        """Take over `text` (None keeps the last one) and let the clock go on."""
        self._text = text or self._text
        now = time.monotonic()
        if self._live:
            width = shutil.get_terminal_size().columns  # 80 where a serial console reports 0
            shown = f"   {self._text}  ({seconds(now - self._begin)})"
            sys.stdout.write(f"\r\x1b[K{shown[: width - 1]}")
            sys.stdout.flush()
        elif now - self._printed >= _QUIET_S:
            self._printed = now
            say(f"   {self._text}  ({seconds(now - self._begin)})")

    def close(self) -> None:
        """Leave a clean line behind."""
        if self._live:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()


def _lines(child: subprocess.Popen[bytes]) -> Iterator[str | None]:
    """The child's output line by line, with a None at least every half second so that the clock keeps ticking."""
    assert child.stdout is not None  # noqa: S101 - Popen(stdout=PIPE) always gives one
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(_TICK_S):
                yield None
                continue
            chunk = os.read(child.stdout.fileno(), 65536)
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join(f"   | {line[:200]}" for line in lines)


def watch(
    argv: Sequence[str | Path],
    log: Path,
    *,
    reading: Reading = lambda line: line.strip() or None,
    env: Mapping[str, str] | None = None,
    next_step: str = "look at the log, then run the same command again: what is done stays done",
) -> None:
    """Run `argv` with its output in `log`, showing what `reading` makes of it.

    Raises SetupError with the log's last lines when the child fails. Ctrl-C ends the child before it goes on up.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    line = Line()
    with log.open("w", encoding="utf-8") as kept, _started(argv, env) as child:
        try:
            for text in _lines(child):
                if text is not None:
                    kept.write(text + "\n")
                line.show(None if text is None else reading(text))
            status = child.wait()
        except BaseException:
            _end(child)
            raise
        finally:
            line.close()
    if status != 0:
        shown = " ".join(str(part) for part in argv[:6])
        raise SetupError(
            f"`{shown} …` ended with {status}. Its log is {log}; it ends with:\n{_tail(log)}\nNext: {next_step}."
        )


def _started(argv: Sequence[str | Path], env: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    """A child in a process group of its own: when it is ended, the compilers that it started end with it."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        process_group=0,
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child that is not wanted any more, with all that it started."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, word)
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
        return
