"""What people tell of themselves in words that facts.py reads, and are asked in others, told in a dialogue.

Its author knew the rules: it shows what a profile can carry beside recall, not how much people say that is read.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

from perslm_daemon.bench_dialogue import Asked, Dialogue

PERSONAL = (  # told, what answers, asked
    ("My name is Benedikt.", "Benedikt", "What am I called?"),
    ("I live in Tromsø.", "Tromsø", "Which city is my home in?"),
    ("I work as a lighthouse keeper.", "lighthouse keeper", "What do I do for a living?"),
    ("I am allergic to walnuts.", "walnuts", "Which food must I avoid?"),
    ("My birthday is on the ninth of August.", "ninth of August", "When do I get a year older?"),
    ("My favourite colour is turquoise.", "turquoise", "In which colour should I paint my room?"),
    ("My phone number is 555 0134.", "555 0134", "How can somebody ring me?"),
    ("My email is beni@example.org.", "beni@example.org", "Where can somebody write to me?"),
    ("I hate fennel.", "fennel", "Is there a vegetable I would rather not be served?"),
    ("I love old westerns.", "old westerns", "What would I enjoy watching tonight?"),
    ("I speak Danish.", "Danish", "Which languages do I know?"),
    ("I am vegetarian.", "vegetarian", "What should a cook know about me?"),
    ("I always drink green tea in the morning.", "green tea", "What do I have for breakfast?"),
    ("My grandmother lives in Sintra.", "Sintra", "Where would I visit my grandmother?"),
    ("My boss is called Ingeborg.", "Ingeborg", "Who do I work under?"),
    ("My grandfather is allergic to penicillin.", "penicillin", "What should a doctor know about my grandfather?"),
)


def personal(dialogue: Dialogue, seed: int) -> Dialogue:
    """The dialogue with PERSONAL told among its turns, and only that asked, at the end."""
    draw, told, asked = Random(seed), list(dialogue.told), []  # noqa: S311 - a draw that can be repeated
    places = sorted(draw.sample(range(10, len(told) - 50), len(PERSONAL)), reverse=True)
    facts = draw.sample(PERSONAL, len(PERSONAL))
    for place, (text, _, _) in zip(places, facts, strict=True):  # the last place first: those before stay
        before = told[place]
        at = before.at + timedelta(seconds=20)
        told.insert(place + 1, replace(before, at=at, said=text, reply="Noted."))
    for text, answer, question in facts:
        place = next(number for number, one in enumerate(told) if one.said == text)
        asked.append(Asked("single", question, told[-1].at, frozenset((place,)), (answer,)))
    return Dialogue(tuple(told), tuple(asked))
