"""Who is meant by a role or a name, read out of what was told."""

from __future__ import annotations

import pytest

from perslm_runtime.aliases import also_called, asked_people

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
