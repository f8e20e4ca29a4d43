"""Who is meant by a role or a name, read out of what was told."""

from __future__ import annotations

import pytest

from perslm_runtime.aliases import also_called, asked_people, reworded

TOLD = [
    "My sister is called Ana.",
    "Petra is my cousin.",
    "Fitz, the roofer, was here for the first time.",
    "I hired Mr. Abara as tutor.",
    "My sister and Tom went out.",
    "My brother is in Rome.",
    "We have a landlord, Tilda.",
]


@pytest.mark.parametrize(
    ("who", "others"),
    [
        ("sister", ["Ana"]),
        ("Ana", ["sister"]),
        ("cousin", ["Petra"]),
        ("Petra", ["cousin"]),
        ("roofer", ["Fitz"]),
        ("Fitz", ["roofer"]),
        ("tutor", ["Abara"]),
        ("Abara", ["tutor"]),
        ("landlord", ["Tilda"]),
        ("brother", []),
        ("Tom", []),
        ("nobody", []),
    ],
)
def test_small_words_alone_stand_between_a_name_and_its_role(who: str, others: list[str]) -> None:
    assert also_called(who, TOLD) == others


def test_people_of_a_question_are_names_and_what_is_mine() -> None:
    assert asked_people("What does the roofer give my aunt in Rome?") == ["roofer", "aunt", "Rome"]
    assert asked_people("What Is It?") == []


@pytest.mark.parametrize(
    ("question", "others", "reworded_as"),
    [
        ("What does my sister do?", {"sister": "Ana"}, ["What does they do?", "What does Ana do?"]),
        ("What is Ana's job?", {"Ana": "sister"}, ["What is they's job?", "What is my sister's job?"]),
        ("My sister likes Ana?", {"sister": "Ana", "Ana": "sister"}, ["they likes they?", "Ana likes my sister?"]),
        ("What is the capital of Italy?", {}, []),
        ("Where is Ana (b|c)?", {"Ana": "a.\\1"}, ["Where is they (b|c)?", "Where is my a.\\1 (b|c)?"]),
    ],
)
def test_a_question_is_asked_again_without_its_people_and_with_other_words_for_them(
    question: str, others: dict[str, str], reworded_as: list[str]
) -> None:
    assert reworded(question, others) == reworded_as
