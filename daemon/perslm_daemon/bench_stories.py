"""Test dialogues for `perslm bench memory`: two years of somebody's work, projects and journeys, made from a seed.

No weight is chosen on these. The development dialogues (benchmarks/recall_stories.py) were written apart, with
other templates, names and topics. The person talks in threads that go on for weeks: a project with its
helpers, prices and setbacks; journeys; a club; promises; and much that nobody ever asks about.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from random import Random

from perslm_daemon.bench_dialogue import Dialogue, Story

_START = datetime(2023, 9, 18, tzinfo=UTC)
_DAYS = 700
_TABLES = tomllib.loads(files("perslm_daemon").joinpath("bench_stories.toml").read_text(encoding="utf-8"))
_HELPERS, _ROLES, _REPLIES = _TABLES["helpers"], _TABLES["roles"], _TABLES["replies"]
_JOURNEYS, _INCIDENTS, _CHATTER = _TABLES["journeys"], _TABLES["incidents"], _TABLES["chatter"]
_TRAITS, _PROJECTS, _CHANGES, _REFUSALS, _ABROAD, _PROMISES = (
    [tuple(row.values()) for row in _TABLES[name]]
    for name in ("traits", "projects", "changes", "refusals", "abroad", "promises")
)


@dataclass(slots=True)
class _Life:
    """One test dialogue in the making."""

    draw: Random
    story: Story
    crew: list[tuple[str, str]]
    happened: dict[int, str] = field(default_factory=dict)

    def some_day(self) -> int:
        return self.draw.randrange(15, _DAYS - 5)

    def line(self, text: str, key: str = "") -> tuple[str, str, str]:
        return text[0].upper() + text[1:], self.draw.choice(_REPLIES), key

    def chat(self, least: int = 0, most: int = 3) -> list[tuple[str, str, str]]:
        return [self.line(text) for text in self.draw.sample(_CHATTER, self.draw.randrange(least, most + 1))]

    def named(self, one: tuple[str, str]) -> str:
        return one[0] if self.draw.random() < 0.7 else f"the {one[1]}"

    def meet_the_crew(self) -> None:
        for name, role in self.crew:
            text = self.draw.choice(
                ("{n}, the {r}, was here for the first time.", "I hired {n} as {r}.", "The {r} is called {n}.")
            )
            self.story.session(
                self.draw.randrange(12), *self.chat(), self.line(text.format(n=name, r=role)), *self.chat()
            )

    def traits(self) -> None:
        for trait, ways, values, asks in _TRAITS:
            some = self.draw.sample(self.crew, min(6, len(values)))
            for one, value in zip(some, self.draw.sample(values, len(some)), strict=True):
                key = f"{trait}{one[0]}".replace(" ", "")
                lines = [
                    self.line(self.draw.choice(ways).format(p=self.named(one), v=value), f"{key} all-{trait}")
                ]
                if self.draw.random() < 0.3:  # the name is in the turn before
                    text = self.draw.choice(ways).format(p="that person", v=value)
                    lines = [
                        self.line(f"Had a long talk with {self.named(one)}."),
                        self.line(text, f"{key} all-{trait}"),
                    ]
                self.story.session(self.some_day(), *self.chat(), *lines, *self.chat())
                asked_as = one[0] if self.draw.random() < 0.75 else f"the {one[1]}"
                self.story.ask("single", key, self.draw.choice(asks).format(p=asked_as), value)
        self.story.ask("several", "all-plays", "Which instruments do the people around me play?")
        self.story.ask("several", "all-lent", "What have I handed out to people on loan?")
        self.story.ask("several", "all-studies", "What are all of them learning in their free time?")
        self.story.ask("several", "all-hurt", "Who got injured and how?")

    def projects(self) -> None:
        for number, (name, _, steps) in enumerate(self.draw.sample(_PROJECTS, 5)):
            begun = self.draw.randrange(30, 400)
            price = self.draw.choice(
                ("eighty", "a hundred and forty", "three hundred and ten", "fifty-five", "six hundred")
            )
            with_whom = self.draw.choice(self.crew)
            for place, step in enumerate(steps):
                day = begun + place * 13 + self.draw.randrange(9)
                text = self.draw.choice(("Today I {s}, for {n}.", "I {s}.", "Worked on {n}: I {s}.")).format(
                    s=step, n=name
                )
                more = (
                    []
                    if place
                    else [self.line(f"It will cost about {price} euros, {with_whom[0]} thinks.", f"price{number}")]
                )
                self.story.session(
                    day, *self.chat(most=2), self.line(text, f"steps{number} day{day}"), *more, *self.chat(most=2)
                )
                self.happened.setdefault(day, f"day{day}")
            self.story.ask("single", f"price{number}", f"How much money will {name} take?", price)
            self.story.ask("several", f"steps{number}", f"What have I got done so far for {name}?")

    def changes(self) -> None:
        for number, (ways, values, now, before) in enumerate(_CHANGES):
            chosen = self.draw.sample(values, 3)
            days = sorted(self.draw.sample(range(15, _DAYS - 5), 3))
            for turn, (day, value) in enumerate(zip(days, chosen, strict=True)):
                key = ("first", "middle", "last")[turn]
                self.story.session(
                    day,
                    *self.chat(),
                    self.line(ways[min(turn, 1)].format(v=value), f"{key}{number}"),
                    *self.chat(),
                )
            self.story.ask("update", f"last{number}", now, chosen[2])
            self.story.ask("update", f"first{number}", before, chosen[0])

    def refusals(self) -> None:
        for number, (told, asked, values) in enumerate(_REFUSALS):
            one, value = self.draw.choice(self.crew), self.draw.choice(values)
            self.story.session(
                self.some_day(),
                *self.chat(),
                self.line(told.format(p=self.named(one), v=value), f"no{number}"),
                *self.chat(),
            )
            self.story.ask(
                "negation",
                f"no{number}",
                asked.format(p=one[0], v=value),
                one[0] if asked.startswith("Who") else value,
            )
        for number, (told, asked) in enumerate(_PROMISES):
            one = self.crew[number]
            self.story.session(
                self.some_day(), *self.chat(), self.line(told.format(p=one[0]), f"word{number}"), *self.chat()
            )
            self.story.ask("single", f"word{number}", asked.format(p=one[0]))

    def journeys(self) -> None:
        for number, city in enumerate(self.draw.sample(_JOURNEYS, 5)):
            day = 40 + number * 125 + self.draw.randrange(40)
            self.story.session(day - 30, self.line(f"I'm thinking of a holiday in {city}."), *self.chat())
            self.story.session(day, self.line(f"Landed in {city} an hour ago.", f"went{number}"), *self.chat())
            for offset, (told, asked, values) in enumerate(self.draw.sample(_ABROAD, 3)):
                value, key = self.draw.choice(values), f"abroad{number}-{offset}"
                self.story.session(
                    day + 1 + offset,
                    *self.chat(most=2),
                    self.line(told.format(v=value), f"{key} trip{number}"),
                    *self.chat(),
                )
                asked_of = self.draw.choice((f"while I was in {city}", f"in {city}", f"on my trip to {city}"))
                self.story.ask("time", key, asked.format(w=asked_of), value)
            self.story.session(day + 6, self.line("Unpacked everything, good to be in my own bed."), *self.chat())
            self.story.ask("several", f"trip{number}", f"Tell me what happened to me during my stay in {city}.")
            self.story.ask("time", f"went{number}", f"In which month did I travel to {city}?")

    def incidents(self) -> None:
        for _ in range(65):
            day = self.draw.randrange(_DAYS - 260, _DAYS - 2)
            text = self.draw.choice(_INCIDENTS).format(p=self.named(self.draw.choice(self.crew)))
            told_later = self.draw.random() < 0.2
            if told_later:
                text = f"{text.rstrip('.')} yesterday."
            self.story.session(day + told_later, *self.chat(most=2), self.line(text, f"day{day}"), *self.chat())
            self.happened.setdefault(day, f"day{day}")

    def asked_by_day(self) -> None:
        recent = [day for day in sorted(self.happened) if day > _DAYS - 265]
        for day in self.draw.sample(recent, 16):
            at = _START + timedelta(days=day)
            style = self.draw.randrange(5)
            now = at + timedelta(days=self.draw.randrange(2, 7), hours=22)
            text = f"Anything special on {at:%A}?"
            if style == 0:
                now, text = at + timedelta(days=1, hours=9), "How did I spend yesterday?"
            elif style == 1:
                text = f"What went on {(now - at).days} days ago?"
            elif style == 2:
                now, text = _START + timedelta(days=_DAYS), f"What was going on on {at.day} {at:%B}?"
            elif style == 3:
                text = f"What did I tell you about last {at:%A}?"
            self.story.ask("time", self.happened[day], text, at=now)

    def noise(self) -> None:
        for _ in range(90):
            self.story.session(self.some_day(), *self.chat(3, 7))


def dialogues(count: int = 6, seed: int = 7) -> list[Dialogue]:
    """`count` test dialogues; the same seed makes the same ones."""
    made = []
    for number in range(count):
        draw = Random(seed * 7919 + number)  # noqa: S311 - a benchmark's dice
        names = draw.sample(_HELPERS, len(_ROLES))
        life = _Life(draw, Story(draw, _START), list(zip(names, _ROLES, strict=True)))
        life.meet_the_crew()
        life.traits()
        life.projects()
        life.changes()
        life.refusals()
        life.journeys()
        life.incidents()
        life.noise()
        life.asked_by_day()
        made.append(life.story.told(_START + timedelta(days=_DAYS, hours=12)))
    return made
