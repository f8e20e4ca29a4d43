"""The dialogues that recall is measured on, and that ours finds more there than its parts."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from perslm_daemon import bench_stories
from perslm_daemon.bench_answers import contains
from perslm_daemon.bench_dialogue import KINDS, Dialogue, read_locomo
from perslm_daemon.bench_recall import SINGLE, Embed, evaluate, means, opened, share_found
from perslm_runtime.embed import Embedder
from perslm_runtime.errors import InputError
from perslm_runtime.lane import Stop
from real_models import model_path

ROOT = Path(__file__).parents[1]


def development() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recall_stories", ROOT / "benchmarks/recall_stories.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def both() -> tuple[list[Dialogue], list[Dialogue]]:
    return bench_stories.dialogues(), development().dialogues()


def test_dialogues_have_enough_questions_of_every_kind_with_evidence_in_time(
    both: tuple[list[Dialogue], list[Dialogue]],
) -> None:
    for dialogues in both:
        asked = [one for dialogue in dialogues for one in dialogue.asked]
        assert len(asked) >= 500
        assert {one.kind for one in asked} == set(KINDS)
        for dialogue in dialogues:
            assert list(dialogue.told) == sorted(dialogue.told, key=lambda told: told.at)
            for one in dialogue.asked:
                assert one.evidence
                assert all(dialogue.told[place].at <= one.at for place in one.evidence), one.text


def test_a_seed_always_makes_the_same_dialogues() -> None:
    assert bench_stories.dialogues(1) == bench_stories.dialogues(1)
    assert bench_stories.dialogues(1, seed=8) != bench_stories.dialogues(1)


def test_no_sentence_and_no_question_is_in_both_sets(both: tuple[list[Dialogue], list[Dialogue]]) -> None:
    told = [{t.said for d in dialogues for t in d.told} for dialogues in both]
    asked = [{a.text for d in dialogues for a in d.asked} for dialogues in both]
    assert told[0] & told[1] == set()
    assert {text for text in asked[0] & asked[1] if "yesterday" not in text} == set()


@pytest.fixture(scope="module")
def embed() -> Iterator[Embed]:
    embedder = Embedder(model_path("all-minilm-l6-v2", "model.onnx").parent, 1)
    yield lambda texts: embedder.embed(texts, Stop())
    embedder.close()


def test_ours_finds_more_than_each_part_alone(tmp_path: Path, embed: Embed) -> None:
    whole = bench_stories.dialogues(1, seed=3)[0]
    some = Dialogue(whole.told, whole.asked[::6])
    table = means(evaluate(tmp_path, [some], embed))
    assert all(table["ours"]["all"] >= table[name]["all"] + 0.05 for name in (*SINGLE, "equal-weight fusion"))


def test_a_share_of_more_evidence_than_fits_is_of_what_can_be_there() -> None:
    assert share_found([1, 2, 3], frozenset((1, 9)), 10) == 0.5
    assert share_found(range(10), frozenset(range(20)), 10) == 1.0


LOCOMO = [
    {
        "conversation": {
            "speaker_a": "Ann",
            "speaker_b": "Ben",
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [
                {"speaker": "Ann", "dia_id": "D1:1", "text": "I adopted a cat.", "blip_caption": "a grey cat"},
                {"speaker": "Ben", "dia_id": "D1:2", "text": "Lovely!"},
            ],
            "session_2_date_time": "9:00 am on 1 June, 2023",
            "session_2": [{"speaker": "Ben", "dia_id": "D2:1", "text": "I moved to Oslo."}],
        },
        "qa": [
            {"question": "What did Ann adopt?", "answer": "a cat", "evidence": ["D1:1"], "category": 4},
            {"question": "When did Ben move?", "answer": 2023, "evidence": ["D2:1; D1:2"], "category": 2},
            {"question": "What did Cid say?", "evidence": ["D1:1"], "category": 5},
            {"question": "Nothing?", "answer": "", "evidence": [], "category": 1},
        ],
    }
]


def test_locomos_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "locomo.json"
    path.write_text(json.dumps(LOCOMO))
    (dialogue,) = read_locomo(path)
    assert dialogue.told[0].said == "Ann: I adopted a cat. (shares a grey cat)"
    assert dialogue.told[2].at == datetime(2023, 6, 1, 9, tzinfo=UTC)
    assert [(one.kind, sorted(one.evidence)) for one in dialogue.asked] == [("single", [0]), ("time", [1, 2])]


def test_an_outside_set_is_measured_like_our_own(tmp_path: Path, embed: Embed) -> None:
    path = tmp_path / "locomo.json"
    path.write_text(json.dumps(LOCOMO))
    (dialogue,) = read_locomo(path)
    assert means(evaluate(tmp_path, [dialogue], embed))["ours"] == {"all": 1.0, "single": 1.0, "time": 1.0}
    with opened(tmp_path / "again", dialogue, embed) as store:
        when = [entry.when for entry in store.memory.list()][::-1]
    assert when == [told.at for told in dialogue.told], "a clock of 2023 is a set one here"


@pytest.mark.parametrize("text", ["{", "[1]", '[{"conversation": {}}]'])
def test_another_form_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InputError, match="LoCoMo"):
        read_locomo(path)


def test_an_answer_is_right_when_it_contains_the_words() -> None:
    assert contains("She plays the harp.", "the harp")
    assert contains("It is in Room twelve!", "room twelve")
    assert not contains("She plays a harpsichord.", "the harp")
