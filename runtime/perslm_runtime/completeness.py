"""Whether what was said so far sounds finished, judged by its words alone. Pure; English.

The end of a command is silence, but how long to wait for it depends on the words: after "turn on the" somebody
thinks, after "what time is it" nobody does. Wrong guesses cost a moment, never words: the rest is still heard.
"""

from __future__ import annotations

import re
from enum import Enum


class Ending(Enum):
    """How finished a text sounds."""

    FINISHED = "finished"
    UNSURE = "unsure"
    UNFINISHED = "unfinished"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# After these, English goes on: articles, possessives, conjunctions, prepositions that take an object.
_GOES_ON = _set(
    """
    a an the this these my your his her its our their some any every each no and or but nor because if when while
    whether than then that which who whose what how so to of in into from with without for at by about between
    under over near beside behind during until before after as like per via versus is are was were be been am do
    does did have has had can could will would shall should may might must please let's lets i'm we're they're
    he's she's it's i we they he um uh er plus minus times very too really also not more most less much many
    """
)
# Particles that end a command when something stands between them and the verb ("turn the light on").
_PARTICLES = frozenset({"on", "off", "up", "down", "out", "back", "again"})
_PARTICLE_VERBS = _set(
    """turn switch put shut power set bring call pick look wake turned switched move dim lock speed slow"""
)
_ALONE = _set(
    """
    stop cancel yes no yeah yep nope okay ok sure pause resume continue next previous back louder quieter
    softer mute unmute snooze help thanks hello hi goodbye bye enough quiet silence repeat again skip never
    right wrong correct
    """
)
_ALONE_PHRASES = frozenset(
    {"thank you", "never mind", "be quiet", "shut up", "good night", "good morning", "go on"}
)
_VERBS = _set(
    """
    turn switch set open close shut lock unlock play pause resume stop start cancel add remove delete create make
    remind remember forget tell show give call send read write say ask find search look check put take bring move
    increase decrease raise lower dim brighten wake snooze announce broadcast repeat skip explain describe
    translate calculate convert count list name define spell help let go get buy order schedule change activate
    run do heat cool warm clean water feed know think want need like love have see hear plan is are was were am
    will would can could should shall may might must does did has had what's who's where's when's how's that's
    it's i'm i'll i'd you're there's let's don't isn't aren't won't can't
    """
)
_ASKS = _set("what who whom whose when where why which how is are was were do does did can could will would")
_POINTERS = frozenset({"that", "this", "it", "you", "there", "these", "those"})
_ENDS_QUESTIONS = frozenset({"is", "are", "was", "like", "from", "about"})
_NUMBER = re.compile(
    r"\d+([.:,]\d+)?|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    r"sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand"
)
_MEASURED = frozenset({"timer", "alarm", "reminder", "minutes", "for", "in", "wait", "remind"})
_TIMED = frozenset({"alarm", "alarms", "remind", "reminder", "wake", "at"})  # what a time of day is said of
_COURTESY = frozenset({"please", "thanks"})
_WH = _set("what who whom whose when where why which how")
_HELPS = _set("is are was were am do does did has have had can could will would should shall may might must")
_DOES = frozenset({"do", "does", "did"})
_OF_THINGS = _set("what who whom which how")
_PEOPLE = _set("he she they we i")
_MAIN_VERBS = frozenset({"have", "do", "mean"})  # that end a question: "what timers do I have"
_STRANDS = _set("for of in to from about with at on into by like over")  # "what does it end in", "what is it for"
_QUANTITIES = frozenset({"more", "less", "much", "many", "most", "not"})
_SAID_OF_THAT = _set("cancel repeat stop do did undo forget delete say catch knew know like mean get that's")


def ending_of(text: str) -> Ending:
    """How finished `text` sounds. A text without words is unfinished."""
    words = re.findall(r"[a-z0-9][a-z0-9'.:]*", text.lower().replace("’", "'"))
    words = [word.rstrip(".:") for word in words]
    while len(words) > 1 and words[-1] in _COURTESY:
        words.pop()
    if not words:
        return Ending.UNFINISHED
    if " ".join(words) in _ALONE_PHRASES or (len(words) == 1 and words[0] in _ALONE):
        return Ending.FINISHED
    if text.rstrip().endswith(("...", "…", ",", "-", ":")):
        return Ending.UNFINISHED
    if _goes_on(words):
        return _perhaps_a_question(words)
    return _after_a_number(words) or _of_a_sentence(words)


def _of_a_sentence(words: list[str]) -> Ending:
    if len(words) == 1:
        return Ending.UNFINISHED if words[0] in _VERBS | _ASKS else Ending.UNSURE
    return Ending.FINISHED if words[0] in _ASKS or _VERBS & set(words) else Ending.UNSURE


def ends_in_a_number(text: str) -> bool:
    """Whether the last word is a number: minutes, "thirty" or "am" may follow."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return bool(words) and _NUMBER.fullmatch(words[-1]) is not None


def _after_a_number(words: list[str]) -> Ending | None:
    """What a number at the end tells: "a timer for ten" lacks its minutes, "an alarm for seven" may be all."""
    last = words[-1]
    if not _NUMBER.fullmatch(last) or words[0] in _ASKS or len(words) == 1:
        return None
    if ":" in last:
        return Ending.FINISHED
    if last.isdigit() and len(last) > 2:
        return Ending.UNSURE  # a year, a code: no number of minutes
    return Ending.UNFINISHED if _MEASURED & set(words) and not _TIMED & set(words) else Ending.UNSURE


def _perhaps_a_question(words: list[str]) -> Ending:
    """Judge what ends in a word after which English goes on: a question may end so all the same."""
    first, last = words[0], words[-1]
    helped = [at for at, word in enumerate(words[1:-1], 1) if word in _HELPS]
    if first in _WH and helped and len(words) > 3:
        if last in _MAIN_VERBS:  # "what timers do I have"; of "when do I have" it is not sure
            return Ending.FINISHED if first in _OF_THINGS else Ending.UNSURE
        # "what is the weather in" goes on; "what does it end in", "which town is it in", "what is it made of" may
        # be all.
        at = helped[0]
        apart = at > 1 or words[at] in _DOES or words[at + 1] in _POINTERS | _PEOPLE or last == "for"
        if last in _STRANDS and apart and first in _OF_THINGS - {"how"} and len(words) > at + 2:
            return Ending.UNSURE
    return Ending.UNSURE if last in _QUANTITIES | {"be"} and len(words) > 2 else Ending.UNFINISHED


def _goes_on(words: list[str]) -> bool:
    first, last = words[0], words[-1]
    before = words[-2] if len(words) > 1 else ""
    if last in _PARTICLES:
        return len(words) < 3 and first in _PARTICLE_VERBS  # "turn on" lacks what; "turn it on" does not
    if last == "it" and before in _MEASURED:
        return True  # what Whisper makes of "a timer for"
    if (last == "that" and before in _SAID_OF_THAT) or (last == "am" and _NUMBER.fullmatch(before)):
        return False
    asked = bool(_ASKS & set(words[:-1]))
    # "who is that", "how are you"; "what is this song about", "tell me what that is"
    whole = asked and (last in _POINTERS if len(words) == 3 else last in _POINTERS | _ENDS_QUESTIONS)
    alone = len(words) == 2 and first in _HELPS and last in _PEOPLE | {"you"}  # "can you"
    return alone or (last in _GOES_ON and not (whole and len(words) > 2))
