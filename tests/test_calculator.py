"""The calculator is exact, understands how people write and say sums, and cannot be made to run for long."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perslm_runtime.calculator import calculate, expression_of
from perslm_runtime.errors import InputError
from perslm_runtime.units import UNITS


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("what is 15 % of 80", "12"),
        ("what's 15 percent of 80?", "12"),
        ("how much is 80 + 15%", "92"),
        ("what is twelve times seven", "84"),
        ("what is two hundred and five plus three point five", "208.5"),
        ("what is one hundred thousand minus one", "99,999"),
        ("calculate (3+4)*-2", "-14"),
        ("what is 2 to the power of 10", "1,024"),
        ("what is the square root of 144", "12"),
        ("what is the square root of 2", "about 1.41421"),
        ("what is 0.1 + 0.2", "0.3"),
        ("what is 1/3 + 1/6", "0.5"),
        ("what is 2/3", None),
        ("2/3 of 9", "6"),
        ("half of 90", "45"),
        ("what is 3x4", "12"),
        ("what is -5 mod 3", "1"),
        ("what is 1,250.50 * 2", "2,501"),
        ("what is $12.50 * 3", "37.5 dollars"),
        ("how many feet are in 3 meters", "about 9.84252 feet"),
        ("convert 5 miles to kilometers", "8.04672 kilometres"),
        ("what is 20 degrees celsius in fahrenheit", "68 degrees Fahrenheit"),
        ("5 feet 11 inches in cm", "180.34 centimetres"),
        ("60 miles / 2 hours", "30 miles per hour"),
        ("2 kg + 500 g", "2.5 kilograms"),
        ("3 square metres / 2 metres", "1.5 metres"),
        ("I want to know what is 4 squared", "16"),
    ],
)
def test_a_sum_as_people_ask_for_it(asked: str, said: str | None) -> None:
    expression = expression_of(asked)
    assert expression is not None
    assert said is None or calculate(expression).said() == said


@pytest.mark.parametrize(
    "sentence",
    [
        "what is the capital of Italy",
        "what is 5",
        "how many people live in 10 Downing Street",
        "what is 9/11",
        "what happened in 1989",
        "tell me about apollo 11",
        "what is a square",
        "what is love",
        "set a timer for 10 minutes",
        "add 2 bottles of milk to the shopping list",
        "",
    ],
)
def test_what_is_no_sum_is_left_to_others(sentence: str) -> None:
    assert expression_of(sentence) is None


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("1/0", "zero"),
        ("0^-1", "zero"),
        ("9^9^9", "large"),
        ("999!", "300"),
        ("2^(2^100)", "large"),
        ("(" * 80 + "1", "nested"),
        ("1" * 201, "characters"),
        ("3 metres in kilograms", "kind"),
        ("3 metres + 2 kilograms", "kinds"),
        ("20 celsius + 5 celsius", "temperatures"),
        ("__import__('os')", "nothing"),
        ("1 +", "missing"),
        ("(1", "bracket"),
        ("sqrt -4", "missing|negative|computed"),
    ],
)
def test_what_cannot_be_computed_says_why(expression: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        calculate(expression)


@given(st.text(max_size=60) | st.text(alphabet="0123456789+-*/^%()!. ", max_size=60))
def test_any_text_is_computed_or_refused_in_a_moment(text: str) -> None:
    with suppress(InputError):
        assert calculate(text).said()


@given(st.fractions(max_denominator=999), st.fractions(max_denominator=999))
def test_it_agrees_with_exact_fractions(one: Fraction, other: Fraction) -> None:
    text = f"({one.numerator}/{one.denominator}) + ({other.numerator}/{other.denominator})"
    if len(text) <= 200:
        assert calculate(text).value == one + other


@pytest.mark.parametrize("name", sorted(UNITS))
def test_every_unit_comes_back_as_it_was(name: str) -> None:
    found = calculate(f"7 {name}")
    assert found.unit is UNITS[name]
    assert found.said() == f"7 {UNITS[name].many}"
