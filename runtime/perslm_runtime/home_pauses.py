"""Where a sentence that came without commas may have had them: most recognizers write none. English, pure.

"Open the gate the vet is here" asks and tells, "to fifty no forty" takes back, "oven off dishwasher on" "
"wants two
things. Gives the sentence with its pauses; whoever asks has to find a whole command in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from perslm_runtime.home_names import Kind, NameBook
from perslm_runtime.home_requests import VERBS

_MARKS = re.compile(r"[,;.!?]\s")
Thing = Callable[[list[str], int], int]
"""Where the thing of the home ends that begins at a word; the word itself where none begins there."""

# Somebody takes back what was said.
_FILL = r"(?:oh|uh|um|er|erm|eh|hmm|ah|actually|sorry|wait|oops|whoops|okay|ok|right|well|ugh|hang on|hold on)"
_BACK = (
    r"(?:no|nope|nah|wait|sorry|hang on|hold on|okay|ok|actually|oh|oops|whoops|i mean|i meant|i said|i "
    r"tell a lie|"
    r"you know what|you know|sod it|scratch that|strike that|what am i saying|or rather|rather|correction|"
    r"my mistake|"
    r"i am sorry|sweetie|love|dear|not that|not that one|(?:that|it) is (?:far |way |much )?too \w+)"
)
_NOT_BACK_AFTER = (
    r"(?:is|are|was|were|say|says|said|said|with|has|have|got|means?|there|to|of|a|the|see|sees|make|makes|"
    r"it is|"
    r"do|does|did|oh yes|yes or|or|in|and)"
)
_NO_MORE = (
    r"(?:need|more|one|point|idea|reason|way|longer|lights?|thing|problem|rush|hurry|matter|bother|doubt|"
    r"use|good|"
    r"chance|hope|time|sleep|heat|signal|sense|worries|fear|messing|joke|pressure|big|body|fun|sound|music|"
    r"power)"
)
_TAKEN_BACK = re.compile(
    rf"(?<=\w)(?<!\bsay)(?<!\bwith)(?: {_FILL})* (?P<no>(?:no|nope|nah)(?! {_NO_MORE}\b)|oops|whoops|i mean|"
    rf"i meant|"
    rf"scratch that|strike that|what am i saying|i tell a lie|or rather|oh wait|hang on|hold on|"
    rf"actually|wait(?! (?:for|until|till)\b)|sorry(?! (?:for|about|by)\b))(?: {_BACK})* (?=\w)"
)
_HALTING = re.compile(
    r"(?<!\w)(?!(?:the|my|our|and|to|in|at|turn|switch|put|set|make|open|close|is|are|can|you|so|but|oh|"
    r"well|on|off|of|for)\b)"
    r"([\w']+) (?:er|erm|um|uh) (?=(?:the|my|our|\w+'s) )"
)
_OPENS = re.compile(
    r"^(?:(?:oh|uh|um|er|erm|ah|hey|right|okay|ok|well|so|listen|excuse me|sorry|actually|wait|hang on|hold "
    r"on|no|"
    r"i mean|the)\b ?)*$"
)
_NOT_X = re.compile(
    r"^not (?:(?:the|my|our|in the|on the|his|her|that|to)(?= ) ?)?(?:[\w']+)(?: [\w']+){0,2}? "
    r"(?=(?:the|my|our|in|on the|just|movie|\w+'s)\b)"
)
# Somebody tells.
_JOINT = (
    r"(?:if|when|whenever|until|till|that|which|who|whose|whom|what|where|how|why|whether|unless|while|"
    r"before|after|"
    r"since|because|cause|cos|as|than|so|and|but|or|like|though|although|once|think|know|knows|hope|guess|"
    r"suppose|"
    r"reckon|say|says|said|tell|told|wonder|wish|sure|swear|bet|believe|see|saw|heard|hear|feel|feels|looks|"
    r"can|could|would|will|should|shall|may|might|must|do|did|does|have|has|had|are|am|is|was|were|not|"
    r"everything|anything|something|nothing|all|thing|one|way|time|the|a|an|my|our|his|her|their|your|this|"
    r"these|those|"
    r"of|to|for|in|at|by|with|from|about|into|onto|let|make|want|wants|need|needs|please|just|oh|well|right|"
    r"okay|ok|"
    r"um|uh|er|erm|hey|no|yes|yeah|sorry|wait|actually|then|now|only|still|even|maybe|perhaps|mind|"
    r"there|here|it|i|we|you|he|she|they)"
)
_BE = (
    r"(?:is|are|was|were|am|has|have|had|will|would|cannot|does|needs?|wants?|keeps?|looks?|feels?|"
    r"sounds?|smells?|hurts?|gets?|goes|comes|came|went|says|likes?|loves?|hates?|left|forgot)"
)
_PERSON = (
    rf"(?:i|we|he|she|they|(?:somebody|someone|nobody|no one|everybody|everyone) {_BE}|"
    r"you (?:are|were|have|know|will))"
)
_AFTER_THERE = (
    r"(?:there (?:is|are|was|were)|it (?:is|has|was|will|does|did|looks|feels|gets|got|smells|"
    r"needs|hurts|sounds|would)|this is)"
)
_THAT_IS = (
    r"that is (?:plenty|enough|better|it|lovely|grand|perfect|too|far|way|my|the|me|us|all|what|how|"
    r"where|fine|great|good|nice|so)"
)
_TELLS = re.compile(
    rf"(?<!\w)(?!{_JOINT}\b)([\w']+)(?: now| again| too| then| here| there| please)* (?="
    rf"(?:{_PERSON}|{_AFTER_THERE}|{_THAT_IS})\b)"
)
_PREPOSED = (
    r"(?:is|are|was|were|am|be|the|a|an|my|our|his|her|their|your|this|that|these|those|of|to|for|at|by|"
    r"with|from|about|"
    r"into|onto|and|or|but|so|because|cause|cos|if|when|while|until|till|before|after|as|than|like|whether|"
    r"where|since|"
    r"what|which|who|how|why|can|could|would|will|did|do|does|has|have|had|not|make|let|give|get|set|put|"
    r"see|check|"
    r"says|said|say|know|think|sure|hope|told|tell|except|bar|apart|without|near|over|under|behind|beside|"
    r"only|just|"
    r"that|no|all|both|every|turn|switch|open|close|shut|lock|unlock|dim|raise|lower|start|stop|pause|play|"
    r"skip|find|"
    r"bring|pull|drop|kill|brighten|warm|cool|mute|leave|keep|is|in)"
)
_NO_NOUN = r"(?:on|off|up|down|again|to|at|in|for|by|and|or|please|now|a|so|not|is|are|only)"
_SUBJECT = re.compile(
    rf"(?<!\w)(?!{_PREPOSED}\b)([\w']+) (?=(?:the|my|our|his|her|their|your) (?:(?!{_NO_NOUN}\b)[\w']+ "
    rf"){{1,2}}?{_BE}\b|"
    r"(?:the|my|our|his|her|their|your) (?:[\w']+ )?\w+'s (?:in|at|on|off|so|too|here|there|all|not|still|"
    r"only|just|right|"
    r"asleep|up|down|out|out there|over|gone|\w+ing|\w+ed|cold|hot|full|empty|awake|back|home|crying|about|"
    r"a|an|got|no|"
    r"very|really|in)\b)"
)
_NAME = re.compile(
    rf"(?<!\w)(?!{_PREPOSED}\b)(?P<before>[\w']+) (?P<who>(?!{_JOINT}\b)[a-z]+)(?:'s| is| are| has| was| "
    rf"were| cannot| needs| wants|"
    r" keeps| will| would| gets| likes| hates| says| does| comes) (?=(?:\w))"
)
_ENDS = re.compile(
    r"\b(?:on|off|up|down|open|closed|shut|locked|percent|degrees|please|now|again|too|out|in|warmer|"
    r"cooler|louder|quieter|brighter|dimmer)$"
)
_QUESTION = re.compile(
    r"^(?:and |so |um |uh |oh |hey )*(?:is|are|was|were|which|what|how|who|where|did|does|do|has|have|any|why)\b"
)
# Somebody asks behind what was told.
_VERB = (
    r"(?:turn|switch|put|set|make|open|close|shut|lock|unlock|start|stop|pause|play|dim|bring|pull|drop|"
    r"raise|lower|skip|"
    r"get|give|kill|pop|stick|mute|take|run|crank|knock|chuck|find|send|leave)"
)
_OBJECT = r"(?:the|my|our|off|on|up|down|it|that|them|all|both|every|everything|[\w']+'s|his|her|a bit|this)"
_ASKS = (
    rf"(?:(?:just |please |then )*(?!play on\b){_VERB} {_OBJECT}\b|(?:can|could|would|will) (?:you|somebody|"
    rf"someone|we)\b|"
    r"please \w+|let us (?:have|get|turn|put|switch|do|start|set)\b|may i have\b|(?:i|we) (?:would like|"
    r"want|need) (?:the|my|our|[\w']+'s)\b)"
)
_JOINED = (
    r"to|and|you|please|not|just|i|we|can|could|would|will|the|a|an|my|our|then|or|never|going|gonna|who|"
    r"somebody|"
    r"someone|he|she|they|it|that|if|when|said|says|told|tell|asked|ask|him|her|them|of|for|in|at|with|is|are|"
    r"was|were|let|us|me|do|does|did|but|so|maybe|go|mind|no|be|this|his|their|your|help|ever|always|only|also|"
    r"ahead|kindly|quickly|better|must|should|may|might|people|everybody|everyone|nobody|rather|suppose|"
    r"think|know|"
    r"remember|forget|try|cannot|possibly|hit|press|someone|even|still|already|actually|really|oh|um|uh|er|"
    r"erm|well|right|okay|ok|hey|yeah|yes|now|"
    r"may|perhaps|why|how|what|where|have|has|had"
)
_REQUEST = re.compile(rf"(?<!\w)(?!(?:{_JOINED})\b)([\w']+) (?={_ASKS})")
_OF_ANOTHER = re.compile(
    r"\b(?:did|does|do|has|have|had|let|make|help|saw|see|watch|heard|hear)(?: (?:the |my |our )?[\w']+(?: "
    r"[\w']+)?)$"
)
_COMMAND = re.compile(rf"^(?:please |just |can you |could you |would you |um |uh )*(?:{VERBS})\b")
_STATE = frozenset(
    word
    for line in (
        "on off up down open closed shut locked unlocked halfway percent degrees brighter dimmer warmer "
        "cooler louder",
        "quieter red blue green yellow orange purple pink white full low high max half",
    )
    for word in line.split()
)
_STATED = _STATE | frozenset(("to", "at", "a", "all", "by", "please", "volume", "full"))


def things_of(book: NameBook, nouns: Mapping[tuple[str, ...], object]) -> Thing:
    """What tells where a thing of this home ends: one of its names, or a class of things."""

    def thing(words: list[str], at: int) -> int:
        hits = book.find(words, at, (Kind.DEVICE,))
        noun = next((at + size for size in (3, 2, 1) if tuple(words[at : at + size]) in nouns), at)
        return max(hits[0].end if hits else at, min(noun, len(words)))

    return thing


def with_pauses(spoken: str, thing: Thing) -> str:
    """The sentence (lower case, written out) with commas between its clauses; itself where it has its own."""
    plain = spoken.strip(" .!?")
    if "," in plain or _MARKS.search(plain):
        return spoken
    paused = _corrections(plain)
    parts = [_clauses(part, thing) for part in paused.split(", ")]
    return ", ".join(parts)


def _corrections(plain: str) -> str:
    """With what takes something back between commas: "to fifty, no, forty"."""
    plain = _HALTING.sub(r"\1, no, ", plain)
    at, made = 0, ""
    for found in _TAKEN_BACK.finditer(plain):
        if found.start() < at:
            continue
        before = plain[at : found.start()]
        if _OPENS.match(before) or re.search(rf"\b{_NOT_BACK_AFTER}$", before):
            continue
        after = plain[found.end() :]
        if (left := _NOT_X.sub("", after)) != after:
            after = left
        made += f"{before}, no, "
        plain = plain[: found.end()] + after
        at = found.end()
    return made + plain[at:]


def _clauses(plain: str, thing: Thing) -> str:
    asks = _QUESTION.match(plain)
    cut = _TELLS.sub(_after, plain)
    if not asks:
        cut = _SUBJECT.sub(lambda found: f"{found[1]}, ", cut)
    cut = _NAME.sub(lambda found: _named(found, thing), cut)
    cut = ", ".join(_REQUEST.sub(_before_request, part) for part in cut.split(", "))
    return ", ".join(_chained(part, thing) for part in cut.split(", "))


def _after(found: re.Match[str]) -> str:
    return f"{found[0].rstrip()}, " if not _OPENS.match(found.string[: found.end()]) else found[0]


def _before_request(found: re.Match[str]) -> str:
    """With a pause before what is asked for; not in "did nan turn the blanket off"."""
    told = _OF_ANOTHER.search(found.string[: found.end()].rstrip())
    return found[0] if told else f"{found[1]}, "


def _named(found: re.Match[str], thing: Thing) -> str:
    """Before somebody's name: "the heater, ravi is away"."""
    words = [found["who"]]
    before = found["before"]
    if found["who"] in _STATED or thing(words, 0) or thing([before, *words], 0):
        return found[0]
    if not (_ENDS.search(before) or thing([before], 0)):
        return found[0]
    rest = found[0][len(before) + 1 :]
    if "'s" in rest and not re.match(
        r"(?:in|at|so|too|here|there|all|not|still|only|just|asleep|up|down|out|gone|\w+ing|awake|back|home|"
        r"late|away)\b",
        found.string[found.end() :],
    ):
        return found[0]
    return f"{before}, {rest}"


def _chained(plain: str, thing: Thing) -> str:
    """Several things with a state each: "oven off, dishwasher on"."""
    words = plain.split()
    made: list[str] = []
    at, seen = 0, False
    while at < len(words):
        start = at + (words[at] in ("the", "my", "our"))
        end = thing(words, start) if start < len(words) else start
        if end > start:
            stated = end < len(words) and words[end] in _STATED
            before = words[at - 1] if at else ""
            led = at > 1 and words[at - 2] in _VERB_WORDS
            if seen and stated and before in _STATE | _NUMBERS and not led:
                made[-1] += ","
            made += words[at:end]
            seen = seen or words[end - 1] not in _PROPERTIES
            at = end
            continue
        made.append(words[at])
        at += 1
    return " ".join(made)


_PROPERTIES = frozenset(("volume", "brightness", "temperature", "heat", "sound", "color", "speed", "position"))
_VERB_WORDS = frozenset(VERBS.split("|"))
_NUMBERS = frozenset(
    word
    for line in (
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty "
        "forty fifty sixty",
        "seventy eighty ninety hundred one two three four five six seven eight nine",
    )
    for word in line.split()
)
