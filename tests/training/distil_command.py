"""The command that lets the small model teach, and what it prints: for the tests of `perslm-host distill`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Small
from perslm_training_host.cli import run

COMMON = ["--rows", "2", "--length", "64", "--rate", "3e-4", "--no-bf16", "--licence", "mit", "--kind", "F32"]


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> Any:
    """One command in this process; its JSON, or its error."""
    capsys.readouterr()
    found = run(["--json", *map(str, arguments)])
    out = capsys.readouterr()
    assert found == code, out.err
    return json.loads(out.out if code == 0 else out.err.splitlines()[-1])


def distil(small: Small, out: Path, *more: str | Path, student: Path | None = None) -> list[str | Path]:
    """The command that lets the small model teach `student`, on its text."""
    return ["distill", small.parent, student or small.quantized("Q4_0"), "--text", small.train, "--out", out,
            *COMMON, *more]  # fmt: skip
