"""The training host's tests: each file of tests/training runs in .venv-train, where torch is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-train" / "bin" / "python"
FILES = sorted(path.name for path in (ROOT / "tests" / "training").glob("test_*.py"))


def has_torch() -> bool:
    if not PYTHON.exists():
        return False
    found = [PYTHON, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"]
    return subprocess.run(found, check=False).returncode == 0


@pytest.fixture(scope="module", autouse=True)
def needs_torch() -> None:
    if not has_torch():
        pytest.skip("no torch in .venv-train: run `make train-setup`")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FILES)
def test_of_the_training_host(name: str) -> None:
    # Its own conftest only: the one above it belongs to the daemon's environment. transformers warns on import.
    argv = [
        PYTHON,
        "-m",
        "pytest",
        "-q",
        "--confcutdir=tests/training",
        "-W",
        "default",
        "-o",
        "timeout=600",
        f"tests/training/{name}",
    ]
    path = os.pathsep.join(
        str(ROOT / folder) for folder in ("runtime", "training_host", "daemon", "tests", "build")
    )
    ended = subprocess.run(
        argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
