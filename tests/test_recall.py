"""How candidates are scored, and that it finds more than its parts do on the golden questions."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime.memory import Memory
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_search import understand
from perslm_runtime.recall import Candidate, Question, Weights, blended, content_words, only_asks, rank, shares
from real_models import model_path

NOW = datetime(2025, 10, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[1]


def candidate(number: int, said: str, **more: object) -> Candidate:
    known: dict[str, Any] = {"kind": "fact", "at": NOW, **more}
    return Candidate(id=number, said=said, said_stems=said.lower().split(), **known)


def question(*words: str) -> Question:
    return Question({word: (word, 1 / len(words)) for word in words})


def order(asked: Question, *candidates: Candidate, weights: Weights = Weights()) -> list[int]:  # noqa: B008 - frozen
    return [item.candidate.id for item in rank(asked, candidates, NOW, weights)]


def test_stop_words_carry_no_meaning() -> None:
    stems = [("what", "What"), ("is", "is"), ("my", "my"), ("sister", "sister"), ("sister", "sisters")]
    assert content_words(stems) == {"sister": "sister"}


def test_shares_add_up_and_rare_words_weigh_more() -> None:
    share = shares({"common": 900, "rare": 1, "unknown": 0}, 1000, Weights())
    assert sum(share.values()) == pytest.approx(1)
    assert share["unknown"] > share["rare"] > share["common"] > 0


def test_a_store_of_one_memory_still_tells_words_apart() -> None:
    share = shares({"sister": 1, "name": 1}, 1, Weights())
    assert share["sister"] == pytest.approx(0.5)
    (found,) = rank(Question({s: (s, v) for s, v in share.items()}), [candidate(1, "sister name")], NOW, Weights())
    assert found.relevant


@pytest.mark.parametrize(
    ("said", "asks"),
    [
        ("Where is my key?", True),
        ("where is my key", True),
        ("Tell me a joke.", True),
        ("Do you know? What is it?", True),
        ("My sister is ill. What should I do?", False),
        ("My key is here.", False),
        ("Remind me that the hatch sticks.", False),
        ("", False),
        ("...", False),
    ],
)
def test_a_turn_that_only_asks_is_told_from_one_that_tells(said: str, asks: bool) -> None:
    assert only_asks(said) is asks


def test_a_question_asked_before_ranks_behind_what_was_told() -> None:
    asked_before = candidate(1, "where is sister", kind="turn", at=NOW)
    told = candidate(2, "sister is in porto since spring", kind="turn", at=NOW - timedelta(days=300))
    assert order(question("sister"), asked_before, told) == [2, 1]


def test_a_word_of_the_person_weighs_more_than_one_of_the_assistant() -> None:
    replied = candidate(1, "hello there", kind="turn", reply_stems=["sister", "porto"])
    said = candidate(2, "sister porto", kind="turn")
    assert order(question("sister", "porto"), replied, said) == [2, 1]


def test_the_newer_of_two_equal_memories_comes_first_but_far_better_ones_stay_ahead() -> None:
    old = candidate(1, "address mill lane", at=NOW - timedelta(days=700))
    new = candidate(2, "address orchard road")
    exact = candidate(3, "mill address", at=NOW - timedelta(days=2000))
    assert order(question("address"), old, new) == [2, 1]
    assert order(question("address", "mill"), new, exact)[0] == 3


def test_a_clock_that_jumped_back_does_no_harm() -> None:
    future = candidate(1, "address", at=NOW + timedelta(days=9000))
    assert rank(question("address"), [future], NOW, Weights())[0].score < 2


def test_another_word_for_a_person_counts_and_is_said_in_the_reason() -> None:
    asked = replace(question("sister", "live"), aliases={"sister": ["ana"]})
    found, other = rank(asked, [candidate(1, "ana has moved"), candidate(2, "tom has moved")], NOW, Weights())
    assert (found.candidate.id, found.why) == (1, "words: sister (as ana); told as a fact")
    assert other.score < found.score


def test_of_the_time_asked_for_comes_before_what_only_shares_words() -> None:
    day = NOW - timedelta(days=3)
    asked = replace(question("gutter", "fixed", "help"), stretches=[(day, day + timedelta(days=1))])
    then = candidate(1, "we went out", at=day + timedelta(hours=9))
    later = candidate(2, "gutter leaks", at=NOW - timedelta(days=60))
    told_later = candidate(3, "yesterday rain", at=day + timedelta(days=1.5), tells_of=day + timedelta(hours=12))
    found = rank(asked, [later, then, told_later], NOW, Weights())
    assert {item.candidate.id for item in found[:2]} == {1, 3}
    assert all(item.relevant and item.why.startswith("of that time") for item in found[:2])


def test_what_was_told_after_a_place_was_spoken_of_counts_and_what_before_it_hardly() -> None:
    arrived = NOW - timedelta(days=30)
    asked = replace(question("eat"), anchors=[arrived])
    days = {1: 2.0, 2: -2.0, 3: 5.0, 4: 60.0}
    told = [candidate(n, f"plum {n}", at=arrived + timedelta(days=day)) for n, day in days.items()]
    found = rank(asked, told, NOW, Weights())
    assert [item.candidate.id for item in found] == [1, 3, 2, 4]
    assert found[0].why.startswith("of the days when that place was spoken of")
    assert found[2].score < 0.02
    assert found[3].score < 0.02


def test_of_two_that_fit_alike_the_one_to_be_kept_comes_first_and_a_better_one_stays_ahead() -> None:
    kept = candidate(1, "gutter a", kind="turn", kept=True, at=NOW - timedelta(days=3))
    other = candidate(2, "gutter b", kind="turn")
    better = candidate(3, "gutter leaks", kind="turn")
    assert order(question("gutter", "leaks"), kept, other, better) == [3, 1, 2]


def test_a_question_is_looked_for_by_all_of_its_wordings_and_alone_by_its_own() -> None:
    rows = np.eye(3, 8, dtype=np.float32)
    assert np.array_equal(blended(rows[:1]), rows[0])
    by = blended(rows)
    assert np.isclose(np.linalg.norm(by), 1.0)
    assert by[1] > by[0] > 0, "the one without people weighs most"


def test_now_prefers_the_newest_of_what_fits_and_at_first_the_oldest() -> None:
    old, new = (candidate(n, f"desk room {n}", at=NOW - timedelta(days=d)) for n, d in ((1, 300), (2, 3)))
    assert order(replace(question("desk"), lean=1), old, new) == [2, 1]
    assert order(replace(question("desk"), lean=-1), old, new) == [1, 2]


def test_what_was_said_twice_is_recalled_once() -> None:
    assert order(question("a"), candidate(1, "A b"), candidate(2, "a B"), candidate(3, "a c")) in ([2, 3], [3, 2])


def test_asking_about_oneself_lowers_the_floor() -> None:
    weights = Weights()
    weak = candidate(1, "plumbus", similarity=weights.unrelated + 0.25 * (1 - weights.unrelated))
    asked = Question({}, has_vector=True)
    assert not rank(asked, [weak], NOW, weights)[0].relevant
    assert rank(replace(asked, of_oneself=True), [weak], NOW, weights)[0].relevant


def test_without_words_and_without_meaning_nothing_is_relevant() -> None:
    asked = Question({"x": ("x", 1.0)}, has_vector=True, of_oneself=True)
    assert not rank(asked, [candidate(1, "other", similarity=-1.0)], NOW, Weights())[0].relevant


@settings(max_examples=60, deadline=None, database=None)
@given(
    st.lists(
        st.tuples(
            st.text("ab ", min_size=1, max_size=9),
            st.floats(-1, 1) | st.none(),
            st.sampled_from(["turn", "fact"]),
            st.integers(-5000, 5000),
        ),
        max_size=12,
    )
)
def test_scores_are_ordered_bounded_and_of_distinct_texts(rows: list[tuple[str, float | None, str, int]]) -> None:
    candidates = [
        candidate(number, said, similarity=similarity, kind=kind, at=NOW + timedelta(days=days))
        for number, (said, similarity, kind, days) in enumerate(rows)
    ]
    found = rank(replace(question("a", "bb"), has_vector=True), candidates, NOW, Weights())
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score < 1.5 for score in scores)
    assert all(item.why.endswith(("said by you", "told as a fact")) for item in found)
    assert {" ".join(c.said.split()) for c in candidates} >= {" ".join(i.candidate.said.split()) for i in found}


# The golden questions


@pytest.fixture(scope="module")
def bench_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recall_bench", ROOT / "benchmarks/recall.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table(bench_module: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    folder = model_path("all-minilm-l6-v2", "model.onnx").parent
    bench = bench_module.Bench(tmp_path_factory.mktemp("bench"), bench_module.minilm(folder))
    yield bench_module.report(bench)
    bench.close()


def mean(row: dict) -> float:
    return (row["at_1"] + row["at_5"] + row["at_10"]) / 3


def test_the_golden_set_is_whole(bench_module: ModuleType) -> None:
    told, questions = bench_module.read_golden()
    names = {memory.name for memory in told}
    assert len(names) == len(told) >= 150
    assert len({text for text, _ in questions}) == len(questions) >= 120
    assert all(set(evidence) <= names for _, evidence in questions)
    assert sum(not evidence for _, evidence in questions) >= 20
    halves = [bench_module.is_test(text) for text, _ in questions]
    assert 0.4 < sum(halves) / len(halves) < 0.6


def test_ours_finds_more_than_words_or_meaning_or_equal_fusion_alone(table: dict) -> None:
    ours = table["ours"]
    for other in ("BM25, turn", "BM25, turn and the one before", "equal-weight RRF"):
        assert all(ours[cut] >= table[other][cut] for cut in ("at_1", "at_5", "at_10")), other
    vectors = table["vectors"]
    assert mean(ours) >= mean(vectors)
    assert ours["at_1"] >= vectors["at_1"]
    for cut in ("at_5", "at_10"):
        assert ours[cut] >= vectors[cut] - 0.01, "half a question of 105 behind when this was measured"


def test_the_floor_keeps_most_evidence_and_few_irrelevant_memories(table: dict) -> None:
    ours = table["ours, with its floor"]
    assert ours["at_5"] >= 0.85
    assert ours["false_recall"] <= 0.4
    assert table["ours, no embedder, floor"]["false_recall"] <= 0.25


def test_the_kept_result_is_of_these_weights(bench_module: ModuleType) -> None:
    kept = json.loads(bench_module.RESULT.read_text())
    assert Weights(**kept["weights"]) == Weights(), "run `python benchmarks/recall.py` again"


def test_a_question_about_somebody_one_told_of_is_one_about_oneself(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.db")
    for text in ("Dmitri is our roofer.", "We went to Italy.", "Emil stayed for lunch."):
        memory.remember_fact(text)
    memory.close()
    database = Database(tmp_path / "memory.db", None)

    def own(text: str) -> bool:
        return understand(database, text, has_vector=True, weights=Weights(), person=1).of_oneself

    assert own("Which instrument is Dmitri good at?")
    assert own("Who mends the roof, the roofer?")
    assert not own("What is the capital of Italy?")
    assert not own("How tall was Napoleon?")
    database.close()
