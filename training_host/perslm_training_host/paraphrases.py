"""The teacher's other words for what is said in made-up homes: the templates keep the truth, wording gets wider.

A larger model rewrites a sentence; the rewriting is kept only if the names and numbers stand in it as before, no
held-out phrasing is met, and the same model, asked under the home's grammar, makes a right call of it. Kept line
by line with its seconds, so that a run that was stopped goes on, and what it cost can be counted.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from perslm_runtime.choosing import Form
from perslm_runtime.errors import CallRefused, InputError
from perslm_runtime.home_tools import CALL_TOKENS, EXAMPLES, home_system
from perslm_runtime.lane import Stop
from perslm_runtime.llama import LlamaOptions
from perslm_runtime.model import ChatModel
from perslm_training_host.console import Progress
from perslm_training_host.held_out import is_held_out
from perslm_training_host.home_said import LEARN, Household, Said, household
from perslm_training_host.whole_answers import whole_answer

FILE = "paraphrases.jsonl"
MOST = 1000
"""Sentences a teacher is asked for: on two cores a 1.5B model takes some three seconds for each."""
SYSTEM = (
    "You rewrite what people say to their smart home. Say the same wish as another person would say it, in short,"
    " everyday spoken English. Keep every name, room and number exactly. Never say the opposite. Answer with the"
    " new sentence alone."
)
SHOWN = (
    ("Turn off the desk lamp.", "Can you kill the desk lamp for me?"),
    ("It's freezing in here.", "Ugh, I'm so cold in this room."),
    ("Set the bedroom to 20 degrees.", "I'd like it to be 20 degrees in the bedroom."),
    ("How was your day?", "Did you have a good day?"),
)
_FIRST_NUMBER = 1_000_000  # homes that training does not draw by itself
_SENTENCES = 20  # of a home: its prompt, which is read once, is most of the cost
_ANSWER_TOKENS = 40
_NOT_REWRITTEN = {"remember"}  # the fact itself is what has to be written
_WORD = re.compile(r"[a-z0-9']+")


@dataclass(frozen=True, slots=True)
class Paraphrase:
    """A sentence of home `number` by its place, what the teacher made of it, and why it was refused, "" if not."""

    number: int
    place: int
    said: str
    text: str
    refused: str
    seconds: float


def make(teacher: Path, path: Path, count: int, seed: int, threads: int = 2) -> list[Paraphrase]:
    """Ask for `count` paraphrases, or for those that are missing in the file. Returns all of them.

    Raises InputError for more than 1,000, EngineError for a broken teacher, OSError for a full disk.
    """
    if not 0 < count <= MOST:
        raise InputError(f"{count} paraphrases: give 1 to {MOST}; more are days on two cores")
    done = read(path)
    known = {(one.number, one.place) for one in done}
    progress = Progress(f"{teacher.name}, other words", count)
    path.parent.mkdir(parents=True, exist_ok=True)
    options = LlamaOptions(context_tokens=2048, threads=threads, batch_threads=threads)
    with (
        closing(
            ChatModel(teacher, options, system=SYSTEM, examples=SHOWN, max_reply_tokens=_ANSWER_TOKENS)
        ) as chat,
        path.open("a", encoding="utf-8") as file,
    ):
        for number, home, places in _wanted(count, seed):
            for one in _of_home(chat, number, home, [place for place in places if (number, place) not in known]):
                file.write(json.dumps(asdict(one), ensure_ascii=False) + "\n")
                file.flush()
                done.append(one)
                progress.at(len(done), figures=f"{sum(not told.refused for told in done)} kept")
    return done


def read(path: Path) -> list[Paraphrase]:
    """What the file holds, nothing where there is none. A last line that was cut off is left out.

    Raises InputError for another kind of file.
    """
    if not path.exists():
        return []
    found = []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for line in lines:
        try:
            found.append(Paraphrase(**json.loads(line)))
        except (ValueError, TypeError) as error:
            if line is lines[-1] and not line.endswith("\n"):
                break
            raise InputError(f"{path} holds no paraphrases ({error}): delete it, then make them anew") from error
    return found


def households(found: Sequence[Paraphrase], seed: int) -> list[Household]:
    """The homes of what was kept, with sentences in the teacher's words; their calls are the templates'.

    Raises InputError where the sentences that were reworded are no longer those that the seed draws.
    """
    texts: dict[int, dict[int, Paraphrase]] = {}
    for one in found:
        if not one.refused:
            texts.setdefault(one.number, {})[one.place] = one
    homes = []
    for number, places in sorted(texts.items()):
        home = household(LEARN, seed, number, _SENTENCES)
        if any(place >= len(home.said) or home.said[place].text != one.said for place, one in places.items()):
            raise InputError(
                f"the paraphrases of home {number} are of other sentences than are drawn now (another seed, or the"
                f" lines have changed since): delete {FILE}, then make them anew"
            )
        said = tuple(replace(home.said[place], text=one.text) for place, one in sorted(places.items()))
        homes.append(replace(home, said=said))
    return homes


def told(found: Sequence[Paraphrase]) -> dict[str, object]:
    """How many were asked for and kept, why others were not, and the seconds of all."""
    why = Counter(one.refused or "kept" for one in found)
    return {
        "asked": len(found),
        **dict(sorted(why.items())),
        "seconds": round(sum(one.seconds for one in found), 1),
    }


def _wanted(count: int, seed: int) -> Iterator[tuple[int, Household, list[int]]]:
    """Homes with the places of the sentences to rewrite, `count` of these in all."""
    number = _FIRST_NUMBER
    while count > 0:
        home = household(LEARN, seed, number, _SENTENCES)
        places = [place for place, said in enumerate(home.said) if said.kind not in _NOT_REWRITTEN][:count]
        yield number, home, places
        count -= len(places)
        number += 1


def _of_home(chat: ChatModel, number: int, home: Household, places: Sequence[int]) -> Iterator[Paraphrase]:
    """First all texts, then all calls: the prompt of each is read once."""
    written: list[tuple[int, Said, str, float]] = []
    for place in places:
        began = time.perf_counter()
        said = home.said[place]
        text = " ".join(whole_answer(chat, said.text).split())
        written.append((place, said, text, time.perf_counter() - began))
    for place, said, text, took_s in written:
        began = time.perf_counter()
        refused = _why_not(home, said, text) or _misunderstood(chat, home, replace(said, text=text))
        seconds = round(took_s + time.perf_counter() - began, 2)
        yield Paraphrase(number, place, said.text, text, refused, seconds)


def _why_not(home: Household, said: Said, text: str) -> str:
    """The reason to leave it out that needs no model, or ""."""
    if not text:
        return "no answer"
    if _WORD.findall(text.lower()) == _WORD.findall(said.text.lower()):
        return "the same words"
    if _named(home, text) != _named(home, said.text):
        return "other names"
    if re.findall(r"\d+", text) != re.findall(r"\d+", said.text):
        return "other numbers"
    return "held out" if is_held_out(_template(home, text)) else ""


def _misunderstood(chat: ChatModel, home: Household, said: Said) -> str:
    form = Form(home.tools.gbnf, home.tools.forced)
    choice = chat.choose(Stop(), home_system(home.home.names), EXAMPLES, said.prompt, form, CALL_TOKENS)
    try:
        call = home.tools.parse(choice.written.text)
    except CallRefused:
        return "another call"
    return "" if said.is_right([call.tool, *call.arguments.values()]) else "another call"


def _names(home: Household) -> list[str]:
    """Devices and rooms, the longest first: "kitchen lamp" before "kitchen"."""
    return sorted({device.name for device in home.home.devices} | set(home.home.rooms), key=len, reverse=True)


def _named(home: Household, text: str) -> set[str]:
    rest, found = text.casefold(), set()
    for name in _names(home):
        if name.casefold() in rest:
            found.add(name)
            rest = rest.replace(name.casefold(), " ")
    return found


def _template(home: Household, text: str) -> str:
    """The sentence as held-out lines are written: with placeholders."""
    rooms = set(home.home.rooms)
    rest = text.lower()
    for name in _names(home):
        own = "<room>" if name in rooms else "<the>"
        rest = rest.replace(f"the {name.lower()}", own).replace(name.lower(), own)
    return re.sub(r"\d+", "<n>", rest)
