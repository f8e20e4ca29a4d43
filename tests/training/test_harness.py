"""lm-evaluation-harness on a GGUF file with a task of our own: its figures against torch's, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from distil_command import told

from conftest import Small
from perslm_training_host import gguf_file, gguf_model

TASK = """
task: ours
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
target_delimiter: " "
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1}
"""
QUESTIONS = [
    {
        "question": f"The {what} of the house is",
        "choices": ["the lamp", "a licence", "memory"],
        "answer": number % 3,
    }
    for number, what in enumerate(["light", "broker", "voice", "kitchen", "room", "word", "door", "name"])
]


def best(model: Any, small: Small, row: dict[str, Any]) -> int:
    """The choice that torch finds likeliest."""
    scores = []
    for choice in row["choices"]:
        path = small.folder / "line.txt"
        path.write_text(row["question"], encoding="utf-8")
        start = len(small.tokens(path))
        path.write_text(f"{row['question']} {choice}", encoding="utf-8")
        tokens = torch.tensor(small.tokens(path))
        with torch.no_grad():
            logs = model(input_ids=tokens[None]).logits[0].log_softmax(-1)
        scores.append(float(logs[range(start - 1, len(tokens) - 1), tokens[start:]].sum()))
    return max(range(3), key=scores.__getitem__)


def test_a_task_on_the_disk_gives_what_torch_gives(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval", reason="extra `harness`")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "ours.yaml").write_text(TASK.replace("DATA", str(data)))
    found = told(capsys, "harness", small.parent, tmp_path / "tasks", "--tasks", "ours", "--threads", "1")
    model = gguf_model.load(gguf_file.read(small.parent))
    right = [best(model, small, row) == row["answer"] for row in QUESTIONS]
    assert found["ours"]["acc,none"] == pytest.approx(sum(right) / len(right))
    missing = told(capsys, "harness", small.parent, tmp_path / "tasks", "--tasks", "theirs", code=3)
    assert "has no task theirs: it has ours" in missing["error"]["message"]


def test_without_tasks_or_the_extra_it_says_the_next_step(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = told(capsys, "harness", small.parent, tmp_path / "no", "--tasks", "ours", code=3)
    assert "is no folder of tasks" in none["error"]["message"]
