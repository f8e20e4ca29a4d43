"""The training loop: exact resuming, groups of processes, divergences, and the record of runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
from distil_command import told
from torch import Tensor, nn

from conftest import Small
from perslm_runtime.errors import InputError
from perslm_training_host import gguf_file
from perslm_training_host.cli import run as perslm_host
from perslm_training_host.divergence import DIVERGENCES, cross_entropy, forward_kl, in_chunks
from perslm_training_host.group import Group
from perslm_training_host.runs import Run, differences, page, runs_below
from perslm_training_host.train_loop import LossIsNaN, Plan, train

GROUP_PLAN = Plan(8, 1e-2, accumulate=2, warm_up_steps=2, keep_every=1)


class Lines:
    """Learn a linear map from numbers drawn by step and micro-batch alone."""

    def __init__(self, model: nn.Module, bad_at: int = -1) -> None:
        self.model, self.bad_at = model, bad_at

    def prepare(self, step: int, micro: int) -> None:
        pass

    def loss(self, step: int, micro: int) -> tuple[Tensor, Mapping[str, float]]:
        draw = torch.Generator().manual_seed(step * 1000 + micro)
        given = torch.randn(8, 6, generator=draw)
        wanted = given.flip(1) * (float("nan") if step == self.bad_at else 1.0)
        loss = (self.model(given) - wanted).square().mean()
        return loss, {}

    def validate(self) -> Mapping[str, float]:
        return {"score": 0.5}


def a_model() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 6))


def bytes_of(model: nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


@pytest.mark.parametrize("killed_at", [1, 4, 7])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path, killed_at: int) -> None:
    plan = Plan(steps=9, rate=1e-2, accumulate=2, warm_up_steps=2, keep_every=1)
    whole = a_model()
    train(
        whole, Lines(whole), plan, Run(tmp_path / "whole"), Group(), resume=Run(tmp_path / "whole").begin("t", {})
    )

    class Killed(Lines):
        def loss(self, step: int, micro: int) -> tuple[Tensor, Mapping[str, float]]:
            if step == killed_at and micro == 1:
                raise KeyboardInterrupt
            return super().loss(step, micro)

    run, model = Run(tmp_path / "killed"), a_model()
    run.begin("t", {})
    with pytest.raises(KeyboardInterrupt):
        train(model, Killed(model), plan, run, Group(), resume=False)
    torch.manual_seed(99)
    again = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 6))  # other weights: all come from the disk
    assert run.begin("t", {}) is True
    train(again, Lines(again), plan, run, Group(), resume=True)
    assert bytes_of(again) == bytes_of(whole)
    assert [line["step"] for line in run.lines()] == list(range(1, 10))


def test_a_loss_that_is_no_number_ends_the_run_by_name_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    model, run = a_model(), Run(tmp_path / "run")
    run.begin("t", {})
    with pytest.raises(LossIsNaN, match="lower"):
        train(model, Lines(model, bad_at=3), Plan(6, 1e-2, keep_every=1), run, Group(), resume=False)
    assert torch.load(run.state_file, weights_only=True)["step"] == 3


def test_training_ends_when_it_does_not_get_better(tmp_path: Path) -> None:
    model, run = a_model(), Run(tmp_path / "run")
    run.begin("t", {})
    plan = Plan(50, 1e-2, validate_every=2, patience=2)
    outcome = train(model, Lines(model), plan, run, Group(), resume=False)
    assert (outcome.ended, outcome.steps) == ("no better", 6)


@pytest.mark.parametrize("name", sorted(DIVERGENCES))
def test_a_divergence_is_zero_for_equals_positive_for_others_and_the_same_in_chunks(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    student = torch.randn(50, 300, generator=draw, requires_grad=True)
    teacher = torch.randn(50, 300, generator=draw)
    loss = DIVERGENCES[name]
    assert torch.allclose(loss(teacher, teacher), torch.zeros(50), atol=1e-5)
    assert bool((loss(student, teacher) > 0).all())
    loss(student, teacher).mean().backward()
    whole, student.grad = student.grad, None
    in_chunks(loss, student, teacher, 16).backward()
    assert whole is not None
    assert student.grad is not None
    assert torch.allclose(whole, student.grad, atol=1e-7)


def test_forward_kl_is_what_torch_computes_and_cross_entropy_goes_in_chunks_too() -> None:
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(20, 40, generator=draw), torch.randn(20, 40, generator=draw)
    wanted = nn.functional.kl_div(
        student.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="none"
    )
    assert torch.allclose(forward_kl(student, teacher), wanted.sum(-1), atol=1e-5)
    targets = torch.randint(0, 40, (20,), generator=draw)
    assert torch.allclose(in_chunks(cross_entropy, student, targets, 7), cross_entropy(student, targets).mean())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [pytest.param("ddp", marks=pytest.mark.slow), "fsdp"])
def test_what_two_processes_began_one_ends_as_if_alone_when_a_worker_was_killed(tmp_path: Path, kind: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    from train_child import trained  # which needs what this file defines

    (code, complaint), (gone, _) = forked.ranks(tmp_path, partial(trained, kind, tmp_path), shared)
    assert (code, gone) == (7, 9), complaint
    assert "goes on from the last checkpoint" in complaint
    shards = [path.name for path in (tmp_path / "run").glob("shards-*")]
    assert shards == (["shards-5"] if kind == "fsdp" else [])  # FSDP's processes keep a part each
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 5
    alone, ended = a_model(), a_model()
    run = Run(tmp_path / "alone")
    run.begin("t", {})
    train(alone, Lines(alone), GROUP_PLAN, run, Group(), resume=False)
    train(ended, Lines(ended), GROUP_PLAN, Run(tmp_path / "run"), Group(), resume=True)
    for name, value in alone.state_dict().items():
        assert torch.allclose(ended.state_dict()[name], value, atol=1e-5), name


def test_runs_are_listed_and_compared_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rate in (("a", 0.1), ("b", 0.2)):
        run = Run(tmp_path / name)
        assert run.begin("student", {"rate": rate, "seed": 0}) is False
        run.log({"step": 1, "loss": 2.0})
        run.log({"step": 2, "loss": 1.0})
        run.end("done", {"score": rate})
    found = runs_below(tmp_path)
    assert [run.folder.name for run in found] == ["a", "b"]
    assert differences(*found) == [("outcome.score", "0.1", "0.2"), ("recipe.rate", "0.1", "0.2")]
    assert page(found).count("<polyline") == 2
    compared = told(capsys, "runs", "compare", tmp_path / "a", tmp_path / "b")
    assert {row["what"] for row in compared} == {"recipe.rate", "outcome.score"}


def test_a_folder_with_another_run_is_not_gone_on_with_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.begin("student", {"rate": 0.1})
    run.log({"step": 1, "loss": 2.0})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert [line["step"] for line in run.lines()] == [1]
    with pytest.raises(InputError, match="another rate"):
        run.begin("student", {"rate": 0.2})


def distil_command(small: Small, out: Path, *more: str) -> list[str]:
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
        ("zero2", ["--on-policy", "0.5"]),
        ("zero3", []),
    ],
)
def test_two_processes_distil_what_one_distils(small: Small, tmp_path: Path, kind: str, more: list[str]) -> None:
    if kind.startswith("zero") and find_spec("deepspeed") is None:
        pytest.skip("extra `deepspeed`")
    assert perslm_host(distil_command(small, tmp_path / "alone" / "run", *more)) == 0
    argv = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", *CLI]
    ended = subprocess.run(
        [*argv, *distil_command(small, tmp_path / "two" / "run", *more), "--distributed", kind],
        env=environment(), capture_output=True, text=True, check=False, timeout=380,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert_same(small, tmp_path / "alone" / "run", tmp_path / "two" / "run")


TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
CLI = ["-m", "perslm_training_host.cli"]


def environment() -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(word for word in sys.path if word),
        "OMP_NUM_THREADS": "1",
    }


def assert_same(small: Small, alone: Path, together: Path) -> None:
    one, two = (gguf_file.read(folder / "student-f32.gguf") for folder in (alone, together))
    moved = 0.0
    for name in one.tensors:
        assert np.allclose(one.values(name), two.values(name), atol=2e-5), name
        moved += float(np.abs(one.values(name) - gguf_file.read(small.quantized("Q4_0")).values(name)).max())
    assert moved > 1e-3


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_nodes_that_meet_by_their_address_distil_what_one_process_distils(
    small: Small, tmp_path: Path, kind: str
) -> None:
    assert perslm_host(distil_command(small, tmp_path / "alone")) == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    nodes = [
        subprocess.Popen(
            [
                *TORCHRUN, "--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "1",
                "--master-addr", "127.0.0.1", "--master-port", str(port), *CLI,
                *distil_command(small, tmp_path / "nodes"), "--distributed", kind,
            ],
            env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    complaints = [node.communicate(timeout=380)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], complaints
    assert_same(small, tmp_path / "alone", tmp_path / "nodes")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["fsdp", "zero2", "zero3"])
def test_a_group_that_was_killed_goes_on_to_what_it_would_have_become(
    small: Small, tmp_path: Path, kind: str
) -> None:
    if kind.startswith("zero") and find_spec("deepspeed") is None:
        pytest.skip("extra `deepspeed`")
    argv = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", *CLI]
    more = ["--steps", "12", "--keep-every", "1", "--distributed", kind]

    def command(out: Path) -> list[str]:
        return [*argv, *distil_command(small, out, *more)]

    whole = subprocess.run(
        command(tmp_path / "whole"), env=environment(), capture_output=True, text=True, check=False
    )
    assert whole.returncode == 0, whole.stderr[-4000:]
    killed = subprocess.Popen(
        command(tmp_path / "killed"), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    log, by = tmp_path / "killed" / "log.jsonl", time.monotonic() + 300
    while not (log.exists() and log.read_text().count("\n") >= 3):
        assert killed.poll() is None
        assert time.monotonic() < by
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert 1 <= torch.load(tmp_path / "killed" / "state.pt", weights_only=True)["step"] < 12
    again = subprocess.run(
        command(tmp_path / "killed"), env=environment(), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr[-4000:]
    assert_same(small, tmp_path / "whole", tmp_path / "killed")
