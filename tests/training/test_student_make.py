"""`perslm-host student make`, the whole recipe in one command, on models of a million weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import small_model
import torch
from distil_command import told

from perslm_runtime.errors import InputError
from perslm_training_host import paraphrases, student_made
from perslm_training_host.runs import Run
from perslm_training_host.student_training import RECIPES, Recipe, prepared_recipe

ROOT = Path(__file__).resolve().parents[2]
CUT = {
    "steps": 1, "grid_steps": 1, "rows": 1, "workers": 0, "replies": 6, "paraphrases": 2, "homes": 1,
}  # fmt: skip
"""What is changed of a recipe, so that it is the same way in seconds."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base that ends its answers now and then, and a teacher of other weights."""
    folder = tmp_path_factory.mktemp("models")
    text = (ROOT / "LICENSE").read_text(encoding="utf-8") * 4  # which stays as it is: other words, other answers
    found = folder / "base.gguf", folder / "teacher.gguf"
    for number, path in enumerate(found, start=1):
        model = small_model.make_model(number)
        with torch.no_grad():
            model.model.embed_tokens.weight[2] *= 2.0  # a random model would hardly ever end its answer
        small_model.write_gguf(model, small_model.make_tokenizer(text), path)
    return found


def made(models: tuple[Path, Path], folder: Path, *more: str) -> list[str | Path]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in CUT.items()]
    base, teacher = models
    return [
        "student",
        "make",
        base,
        folder,
        "--teacher",
        teacher,
        "--threads=1",
        "--scored-homes=1",
        *options,
        *more,
    ]


def test_one_command_makes_scores_and_records_a_student_and_again_it_makes_nothing_anew(
    models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "student"
    found = told(capsys, *made(models, folder))
    recipe: dict[str, Any] = asdict(prepared_recipe("cpu")) | CUT  # in bfloat16 where the CPU has it
    of_models = {"base": "base.gguf", "teacher": "teacher.gguf", "device": "cpu"}
    assert found["settings"] == of_models | recipe
    for part, grid in (("whole", False), ("grid", True)):  # nothing else was trained by than is told
        about = Run(folder / part).about()
        assert about["recipe"] == recipe | {"device": "cpu", "on the grid": grid}
        assert (about["state"], about["outcome"]["steps"]) == ("done", 1)
    assert list(found["cpu_s"]) == ["replies", "paraphrases", "training", "files", "scores"]
    assert found["cpu_s"]["training"] > 0
    asked = paraphrases.read(folder / paraphrases.FILE)
    assert found["paraphrases"] == paraphrases.told(asked)
    assert found["paraphrases"]["asked"] == 2
    assert list(found["scores"]) == ["student-q4_0.gguf", "student-f16.gguf"]
    for name, scores in found["scores"].items():
        assert (folder / name).exists()
        assert scores["by_home"] == [[round(scores["calls"] * 12), 12]]
        assert scores["talk"]["tokens"] > 0
    assert json.loads((folder / student_made.FILE).read_text(encoding="utf-8")) == found
    kept = {path: path.read_bytes() for path in folder.glob("*.*") if path.name != student_made.FILE}
    again = told(capsys, *made(models, folder))
    assert {path: path.read_bytes() for path in kept} == kept
    assert again | {"cpu_s": 0} == found | {"cpu_s": 0}
    assert again["cpu_s"]["scores"] == found["cpu_s"]["scores"]  # files that have not changed are not asked again
    other = told(capsys, *made(models, folder, "--seed=1"), code=3)
    assert "another seed" in other["error"]["message"]


def test_the_published_student_was_made_by_the_recipe_as_it_is() -> None:
    published = json.loads((ROOT / "benchmarks/training/student_cpu.json").read_text(encoding="utf-8"))
    assert Recipe(**published["settings"]) == RECIPES[published["recipe"]]
    assert published["seed"] == published["settings"]["seed"]


def test_a_part_that_fails_is_counted_and_gone_on_with_and_a_damaged_record_is_named(tmp_path: Path) -> None:
    def work(fails: bool) -> float:
        made = student_made.begin(tmp_path / "new", {"seed": 0})
        until = student_made.cpu_s() + 0.2
        with made.part("training"):
            while student_made.cpu_s() < until:
                pass
            if fails:
                raise OSError("gone")
        return float(made.found["cpu_s"]["training"])

    with pytest.raises(OSError, match="gone"):
        work(fails=True)
    assert work(fails=False) >= 0.4
    (tmp_path / "new" / student_made.FILE).write_text('{"settings": 3}', encoding="utf-8")
    with pytest.raises(InputError, match="delete it to go on"):
        student_made.begin(tmp_path / "new", {"seed": 0})
