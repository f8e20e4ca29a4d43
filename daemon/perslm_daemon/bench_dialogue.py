"""Long dialogues with known evidence, as values: what was told when, and what is asked of it.

Read from a generator (bench_stories.py here, benchmarks/recall_stories.py for choosing weights) or from LoCoMo's
JSON. Knows no store and no scoring.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from perslm_runtime.errors import InputError

KINDS = ("single", "several", "time", "update", "negation")
_LOCOMO_KINDS = {1: "several", 2: "time", 3: "inference", 4: "single"}  # 5 is adversarial: nothing answers it
_LOCOMO_TIMES = ("%I:%M %p on %d %B, %Y", "%I:%M %p on %d %b, %Y")


@dataclass(frozen=True, slots=True)
class Told:
    """One turn: when it was, in which conversation, what the person said and what was replied."""

    at: datetime
    conversation: str
    said: str
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, asked at `at`; `evidence` are the places in `Dialogue.told` of the turns that answer it."""

    kind: str
    text: str
    at: datetime
    evidence: frozenset[int]
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialogue:
    """All that one person told, oldest first, and the questions about it."""

    told: tuple[Told, ...]
    asked: tuple[Asked, ...]


@dataclass(slots=True)
class Story:
    """Sessions in the making: (when, lines), where a line is (said, reply, keys of the questions it answers)."""

    draw: Random
    start: datetime
    sessions: list[tuple[datetime, list[tuple[str, str, tuple[str, ...]]]]] = field(default_factory=list)
    questions: list[tuple[str, str, datetime | None, str, tuple[str, ...]]] = field(default_factory=list)

    def session(self, day: float, *lines: tuple[str, str] | tuple[str, str, str]) -> datetime:
        """Add a session on a day from the start, in the hours when people talk; returns when it was."""
        at = self.start + timedelta(days=int(day), minutes=self.draw.randrange(8 * 60, 21 * 60))
        made = [(said, reply, tuple(key[0].split()) if key else ()) for said, reply, *key in lines]
        self.sessions.append((at, made))
        return at

    def ask(self, kind: str, key: str, text: str, *answers: str, at: datetime | None = None) -> None:
        """Add a question about the lines that carry `key`; asked at the end of the dialogue unless said."""
        self.questions.append((kind, key, at, text, answers))

    def told(self, end: datetime) -> Dialogue:
        """The whole dialogue in order of time. Asking about no line at all is a mistake of the generator."""
        told: list[Told] = []
        places: dict[str, set[int]] = {}
        for number, (wanted, lines) in enumerate(sorted(self.sessions, key=lambda session: session[0])):
            start = wanted if not told else max(wanted, told[-1].at + timedelta(minutes=1))
            for line, (said, reply, keys) in enumerate(lines):
                for key in keys:
                    places.setdefault(key, set()).add(len(told))
                told.append(Told(start + timedelta(seconds=40 * line), f"s{number:04}", said, reply))
        asked = []
        for kind, key, at, text, answers in self.questions:
            # What happened is at times told a day later: of a question asked before that it is no evidence.
            evidence = frozenset(place for place in places[key] if told[place].at <= (at or end))
            if evidence:
                asked.append(Asked(kind, text, at or end, evidence, answers))
        return Dialogue(tuple(told), tuple(asked))


def read_locomo(path: Path) -> list[Dialogue]:
    """Dialogues in LoCoMo's JSON form: a list of `{"conversation": {...}, "qa": [...]}`.

    Both speakers' turns are told, with the speaker's name in front, since questions name them. Questions without
    evidence (its adversarial ones) are left out. Raises `InputError` for another form.
    """
    try:
        samples = json.loads(path.read_text(encoding="utf-8"))
        return [_locomo(sample) for sample in samples]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not in LoCoMo's JSON form ({type(error).__name__}: {error})") from error


def _locomo(sample: dict[str, Any]) -> Dialogue:
    talk = sample["conversation"]
    told: list[Told] = []
    places: dict[str, int] = {}
    numbers = sorted(int(m[1]) for name in talk if (m := re.fullmatch(r"session_(\d+)", name)))
    for number in numbers:
        at = _locomo_time(talk[f"session_{number}_date_time"])
        for line, turn in enumerate(talk[f"session_{number}"]):
            seen = f" (shares {turn['blip_caption']})" if turn.get("blip_caption") else ""
            places[turn["dia_id"]] = len(told)
            said = f"{turn['speaker']}: {turn['text']}{seen}"
            told.append(Told(at + timedelta(seconds=20 * line), f"s{number:04}", said))
    end = told[-1].at + timedelta(days=1)
    asked = []
    for row in sample["qa"]:
        named = re.findall(r"D\d+:\d+", " ".join(row.get("evidence", ())))
        evidence = frozenset(places[name] for name in named if name in places)
        if evidence and row.get("category") in _LOCOMO_KINDS:
            answers = (str(row["answer"]),) if "answer" in row else ()
            asked.append(Asked(_LOCOMO_KINDS[row["category"]], row["question"], end, evidence, answers))
    return Dialogue(tuple(told), tuple(asked))


def _locomo_time(text: str) -> datetime:
    for form in _LOCOMO_TIMES:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise ValueError(f"the time {text!r} is not as in '1:56 pm on 8 May, 2023'")
