"""The training host's tests run in .venv-train, where torch is: in one process, told file by file here."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-train" / "bin" / "python"
FILES = sorted(path.name for path in (ROOT / "tests" / "training").glob("test_*.py"))


@dataclass(frozen=True, slots=True)
class Ran:
    """How the tests ended: all that was printed, and for each file its tests that passed and that did not."""

    printed: str
    passed: dict[str, int]
    failed: dict[str, list[str]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    if not has_torch():
        pytest.skip("no torch in .venv-train: run `make train-setup`")
    report = tmp_path_factory.mktemp("training") / "report.xml"
    # Its own conftest only: the one above it belongs to the daemon's environment. transformers warns on import.
    argv = [PYTHON, "-m", "pytest", "-q", "--confcutdir=tests/training", "-W", "default", "-o", "timeout=600"]
    path = os.pathsep.join(
        str(ROOT / folder) for folder in ("runtime", "training_host", "daemon", "tests", "build")
    )
    ended = subprocess.run(
        [*argv, f"--junitxml={report}", "tests/training"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = ended.stdout + ended.stderr
    assert report.exists(), printed
    passed: dict[str, int] = {}
    failed: dict[str, list[str]] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
        file = case.get("classname", "").split(".")[2:3] or [case.get("name", "").split(".")[-1]]
        name = f"{file[0]}.py"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.setdefault(name, []).append(case.get("name", ""))
        elif case.find("skipped") is None:
            passed[name] = passed.get(name, 0) + 1
    return Ran(printed, passed, failed)


def has_torch() -> bool:
    if not PYTHON.exists():
        return False
    found = [PYTHON, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"]
    return subprocess.run(found, check=False).returncode == 0


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FILES)
def test_of_the_training_host(name: str, ran: Ran) -> None:
    assert not ran.failed.get(name), ran.printed
    assert ran.passed.get(name), f"no test of {name} ran:\n{ran.printed}"
