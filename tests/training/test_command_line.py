"""`perslm-host`: its top, which needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys


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
