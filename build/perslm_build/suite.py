"""The default tests as `make test` runs them, in two processes: most, then those in real time, which wait a lot.

What fails is tried once more, alone and after everything else: on a machine that others share, a real-time test
may fail for want of a core. It is named loudly, and what fails twice has failed. Many failures are never load;
they are not repeated.

Python keeps what it compiles, even where it is told not to (as in many containers): without that each process
rewrites 4,000 assertions in 12 s, and each daemon that a test starts compiles 300 modules in 0.3 s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from perslm_build import locks
from perslm_build.environment import Environment
from perslm_build.terminal import say

if TYPE_CHECKING:
    import pytest

DEFAULT = "not slow and not board and not soak and not long"
LONG = "long and not slow and not board and not soak"
FAILED_TO = "PERSLM_FAILED_TO"
"""The file to which `pytest_runtest_logreport` appends the node id of each test that failed, a line each."""

_NO_TESTS = 5
_TESTS_FAILED = 1  # pytest's exit status; others (interrupted, no test found, wrong options) are not repeated
_REPEATED_AT_MOST = 8


def run(env: Environment, which: str = DEFAULT, processes: int = 2) -> int:
    """Run the tests that the expression names (DEFAULT or LONG), in so many processes.

    Returns pytest's exit status, that of the first run that did not pass.
    """
    with tempfile.TemporaryDirectory() as folder:
        failed_to = Path(folder) / "failed"
        failed_to.touch()
        listed = {**os.environ, FAILED_TO: str(failed_to)}
        beside = _pytest(
            env, listed, f"--numprocesses={processes}", "--dist=loadfile", "-m", f"{which} and not alone"
        )
        alone = _pytest(env, listed, f"--numprocesses={processes}", "--dist=loadfile", "-m", f"{which} and alone")
        failed = list(dict.fromkeys(failed_to.read_text(encoding="utf-8").splitlines()))
    alone = 0 if alone == _NO_TESTS else alone  # none of the long ones are heard
    if {beside, alone} - {0, _TESTS_FAILED} or not 0 < len(failed) <= _REPEATED_AT_MOST:
        return beside or alone
    say(f"Failed, and tried once more with the machine to themselves: {', '.join(failed)}")
    unlisted = {name: value for name, value in os.environ.items() if name != FAILED_TO}  # may be another suite's
    return _pytest(env, unlisted, "-m", which, *failed)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The hook that tests/conftest.py takes over: of several processes only the one that collects writes."""
    if report.failed and (to := os.environ.get(FAILED_TO)) and "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(to).open("a", encoding="utf-8") as failed:
            failed.write(f"{report.nodeid}\n")


def _pytest(env: Environment, environ: Mapping[str, str], *arguments: str) -> int:
    sys.stdout.flush()
    argv = [str(env.program("pytest")), *arguments]
    kept = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(argv, cwd=locks.ROOT, env=kept, check=False).returncode
