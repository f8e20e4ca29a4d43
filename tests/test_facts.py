"""What sentences say of people, held to a list of what follows from them; and nothing that was not said."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime.errors import InputError
from perslm_runtime.facts import CORRECTED, HEDGED, UNSURE, statements
from perslm_runtime.relations import ROLES, can_mean, way
from sayings import Said, golden, same


def said(text: str) -> set[Said]:
    return {
        same(one.subject, one.relation, one.value)
        for one in statements(text)
        if not one.pronoun and (one.subject or not one.named)
    }


def test_the_list_has_enough_of_what_says_nothing() -> None:
    cases = golden()
    assert len(cases) > 90
    assert sum(not wanted for _, wanted in cases) > 30


@pytest.mark.parametrize(("text", "wanted"), golden(), ids=lambda value: value if isinstance(value, str) else "")
def test_what_follows_from_a_sentence(text: str, wanted: set[Said]) -> None:
    assert said(text) == wanted


@pytest.mark.parametrize("text", [text for text, _ in golden("facts_hard.txt")])
def test_what_no_rule_knows_is_left_out(text: str) -> None:
    assert said(text) == set()


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.sampled_from([text for text, _ in golden()]), min_size=1, max_size=4).map(" ".join))
def test_every_value_stands_in_the_text(text: str) -> None:
    for one in statements(text):
        assert one.value is None or one.value in text
        assert one.quote in text


@settings(max_examples=60, deadline=None, database=None)
@given(st.text(max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    statements(text)


def test_how_sure_depends_on_how_it_was_said() -> None:
    assert [one.confidence for one in statements("I think my boss is called Meier.")] == [HEDGED]
    (corrected,) = statements("No. Her name is Ana.")
    assert (corrected.confidence, corrected.corrects, corrected.pronoun) == (CORRECTED, True, "her")
    assert [one.confidence for one in statements("Her name is Ana.")] == [UNSURE]
    assert statements("It's Ana.") == [], "it may be anything"
    assert statements("No, it's Ana.")[0].pronoun == "it"


def test_a_pronoun_means_the_one_person_just_spoken_of() -> None:
    one, two = statements("My sister is called Ana. She works as a nurse.")
    assert (two.subject, two.named, two.pronoun) == (("sister",), "Ana", "")
    *_, third = statements("My sister is Ana and my brother is Max. He works as a nurse.")
    assert third.pronoun == "he", "two were spoken of"
    assert can_mean("he", "brother")
    assert not can_mean("he", "sister")
    assert one.relation == "name"


def test_ways_are_read_and_wrong_ones_named() -> None:
    sister, children = way("my sister's children")
    assert sister.along == ("sister",)
    assert children.along == ("child", "son", "daughter")
    assert "mother" in children.back
    assert set(way("family")[0].along) <= set(ROLES.values())
    for wrong in ("my sister's car", "", "my"):
        with pytest.raises(InputError):
            way(wrong)
