"""`perslm-host`: its top, which needs no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def perslm_host(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "perslm_training_host.cli", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_help_is_shown_without_torch_being_imported() -> None:
    code = (
        "import sys; from perslm_training_host.cli import run; run(['--help']); sys.exit('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "training host" in ended.stdout


def test_an_unknown_verb_is_wrong_usage_and_told_as_json_where_asked() -> None:
    ended = perslm_host("--json", "juggle")
    assert ended.returncode == 2
    assert "juggle" in json.loads(ended.stderr)["error"]["message"]


def test_a_reader_that_has_left_ends_it_without_a_traceback(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    argv = [sys.executable, "-m", "perslm_training_host.cli", "models", "list", str(tmp_path)]
    ended = subprocess.run(argv, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write_end)
    assert (ended.returncode, ended.stderr) == (1, "")
