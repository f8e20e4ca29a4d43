"""The same said otherwise is done alike: a few sentences of a table in every form."""

from __future__ import annotations

from pathlib import Path

import pytest

from perslm_daemon.bench_dressed import dressed, otherwise, ways
from perslm_daemon.bench_sentences import Said, Table

pytestmark = pytest.mark.anyio
FORMS = ways(Path(__file__).parents[1] / "benchmarks")
SAID = (
    ("Turn the kitchen lamp off", "turn_off", None, "Kitchen Lamp"),
    ("Turn on the fan", "turn_on", None, "Fan"),
    ("Open the bedroom blind", "open", None, "Bedroom Blind"),
    ("Set the kitchen lamp to 40 percent", "set_brightness", 40.0, "Kitchen Lamp"),
    ("Is the back door locked?", "?is_state", "locked", "Back Door"),
)
HOUSE = (
    {"name": "Kitchen Lamp", "domain": "light", "area": "Kitchen"},
    {"name": "Fan", "domain": "fan", "area": "Bedroom"},
    {"name": "Bedroom Blind", "domain": "cover", "area": "Bedroom", "kind": "blind"},
    {"name": "Back Door", "domain": "lock", "area": "Hall"},
)


async def test_a_plain_sentence_is_done_alike_in_every_form() -> None:
    table = Table(
        list(HOUSE), {}, [Said(say, "", (), ((verb, value, (name,)),)) for say, verb, value, name in SAID]
    )
    tallies, judged = await dressed(table, FORMS, most=len(SAID), seed=1)
    assert [example for tally in tallies.values() for example in tally.examples] == []
    assert len(judged) > 250


def test_forms_fit_what_they_are_put_around() -> None:
    switched = dict(otherwise("Turn the hall lights off", FORMS))
    assert switched["{x} needs turning {p}"] == "The hall lights need turning off"
    assert switched["kill {x}"] == "Kill the hall lights"
    assert "fire up {x}" not in switched
    asked = dict(otherwise("Is the gate open?", FORMS))
    assert asked["{x} is {p}, isn't it?"] == "The gate is open, isn't it?"
    assert not any(form in asked for form in FORMS["around"]["command"])
    assert {form for form, _ in otherwise("Good night", FORMS)} == set(FORMS["around"]["any"])
