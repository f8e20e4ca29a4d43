"""Sentences in a teacher's words: what is kept keeps its truth, the rest is refused with its reason."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from small_model import make_model, make_tokenizer, train_text, write_gguf

from perslm_runtime.errors import InputError
from perslm_training_host import base_model, paraphrases
from perslm_training_host.home_said import LEARN, household
from perslm_training_host.paraphrases import Paraphrase
from perslm_training_host.student_task import Kitchen, Mixture

HOME = 1_000_000


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned nothing: none of its words keep a meaning."""
    path = tmp_path_factory.mktemp("teacher") / "teacher.gguf"
    write_gguf(make_model(), make_tokenizer(train_text()), path)
    return path


def test_a_teacher_that_babbles_changes_nothing_and_is_asked_for_each_sentence_once(
    teacher: Path, tmp_path: Path
) -> None:
    path = tmp_path / paraphrases.FILE
    first = paraphrases.make(teacher, path, 2, 0, threads=1)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"number": 1')  # the plug was pulled here
    assert paraphrases.read(path) == first
    path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in first), encoding="utf-8")
    both = paraphrases.make(teacher, path, 3, 0, threads=1)
    assert both[:2] == first
    assert len({(one.number, one.place) for one in both}) == len(both) == 3
    assert all(one.refused for one in both)
    assert paraphrases.households(both, 0) == []
    with pytest.raises(InputError, match="give 1 to 1000"):
        paraphrases.make(teacher, path, 1001, 0)


def test_a_rewording_is_refused_where_a_name_or_a_number_changed_or_it_is_held_out() -> None:
    home = household(LEARN, 0, HOME, 20)
    device, other = sorted(home.home.devices, key=lambda one: one.name)[:2]
    said = replace(home.said[0], text=f"Set {device.the} to 40 percent.")

    def why(text: str) -> str:
        return paraphrases._why_not(home, said, text)

    assert why(f"I would love to have {device.the} at around 40 percent.") == ""
    assert why(f"set  {device.the} to 40 percent") == "the same words"
    assert why(f"I would love to have {other.the} at around 40 percent.") == "other names"
    assert why(f"I would love to have {device.the} at around 45 percent.") == "other numbers"
    assert why(f"{device.the} to 40 percent, lower") == "held out"
    assert why("") == "no answer"


def test_what_is_kept_is_trained_on_with_the_templates_own_call(teacher: Path, tmp_path: Path) -> None:
    home = household(LEARN, 0, HOME, 20)
    kept = [Paraphrase(HOME, place, home.said[place].text, f"reworded {place}", "", 1.0) for place in (1, 3)]
    refused = Paraphrase(HOME, 2, home.said[2].text, "nonsense", "another call", 1.0)
    (reworded,) = paraphrases.households([*kept, refused], 0)
    assert [(said.text, said.call) for said in reworded.said] == [
        ("reworded 1", home.said[1].call),
        ("reworded 3", home.said[3].call),
    ]
    assert paraphrases.told([*kept, refused]) == {"asked": 3, "another call": 1, "kept": 2, "seconds": 3.0}
    prompts = base_model.load(teacher, "cpu").prompts
    plain = Kitchen(prompts, [("hello", "hi")], Mixture(rows=8))
    taught = Kitchen(prompts, [("hello", "hi")], Mixture(rows=8), [reworded])
    assert plain.batch(0).batch.targets.tolist() != taught.batch(0).batch.targets.tolist()
    path = tmp_path / "broken.jsonl"
    path.write_text("[1]\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds no paraphrases"):
        paraphrases.read(path)
