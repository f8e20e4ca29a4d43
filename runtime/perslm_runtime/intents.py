"""What a sentence wants, without a model: an intent with its slots, or None for everything that is the model's.

English has sentences of our own (intents_en.toml) over phrases of time that `time_words` has found; a test holds
them to everything that Home Assistant's say. Other languages have Home Assistant's, for the intents of the table
below. A sentence has to fit as a whole: an ordinary question never does.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hassil import Intents, RecognizeResult, recognize_all
from hassil.intents import SlotList, TextSlotList, WildcardSlotList
from home_assistant_intents import get_intents, get_languages

from perslm_runtime.errors import InputError
from perslm_runtime.home_polite import without_politeness
from perslm_runtime.intent import Intent, Slot
from perslm_runtime.number_words import cardinal
from perslm_runtime.sentence_layer import EMPTY, Layer, compiled
from perslm_runtime.time_words import find, words_of
from perslm_runtime.when import When

# Home Assistant's intent -> ours. What it has besides (lights, areas, lists) comes with the devices of the home.
_STOCK = {
    "HassStartTimer": "set_timer",
    "HassTimerStatus": "timer_status",
    "HassPauseTimer": "pause_timer",
    "HassUnpauseTimer": "resume_timer",
    "HassCancelTimer": "cancel_timer",
    "HassCancelAllTimers": "cancel_all_timers",
    "HassIncreaseTimer": "add_time",
    "HassDecreaseTimer": "remove_time",
    "HassGetCurrentTime": "get_time",
    "HassGetCurrentDate": "get_date",
    "HassNevermind": "nevermind",
    "HassSetVolume": "set_volume",
    "HassSetVolumeRelative": "volume_up",
}
_NOT_HERE = ("{area", "{floor", "{name}", "{name:", "conversation_command", "{zone")
_LONGEST_CHARS = 300  # a command is shorter, and matching takes time by length
_NAME = re.compile(r"[\w'-]+(?: [\w'-]+){0,3}")
# "about ten minutes" is ten
_VAGUE = frozenset(("about", "around", "roughly", "approximately", "exactly", "like"))
_DURATION, _WHEN, _NUMBER = "xduration{}x", "xwhen{}x", "xnumber{}x"


def languages() -> tuple[str, ...]:
    """The languages that there are sentences for."""
    return tuple(sorted(get_languages()))


def responses(language: str) -> Mapping[str, Mapping[str, str]]:
    """Home Assistant's answers in one language: for each of its intents templates by their keys."""
    answers: Mapping[str, Any] = (get_intents(language) or {}).get("responses", {})
    return dict(answers.get("intents", {}))


class Recognizer:
    """Recognizes intents in one language; an engine for a lane. Raises `InputError` for an unknown language.

    `layer` has sentences that are tried before the shipped ones; only English has them.
    """

    name = "hassil"

    def __init__(self, language: str = "en", layer: Layer = EMPTY) -> None:
        if language not in languages():
            raise InputError(
                f"there are no sentences in the language {language!r}: known are {', '.join(languages())}"
            )
        own = language == "en"  # Home Assistant's would cost 75 ms and 2.5 MB, and add none
        if not own and layer != EMPTY:
            raise InputError(f"sentences are laid over the English ones, and the language here is {language}")
        self._sentences: _Own | Stock = _Own(layer) if own else Stock(language)
        self._language = language

    @property
    def file(self) -> Path | None:
        """The sentences come with the packages."""
        return None

    def prove(self) -> str:
        """Recognize one sentence, so that the first real one does not wait for what is made on first use."""
        self._sentences.recognize("10 10 10")
        found = self.recognize("what time is it")
        return f"understands 'what time is it' as {found.name}" if found else f"understands {self._language}"

    def close(self) -> None:
        """Nothing is held."""

    def recognize(self, text: str) -> Intent | None:
        """What the whole sentence wants, or None. Half a millisecond on a PC."""
        if not text.strip() or len(text) > _LONGEST_CHARS:
            return None
        return self._sentences.recognize(text)


class _Own:
    """Our own sentences, and before them those that are laid over them."""

    def __init__(self, layer: Layer = EMPTY) -> None:
        source = tomllib.loads(files("perslm_runtime").joinpath("intents_en.toml").read_text(encoding="utf-8"))
        self._before = _phrases(source["politeness_before"])
        self._after = _phrases(source["politeness_after"])
        self._hesitation = frozenset(source["hesitation"])
        self._not_in_names = frozenset(source["not_in_names"])
        tables = [compiled(layer.everyday, layer, source), (source["intent"], source["rules"])]
        self._tables = [_intents(blocks, rules) for blocks, rules in tables if blocks]

    def recognize(self, text: str) -> Intent | None:
        words = self._without_politeness(words_of(text))
        if not words:
            return None
        marked = Marked(words)
        for table in self._tables:
            for result in recognize_all(marked.text, table, slot_lists=marked.lists(), language="en"):
                slots = self._slots(result, marked)
                if slots is not None:
                    return Intent(result.intent.name, slots)
        return None

    def _is_name(self, text: str) -> bool:
        """Whether a timer may be called so: a few words, and none that shows that something else was meant."""
        return bool(_NAME.fullmatch(text)) and not self._not_in_names & {*text.split()}

    def _without_politeness(self, words: list[str]) -> list[str]:
        """Without what is said around a command. "Okay" alone stays: there has to be something left."""
        words = [word for word in words if word.lower() not in self._hesitation]
        return without_politeness(words, self._before, self._after)

    def _slots(self, result: RecognizeResult, marked: Marked) -> dict[str, Slot] | None:
        """The slots of a result, or None where a name cannot be one."""
        slots: dict[str, Slot] = {}
        for entity in result.entities_list:
            value = entity.value
            if entity.name == "name":
                value = entity.text.strip().lower()
                if marked.holds_time(value) or not self._is_name(value):
                    return None
            elif entity.name == "what":
                value = marked.as_said(entity.text.strip())
                if not value:
                    return None
            elif entity.name == "number":
                step = result.intent.name in {"volume_up", "volume_down"}
                slots["step" if step else "level"] = value
                continue
            elif isinstance(value, When) and isinstance(before := slots.get("when"), When):
                value = before.with_day_of(value)  # "a daily alarm for seven"
            slots[entity.name] = value
        return slots | _whose(result.intent.name, slots)


@dataclass(frozen=True, slots=True)
class Matched:
    """A sentence that fits: its intent, the block's own slots, and (list, value, words) of each list in it."""

    intent: str
    slots: Mapping[str, Any]
    entities: tuple[tuple[str, Any, str], ...]


class Sentences:
    """A table of sentences in hassil's form, with lists that stay; others come with each sentence.

    `over` are blocks and rules that are tried before.
    """

    def __init__(
        self,
        blocks: Sequence[Mapping[str, Any]],
        rules: Mapping[str, str],
        lists: Mapping[str, Mapping[str, Any]],
        free: Sequence[str] = ("what",),
        over: tuple[Sequence[Mapping[str, Any]], Mapping[str, str]] = ((), MappingProxyType({})),
    ) -> None:
        self._free = tuple(free)
        self.words: set[str] = set()
        """Every word that the sentences have."""
        tables = [one for one in (over, (blocks, rules)) if one[0]]
        for some, of_them in tables:
            for text in (*of_them.values(), *(line for one in some for line in one["sentences"])):
                self.words.update(_WORD.findall(re.sub(r"[{<][^}>]*[}>]", " ", text)))
        self._tables = [_intents(some, of_them) for some, of_them in tables]
        self._open = [_intents(_with_free(some, self._free), of_them) for some, of_them in tables]
        self._static = {name: _text_list(name, values) for name, values in lists.items()}
        self._listed = {word for values in lists.values() for text in values for word in text.split()}

    def match(
        self, text: str, lists: Mapping[str, Mapping[str, Any]], *, every: bool = False
    ) -> Iterator[Matched]:
        """Every way that the text fits; `every` tries (so reads, or raises of) each sentence, as they stand."""
        made = {name: _text_list(name, values) for name, values in lists.items()}
        slots = {**self._static, **made, **{name: WildcardSlotList(name) for name in self._free}}
        named = {word for values in lists.values() for one in values for word in one.split()}
        # A word of no sentence fits only where any word does. Most texts that come here (parts of sentences) have
        # one, and hassil would try every sentence on them: four fifths of the time of a long sentence.
        known = every or all(word in named or self._knows(word) for word in text.split())
        for table in self._tables if known else self._open:
            for result in recognize_all(text, table, slot_lists=slots, language="en"):
                entities = result.entities_list
                own = result.intent_data.slots if result.intent_data is not None else {}
                said = tuple((one.name, one.value, one.text) for one in entities if one.name not in own)
                yield Matched(result.intent.name, own, said)

    def _knows(self, word: str) -> bool:
        return word in self._listed or self.words.issuperset(_WORD.findall(word))


_WORD = re.compile(r"[a-z']+")


def _with_free(blocks: Iterable[Mapping[str, Any]], free: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The blocks with only those sentences in which any words may stand."""
    marks = tuple(mark for name in free for mark in (f"{{{name}}}", f"{{{name}:"))
    for one in blocks:
        if lines := [line for line in one["sentences"] if any(mark in line for mark in marks)]:
            yield {**one, "sentences": lines}


def _intents(blocks: Iterable[Mapping[str, Any]], rules: Mapping[str, str]) -> Intents:
    """Blocks of sentences in hassil's form; they are read when they are first used."""
    intents: dict[str, Any] = {}
    for one in blocks:
        data = {"sentences": one["sentences"], "slots": one.get("slots", {})}
        intents.setdefault(one["name"], {"data": []})["data"].append(data)
    return Intents.from_dict({"language": "en", "intents": intents, "expansion_rules": dict(rules)})


def _text_list(name: str, values: Mapping[str, Any]) -> SlotList:
    return TextSlotList.from_tuples(values.items(), allow_template=False, name=name)


def _whose(intent: str, slots: dict[str, Slot]) -> dict[str, Slot]:
    """A duration that tells which timer is meant, for intents that take none otherwise, is `of`."""
    if intent in {"timer_status", "pause_timer", "resume_timer", "cancel_timer"} and "duration" in slots:
        return {"of": slots.pop("duration")}
    return {}


class Marked:
    """A sentence with one word in the place of each phrase of time (of each number, where it is about volume).

    With `numbers`, each number that belongs to no time has one, too; `volume` False knows nothing of knobs.
    """

    def __init__(self, words: list[str], *, numbers: bool = False, volume: bool = True) -> None:
        self._said: dict[str, str] = {}
        self._durations: dict[str, int] = {}
        self._whens: dict[str, When] = {}
        self._numbers: dict[str, int] = {}
        loud = volume and "volume" in {word.lower() for word in words}
        spans = _numbers(words) if loud else [(one.start, one.end, one.value) for one in find(words)]
        plain = () if loud or not numbers else _outside(spans, words)
        parts: list[str] = []
        at = 0
        for start, end, value in sorted([*spans, *plain], key=lambda span: span[0]):
            vague = start > at and words[start - 1].lower() in _VAGUE
            parts += words[at : start - vague]
            parts.append(
                self._mark(value, " ".join(words[start:end]), number=loud or (start, end, value) in plain)
            )
            parts += ["more"] * ("more" in words[start:end])  # "five more minutes" is said as "five minutes more"
            at = end
        self.text = " ".join(parts + words[at:])

    def _mark(self, value: int | When, said: str, *, number: bool) -> str:
        if isinstance(value, When):
            mark = _WHEN.format(len(self._said))
            self._whens[mark] = value
        else:
            mark = (_NUMBER if number else _DURATION).format(len(self._said))
            (self._numbers if number else self._durations)[mark] = value
        self._said[mark] = said
        return mark

    @property
    def values(self) -> Mapping[str, Mapping[str, int | When]]:
        """What stands for each word that was put in: seconds by "duration", "when", and "number"."""
        return {"duration": self._durations, "when": self._whens, "number": self._numbers}

    def lists(self) -> dict[str, SlotList]:
        """The values that stand in this sentence, and the free words."""
        lists: dict[str, SlotList] = {
            name: TextSlotList.from_tuples(values.items(), allow_template=False, name=name)
            for name, values in self.values.items()
        }
        return lists | {name: WildcardSlotList(name) for name in ("name", "what")}

    def holds_time(self, text: str) -> bool:
        """Whether there is a phrase of time in a part of the sentence."""
        return any(mark in text for mark in self._said)

    def as_said(self, text: str) -> str:
        """A part of the sentence with its phrases of time as they were said."""
        for mark, said in self._said.items():
            text = text.replace(mark, said)
        return text


def _numbers(words: list[str]) -> list[tuple[int, int, int]]:
    """(start, end, percent) of the numbers in a sentence on volume. "Volume seven" is of ten, as on a knob."""
    low, found, at = [word.lower() for word in words], [], 0
    while at < len(low):
        digits = low[at].rstrip("%")
        number = (int(digits), at + 1) if digits.isdigit() and len(digits) < 4 else cardinal(low, at)
        if number is None:
            at += 1
            continue
        value, end = number
        percent = low[at].endswith("%") or low[end : end + 1] in (["percent"], ["%"])
        if value <= 100:
            found.append((at, end, value if percent or value > 10 else value * 10))
        at = end
    return found


def _outside(spans: Sequence[tuple[int, int, int | When]], words: list[str]) -> tuple[tuple[int, int, int], ...]:
    """(start, end, number) of the numbers that are in none of the spans."""
    taken = {at for start, end, _ in spans for at in range(start, end)}
    low, found, at = [word.lower() for word in words], [], 0
    while at < len(low):
        number = (int(low[at]), at + 1) if re.fullmatch(r"[0-9]{1,9}", low[at]) else cardinal(low, at)
        if number is None or at in taken:
            at += 1
            continue
        found.append((at, number[1], number[0]))
        at = number[1]
    return tuple(found)


def _phrases(lines: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted((tuple(line.split()) for line in lines), key=len, reverse=True))


class Stock:
    """Home Assistant's sentences in one language, without those that need areas, floors or devices."""

    def __init__(self, language: str) -> None:
        source = get_intents(language) or {}
        unusable = _unusable(source.get("expansion_rules", {}))
        wanted: dict[str, Any] = {}
        for name in _STOCK:
            blocks = [
                {"sentences": kept, "slots": block.get("slots", {})}
                for block in source["intents"].get(name, {}).get("data", [])
                if (kept := [one for one in block["sentences"] if not any(mark in one for mark in unusable)])
            ]
            if blocks:
                wanted[name] = {"data": blocks}
        common = ("language", "settings", "lists", "expansion_rules", "skip_words")
        slim: dict[str, Any] = {key: source[key] for key in common if key in source}
        self.intents = Intents.from_dict({**slim, "intents": wanted})
        self._language = language

    def recognize(self, text: str) -> Intent | None:
        """The first intent whose sentence fits."""
        for result in recognize_all(text, self.intents, language=self._language):
            return _of_stock(result)
        return None


def _unusable(rules: Mapping[str, str]) -> set[str]:
    """What a sentence must not have in it: lists of devices and areas, and rules that have such in them."""
    unusable = set(_NOT_HERE)
    before = 0
    while len(unusable) > before:
        before = len(unusable)
        unusable |= {f"<{name}>" for name, text in rules.items() if any(mark in text for mark in unusable)}
    return unusable


def _of_stock(result: RecognizeResult) -> Intent:
    """One of Home Assistant's results as ours."""
    values = {entity.name: entity.value for entity in result.entities_list}
    slots: dict[str, Slot] = {}
    for slot, prefix in (("duration", ""), ("of", "start_")):
        units = ((f"{prefix}hours", 3600), (f"{prefix}minutes", 60), (f"{prefix}seconds", 1))
        if seconds := round(sum(float(values[unit]) * size for unit, size in units if unit in values)):
            slots[slot] = seconds
    if "name" in values:
        slots["name"] = str(values["name"]).strip().lower()
    name = _STOCK[result.intent.name]
    if name == "set_volume":
        slots["level"] = int(values["volume_level"])
    if name == "volume_up":
        step = values.get("volume_step", "up")
        name = "volume_down" if step == "down" or (isinstance(step, int | float) and step < 0) else "volume_up"
        if isinstance(step, int | float):
            slots["step"] = abs(int(step))
    return Intent(name, slots)


@dataclass(frozen=True, slots=True)
class StockMatch:
    """One of Home Assistant's sentences that fits: its intent, its values by slot, and the kind of its answer."""

    intent: str
    values: Mapping[str, Any]
    template: str


class StockSentences:
    """Home Assistant's sentences for some of its intents, areas, floors and names included."""

    def __init__(self, language: str, wanted: Sequence[str]) -> None:
        source = get_intents(language) or {}
        common = ("language", "settings", "lists", "expansion_rules", "skip_words")
        slim: dict[str, Any] = {key: source[key] for key in common if key in source}
        kept = {name: source["intents"][name] for name in wanted if name in source.get("intents", {})}
        self._intents = Intents.from_dict({"language": language, **slim, "intents": kept})
        self._language = language

    def match(
        self,
        text: str,
        lists: Mapping[str, Mapping[str, Any]],
        domains: Sequence[str],
        own: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Iterator[StockMatch]:
        """Every sentence that fits. A name is offered as its `own` domains, else as each of `domains`."""
        slots: dict[str, SlotList] = {
            name: TextSlotList.from_tuples(values.items(), allow_template=False, name=name)
            for name, values in lists.items()
            if name != "name"
        }
        named = [
            (name, ids, {"domain": domain})
            for name, ids in lists["name"].items()
            for domain in own.get(name) or domains
        ]
        slots["name"] = TextSlotList.from_tuples(named, allow_template=False, name="name")
        # "Turn on the light" is said in some room: which one, is found later as well.
        here = {"area": "here"}
        found = recognize_all(text, self._intents, slot_lists=slots, intent_context=here, language=self._language)
        for result in found:
            values = {entity.name: entity.value for entity in result.entities_list}
            if "domain" in result.context:  # the kind that the sentence needs its name to be of
                values.setdefault("domain", result.context["domain"])
            yield StockMatch(result.intent.name, values, result.response or "")
