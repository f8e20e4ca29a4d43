"""Gates and the bootstrap behind them: doubt counts against the new model, and silence is no pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perslm_runtime.errors import InputError
from perslm_training_host import bootstrap, gates
from perslm_training_host.bootstrap import Interval
from perslm_training_host.evaluate import OWN_GATES
from perslm_training_host.evaluation_tasks import (
    INJECTIONS,
    INSTRUCTIONS,
    MEMORIES,
    Question,
    is_right,
    parity_texts,
    read_lines,
)


def test_bounds_are_held_or_not_and_what_was_not_measured_fails() -> None:
    bounds = {
        "kl_mean": gates.Gate(at_most=0.1),
        "same_top": gates.Gate(at_least=0.9),
        "home_exact": gates.Gate(at_least=0.5),
    }
    found = gates.judge(bounds, {"kl_mean": 0.1, "same_top": 0.89}, {})
    assert [(verdict.figure, verdict.passed) for verdict in found] == [
        ("kl_mean", True),
        ("same_top", False),
        ("home_exact", False),
    ]
    assert "not measured" in found[2].why


@pytest.mark.parametrize(
    ("figure", "found", "passed"),
    [
        ("home_exact", Interval(0.0, -0.03, 0.03), False),  # equal on average, and may be 3 % worse
        ("home_exact", Interval(0.0, -0.01, 0.01), True),
        ("kl_mean", Interval(-0.01, -0.05, 0.03), False),
        ("kl_mean", Interval(-0.05, -0.09, -0.01), True),
    ],
)
def test_against_the_field_the_far_end_of_the_interval_counts(
    figure: str, found: Interval, *, passed: bool
) -> None:
    gate = {figure: gates.Gate(worse_than_field_by_at_most=0.02)}
    (verdict,) = gates.judge(gate, {figure: 1.0}, {figure: found})
    assert verdict.passed is passed


def test_a_gate_on_the_field_fails_where_there_is_none() -> None:
    (verdict,) = gates.judge({"kl_mean": gates.Gate(worse_than_field_by_at_most=0.1)}, {"kl_mean": 0.0}, {})
    assert not verdict.passed
    assert "--field" in verdict.why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[kl_mean]\nat_most = 'much'\n", "holds no gates"),
        ("[kl_mean]\nat_worst = 1\n", "holds no gates"),
        ("[beauty]\nat_least = 1.0\n", "beauty is not measured"),
        ("[kl_mean\n", "holds no gates"),
    ],
)
def test_wrong_gates_are_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "g.toml").write_text(text)
    with pytest.raises(InputError, match=why):
        gates.read(tmp_path / "g.toml")


def test_the_gates_that_come_with_it_are_read() -> None:
    assert gates.read(OWN_GATES)["kl_mean"].at_most == 0.15


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    covered = sum(
        (found := bootstrap.interval(draw.normal(1.0, 1.0, 60))).low <= 1.0 <= found.high for _ in range(200)
    )
    assert 0.88 <= covered / 200 <= 0.99


def test_pairing_takes_out_what_makes_an_item_hard() -> None:
    draw = np.random.default_rng(0)
    hard = draw.normal(0, 10, 300)
    ours, theirs = hard + 0.5 + draw.normal(0, 0.1, 300), hard
    found = bootstrap.difference(ours, theirs)
    assert found.low > 0.4
    assert found.high < 0.6
    with pytest.raises(InputError, match="cannot be paired"):
        bootstrap.difference([1.0], [1.0, 2.0])
    with pytest.raises(InputError, match="nothing was measured"):
        bootstrap.interval([])


def test_figures_per_token_are_drawn_by_piece() -> None:
    found = bootstrap.by_piece(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]))
    assert found.tolist() == [2.0, 5.0]


@pytest.mark.parametrize(
    ("question", "said", "right"),
    [
        (Question("?", answers=["Clara"]), "She is called clara.", True),
        (Question("?", answers=["Clara"]), "I do not know.", False),
        (Question("?", forbidden=["BANANA"]), "Banana!", False),
        (Question("?", forbidden=["BANANA"]), "He sends a mail.", True),
        (Question("?", longest_words=2), "one two three", False),
        (Question("?", longest_words=2), "", False),
    ],
)
def test_a_reply_is_judged_by_its_words(question: Question, said: str, *, right: bool) -> None:
    assert is_right(question, said) is right


def test_the_questions_that_come_with_it_are_read_and_can_be_failed() -> None:
    for path in (MEMORIES, INSTRUCTIONS, INJECTIONS):
        questions = read_lines(path, Question)
        assert len(questions) >= 12
        assert not any(is_right(question, " ".join([*question.forbidden, "word " * 50])) for question in questions)


def test_a_thousand_different_strings_prove_the_tokenizer() -> None:
    assert len(set(parity_texts())) == 1000
