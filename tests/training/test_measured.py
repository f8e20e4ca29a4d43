"""The benchmark that holds many files against one parent: what it keeps are the numbers llama.cpp would give."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import Small
from perslm_training_host import llama_scores
from perslm_training_host.llama_scores import PIECE, Scorer

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from training_measured import Measured

PIECES = 3


@pytest.fixture
def folder(small: Small, tmp_path: Path) -> Path:
    """A benchmark's folder: the small model as the parent, two files of it, two short texts."""
    text = small.held_out.read_text(encoding="utf-8")
    for name in ("held_out", "other_kind"):
        (tmp_path / f"{name}.txt").write_text(text[: 4 * PIECES * PIECE // 2], encoding="utf-8")
        text = text[len(text) // 2 :]
    shutil.copy(small.parent, tmp_path / "f16.gguf")
    for name, kind in (("one", "Q4_0"), ("two", "Q8_0")):
        shutil.copy(small.quantized(kind), tmp_path / f"{name}.gguf")
    return tmp_path


def test_figures_are_those_of_files_asked_side_by_side(small: Small, folder: Path) -> None:
    measured = Measured(folder)
    for name in ("one", "two"):  # the second is held against answers that were read back
        measured.file(name)
    tokens = small.tokens(folder / "held_out.txt")
    with (
        Scorer(folder / "f16.gguf", threads=1) as parent,
        Scorer(folder / "one.gguf", threads=1) as one,
        Scorer(folder / "two.gguf", threads=1) as two,
    ):
        beside = llama_scores.compare(parent, [one, two], tokens)[1:]
    for name, found in zip(("one", "two"), beside, strict=True):
        figures = measured.figures(name)["held_out"]
        assert found.summary() == {key: figures[key] for key in found.summary()}
        assert figures["kl_interval"][0] < figures["kl_mean"] < figures["kl_interval"][1]
    both = measured.together(["one", "two"])["held_out"]
    assert both["kl"]["mean"] == pytest.approx(np.mean(both["seeds"]), abs=1e-5)
    measured.parent.forget()
    assert not (folder / "parent_answers").exists()


def test_a_run_that_was_cut_measures_only_what_is_missing(folder: Path) -> None:
    first = Measured(folder)
    first.file("one")
    first.parent.close()
    answers = {path: path.stat().st_mtime_ns for path in (folder / "parent_answers").iterdir()}
    (folder / "one.other_kind.npz").unlink()
    kept = (folder / "one.held_out.npz").stat().st_mtime_ns
    again = Measured(folder)
    again.file("one")
    assert again.figures("one") == first.figures("one")
    assert (folder / "one.held_out.npz").stat().st_mtime_ns == kept
    assert {path: path.stat().st_mtime_ns for path in (folder / "parent_answers").iterdir()} == answers
