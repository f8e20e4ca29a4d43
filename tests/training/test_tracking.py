"""A run's figures in TensorBoard and in Weights & Biases, read back from what they wrote on the disk."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from perslm_runtime.errors import InputError
from perslm_training_host.runs import Run
from perslm_training_host.tracking import tracker

LINES = [{"step": step, "loss": 1.0 / step, "rate": 1e-4} for step in (1, 2, 4)]


def written_by(kind: str, folder: Path) -> None:
    with tracker(kind, folder, {"rate": 1e-4}) as track:
        run = Run(folder, track)
        run.begin("t", {})
        for line in LINES:
            run.log(line)


def test_tensorboard_holds_every_figure_of_the_log(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="extra `track`")
    written_by("tensorboard", tmp_path)
    found = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(event.step, round(event.value, 4)) for event in found.Scalars("loss")] == [
        (1, 1.0),
        (2, 0.5),
        (4, 0.25),
    ]
    assert {"loss", "rate"} <= set(found.Tags()["scalars"])
    assert len(Run(tmp_path).lines()) == 3


def test_weights_and_biases_writes_offline_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="extra `track`")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # whoever asks it gets no answer
    written_by("wandb", tmp_path)
    (offline,) = (tmp_path / "wandb").glob("offline-run-*")
    (record,) = offline.glob("*.wandb")
    by = time.monotonic() + 60  # its own process writes the file
    while b"0.25" not in record.read_bytes():
        assert time.monotonic() < by, record.read_bytes()
        time.sleep(0.1)
    assert b"loss" in record.read_bytes()


def test_an_unknown_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tensorboard, wandb"), tracker("mlflow", tmp_path, {}):
        pass
