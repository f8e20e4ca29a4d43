"""The real command line for tests: in this process, or in one of its own where signals and pipes matter."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perslm_daemon import cli

ROOT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-c", "from perslm_daemon.cli import main; main()"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error on standard error as JSON: its last line."""
        return json.loads(self.err.splitlines()[-1])["error"]


def environment(home: Path, **more: str) -> dict[str, str]:
    """An environment in which the command line finds nothing of this user's but the models."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PERSLM_")}
    models = os.environ.get("PERSLM_MODELS_DIR", str(Path.home() / ".local/share/perslm/models"))
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("runtime", "daemon")),
        "XDG_CONFIG_HOME": str(home / "config"),
        "PERSLM_DATA_DIR": str(home / "data"),
        "PERSLM_MODELS_DIR": models,
        **more,
    }


@contextmanager
def in_this_process(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """Run command lines in this process, with what they wrote; the log is put back as it was."""
    for name, value in environment(home).items():
        monkeypatch.setenv(name, value)
    log = logging.getLogger("perslm")
    before = (log.handlers[:], log.level, log.propagate)

    def run(*arguments: str, commands: Any = None) -> Ended:
        code = cli.run(arguments, commands)
        return Ended(code, *capfd.readouterr())

    yield run
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])


def start(home: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start `perslm` in a process of its own."""
    return subprocess.Popen([*PROGRAM, *arguments], env=environment(home), text=True, **options)
