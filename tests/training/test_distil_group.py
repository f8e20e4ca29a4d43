"""Two processes that distil together by gloo, against one: DDP and FSDP2, started by torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import Small
from perslm_training_host import gguf_file
from perslm_training_host.cli import run

ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(word for word in sys.path if word),
    "OMP_NUM_THREADS": "1",
}


def command(small: Small, out: Path, *more: str) -> list[str]:
    return list(
        map(
            str,
            [
                "distill", small.parent, small.quantized("Q4_0"), "--text", small.train, "--held-out",
                small.held_out, "--out", out, "--steps", "4", "--rows", "2", "--length", "48", "--rate", "3e-4",
                "--accumulate", "2", "--no-bf16", "--licence", "mit", "--kind", "F32", "--validate-every",
                "4", *more,
            ],
        )
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("ddp", ["--lora", "4", "--on-policy", "0.5"]),
        ("ddp", ["--likeliest", "16"]),
        ("fsdp", ["--on-policy", "0.5"]),
    ],
)
def test_two_processes_learn_what_one_learns(small: Small, tmp_path: Path, kind: str, more: list[str]) -> None:
    assert run(command(small, tmp_path / "alone" / "run", *more)) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    argv = [*torchrun, "-m", "perslm_training_host.cli", *command(small, tmp_path / "two" / "run", *more)]
    ended = subprocess.run(
        [*argv, "--distributed", kind], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=380
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    one, two = (gguf_file.read(tmp_path / name / "run" / "student-f32.gguf") for name in ("alone", "two"))
    moved = 0.0
    for name in one.tensors:
        assert np.allclose(one.values(name), two.values(name), atol=2e-5), name
        moved += float(np.abs(one.values(name) - gguf_file.read(small.quantized("Q4_0")).values(name)).max())
    assert moved > 1e-3
