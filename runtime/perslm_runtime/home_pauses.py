"""Where a sentence that came without commas may have had them: most recognizers write none. English, pure.

"Open the gate the vet is here" asks and tells, "to fifty no forty" takes back, "oven off dishwasher on" wants
two things. Gives the sentence with its pauses; whoever asks has to find a whole command in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from perslm_runtime.home_ellipsis import said_out
from perslm_runtime.home_names import Kind, NameBook, Thing
from perslm_runtime.home_partial import PartNames
from perslm_runtime.home_patterns import NUMBER, QUESTION, TENS, UNITS
from perslm_runtime.home_requests import VERBS

_MARKS = re.compile(r"[,;.!?]\s")

# Somebody takes back what was said.
_FILL = (
    r"(?:oh shoot|oh shucks|oh darn|shoot|oh|uh|um|er|erm|eh|hmm|ah|actually|sorry|wait|oops|whoops|okay|ok|right|"
    r"well|ugh|hang on|hold on)"
)
_BACK = (
    r"(?:no|nope|nah|wait|sorry|hang on|hold on|okay|ok|actually|oh|oops|whoops|i mean|i meant|i said|i "
    r"tell a lie|"
    r"you know what|you know|sod it|scratch that|strike that|what am i saying|or rather|rather|correction|"
    r"my mistake|(?:oh )?(?:my )?god|gosh|heck|blimey|shoot|shucks|darn|dang|"
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
    rf"scratch that|scrap that|strike that|what am i saying|i tell a lie|or rather|oh wait|hang on|hold on|"
    rf"(?:that|it) is (?:far |way |much )?too \w+ (?:say|make it|make that|try)|"
    rf"rather(?= (?:\d|\w+ty\b|(?:warm|cool|cold) white|red|blue|green|yellow|orange|purple|pink))|"
    rf"actually|wait(?! (?:for|until|till)\b)|sorry(?! (?:for|about|by)\b))(?: {_BACK})* (?=\w)"
)
_HALTING = re.compile(
    r"(?<!\w)(?!(?:the|my|our|and|to|in|at|turn|switch|put|set|make|open|close|is|are|can|you|so|but|oh|"
    r"well|on|off|of|for)\b)"
    r"([\w']+) (?:er|erm|um|uh) (?=(?:the|my|our|\w+'s) )"
)
_DID_I = re.compile(r" did i (?:just )?say (?:[\w']+ ){1,3}?(?=(?:i meant|i mean|no)\b)")
_ONLY = re.compile(
    r"(?<=\w) only ((?:i|we|he|she|they|it|there) (?:heard|hear|think|thought|saw|see|have|has|need|want|am|"
    r"are|is|"
    r"cannot|can|smell|feel|know|was|were|do)\b)"
)
""" "Is the shed locked only I heard a noise": why it is asked."""
_OPENS = re.compile(
    r"^(?:(?:oh|uh|um|er|erm|ah|hey|right|okay|ok|well|so|listen|excuse me|sorry|actually|wait|hang on|hold "
    r"on|no|"
    r"i mean|the)\b ?)*$"
)
_NOT_X = re.compile(
    r"^not (?:in|on) the [\w']+(?: [\w']+)? (?=(?:in|on) the\b)|"
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
    r"everything|anything|something|nothing|all|thing|one|way|time|case|the|a|an|my|our|his|her|their|your|this|"
    r"these|those|"
    r"of|to|for|in|at|by|with|from|about|into|onto|let|make|want|wants|need|needs|please|just|oh|well|right|"
    r"okay|ok|"
    r"um|uh|er|erm|hey|no|yes|yeah|sorry|wait|actually|then|now|only|still|even|maybe|perhaps|mind|"
    r"there|here|it|i|we|you|he|she|they)"
)
_BE = (
    r"(?:is|are|was|were|am|has|have|had|will|would(?! you)|cannot|does|needs?|wants?|keeps?|looks?|feels?|"
    r"sounds?|smells?|hurts?|gets?|goes|comes|came|went|says|likes?|loves?|hates?|left|forgot)"
)
_PERSON = (
    rf"(?:i|we|he|she|they|(?:somebody|someone|nobody|no one|everybody|everyone) {_BE}|"
    r"you (?:are|were|have|know|will)|(?:next door|the neighbou?rs|people|anyone|anybody|something) "
    r"(?:can|could|are|is|will|have|has|keeps?|smells)\b)"
)
_AFTER_THERE = (
    r"(?:there (?:is|are|was|were)|it (?:is|has|was|will|does|did|looks|feels|gets|got|smells|"
    r"needs|hurts|sounds|would|stinks|stings|reeks|honks|drips|rattles|buzzes|squeaks)|this is)"
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
    r"says|said|say|know|think|sure|hope|told|tell|noticed|notice|realized|realised|remembered|except|bar|"
    r"apart|without|near|over|under|behind|beside|"
    r"only|just|"
    r"that|no|all|both|every|turn|switch|open|close|shut|lock|unlock|dim|raise|lower|start|stop|pause|play|"
    r"skip|find|"
    r"bring|pull|drop|kill|brighten|warm|cool|mute|leave|keep|is|in)"
)
_NO_NOUN = r"(?:on|off|up|down|again|to|at|in|for|by|and|or|please|now|a|so|not|is|are|only)"
_SUBJECT = re.compile(
    rf"(?<!\w)(?!{_PREPOSED}\b)([\w']+) (?=(?:the|my|our|his|her|their|your|these|those) "
    rf"(?:(?!{_NO_NOUN}\b)[\w']+ "
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
    r"cooler|louder|quieter|brighter|dimmer|one|brightness|volume|home|away|"
    rf"{NUMBER})$"
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
    rf"someone|we) (?=\w)|"
    r"please (?!(?:and|in|dear|love|darling|pet|mate|sweetheart|then|now)\b)\w+|let us (?:have|get|turn|put|"
    r"switch|do|start|set)\b|may i have\b|(?:i|we) (?:would "
    r"like|"
    r"want|need) (?:the|my|our|[\w']+'s)\b)"
)
_JOINED = (
    r"to|and|you|please|not|just|i|we|can|could|would|will|the|a|an|my|our|then|or|never|gonna|who|"
    r"somebody|"
    r"someone|he|she|they|it|that|if|when|said|says|told|tell|asked|ask|him|her|them|of|for|in|at|with|is|are|"
    r"was|were|let|us|me|do|does|did|but|so|maybe|go|mind|no|be|this|his|their|your|help|ever|always|only|also|"
    r"ahead|kindly|quickly|better|must|should|may|might|people|everybody|everyone|nobody|rather|suppose|"
    r"think|know|"
    r"remember|forget|try|cannot|possibly|hit|press|someone|even|still|already|actually|really|oh|um|uh|er|"
    r"erm|well|right|okay|ok|hey|yeah|yes|now|"
    r"may|perhaps|why|how|what|where|have|has|had"
)
_AND_ASKS = re.compile(rf" and (?={_VERB} {_OBJECT}\b)")
_IS_TO = re.compile(r"\b(?:to|can|will|would|and) \w+\b.* and\b")
_REQUEST = re.compile(rf"(?<!\w)(?!(?:{_JOINED})\b)([\w']+) (?={_ASKS})")
_SENSED = re.compile(r"\b(?:i|we) (?:can )?(?:hear|see|smell|feel)$")
_QUESTION_IN = re.compile(
    r"^((?:i (?:think|feel)|it|that|this|we|i)\b.*? (?:cold|hot|warm|dark|bright|stuffy|chilly|freezing|"
    r"humid|late|down|out|up|again|raining|pouring)) "
    r"(?=(?:what|which|how|is the|are the|is my)\b)"
)
""" "I think it's cold what does the thermometer say"."""
_REQUEST_IN = re.compile(
    r"\b(\w+ing (?:in|out|up|down|off|over|home|back)|bless (?:him|her|them|it)|let (?:the |my |our )?\w+ in|"
    r"(?:hear|stand|bear|take|find|see|read|like|hate|reach|feel|do) (?:it|this|that|them|him|her)|at it) "
    rf"(?={_ASKS})"
)
_TELLS_FIRST = re.compile(
    rf"^(?:and |so |but |well |oh |hey |hi |hello )*(?:{_PERSON}|{_AFTER_THERE}|that is)\b(?! (?:would like|"
    rf"want|need))"
)
_KEPT = re.compile(
    r"\b(?:never ?mind|forget it|forget that|cancel|leave|do not|not yet|stop|wait|changed my mind|would "
    r"like|want|"
    r"wants|need|needs|would love|would prefer|please|can you|could you|and then|otherwise|if not|except|"
    r"but not)\b|"
    rf"\b(?:{VERBS}) (?:the|my|our|it|that|off|on|up|down|them|all)\b|\b(?:on|off)$"
)
_LEFT_SO = re.compile(
    r"^(?:somebody|someone|he|she|they|\w+)(?: is| has| must have)? (?:left|forgot|"
    r"forgotten) "
)
_SO_THAT = re.compile(
    r"(?<=\w) so (?:that )?(?:(?:the|my|our|his|her) )?[\w']+ (?:can|cannot|could|do not|does not|will not|"
    r"has|have) "
    r"(?!you\b).+$"
)
_QUOTES = re.compile(
    r"\b(?:he|she|they|it|who|just) (?:just )?(?:goes|went|was like|is like|shouts|shouted|"
    r"yells|yelled|sings)$"
)
_OF_ANOTHER = re.compile(
    r"\b(?:did|does|do|has|have|had|let|make|help|saw|see|watch|heard|hear)(?: (?:the |my |our )?[\w']+(?: "
    r"[\w']+)?)$"
)
_STATE = frozenset(
    word
    for line in (
        "on off up down open closed shut locked unlocked halfway percent degrees brighter dimmer warmer "
        "cooler louder",
        "quieter red blue green yellow orange purple pink white full low high max half",
    )
    for word in line.split()
)
_NOBODY = frozenset(
    ("auto", "mute", "overnight", "tonight", "tomorrow", "today", "later", "thanks", "everything", "nothing")
)
_STATED = _STATE | _NOBODY | frozenset(("to", "at", "a", "all", "by", "please", "volume", "full"))


def things_of(book: NameBook, nouns: Mapping[tuple[str, ...], object], parts: PartNames) -> Thing:
    """What tells where a thing of this home ends: one of its names, whole or in part, or a class of things."""

    def thing(words: list[str], at: int) -> int:
        hits = book.find(words, at, (Kind.DEVICE,))
        noun = next((at + size for size in (3, 2, 1) if tuple(words[at : at + size]) in nouns), at)
        part = parts.at(words, at) if at < len(words) and words[at] in book.words else None
        if part is not None and "the" in words[at : part.end]:
            part = None  # "somebody left the garage light on" is of no left one
        return max(hits[0].end if hits else at, min(noun, len(words)), part.end if part is not None else at)

    return thing


def rooms_of(book: NameBook) -> Thing:
    """What tells where the name of a room or a floor of this home ends."""

    def room(words: list[str], at: int) -> int:
        hits = book.find(words, at, (Kind.AREA, Kind.FLOOR))
        return hits[0].end if hits else at

    return room


def paused_ways(spoken: str, thing: Thing, room: Thing) -> tuple[str, str]:
    """The sentence (lower case, written out) without what is told behind a command, and whole, with their pauses.

    Itself, twice, where it has commas of its own.
    """
    plain = spoken.strip(" .!?")
    if "," in plain or _MARKS.search(plain):
        return spoken, spoken
    paused = _paused(said_out(plain, thing, room), thing)
    return ", ".join(map(_left, paused.split(", "))), paused.replace(";", ",")


_LEAVES = re.compile(r"^(?:please |just )*leave\b")


def _left(clause: str) -> str:
    first, *told = clause.split("; ")
    if _LEAVES.match(first):
        return ", ".join((first, *told))  # which is why something is to stay as it is
    if not told or not _TELLS_FIRST.match(first):
        first = _SO_THAT.sub("", first)
    if not told or _OPENS.match(first) or _TELLS_FIRST.match(first):
        return ", ".join((first, *told))
    kept = [one for one in told if _KEPT.search(one) and not _LEFT_SO.match(one)]
    return ", ".join((first, *kept))


def _paused(plain: str, thing: Thing) -> str:
    """With commas before what is asked for, and semicolons before what is told."""
    return ", ".join(_clauses(part, thing) for part in _corrections(plain).split(", "))


def _corrections(plain: str) -> str:
    """With what takes something back between commas: "to fifty, no, forty"."""
    plain = re.sub(r" or no (?=\w)", " no ", plain)
    plain = _ONLY.sub(r" because \1", _HALTING.sub(r"\1, no, ", _DID_I.sub(" ", plain)))
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
    asks = QUESTION.match(plain)
    cut = plain if asks and _SENSED.search(plain) else _TELLS.sub(_after, plain)
    if not asks:
        cut = _SUBJECT.sub(lambda found: _subject(found, thing), cut)
    told, *rest = cut.split("; ")
    cut = "; ".join((told, *(one if _IS_TO.search(one) else _AND_ASKS.sub(", ", one) for one in rest)))
    cut = _NAME.sub(lambda found: _named(found, thing), cut)
    cut = _REQUEST_IN.sub(r"\1, ", _REQUEST.sub(_before_request, _QUESTION_IN.sub(r"\1, ", cut)))
    return ", ".join("; ".join(_chained(one, thing) for one in part.split("; ")) for part in cut.split(", "))


def _after(found: re.Match[str]) -> str:
    return f"{found[0].rstrip()}; " if not _OPENS.match(found.string[: found.end()]) else found[0]


def _subject(found: re.Match[str], thing: Thing) -> str:
    """Before who does something: "the gate, the vet is here"; not "the heater ravi is away", a thing."""
    words = found.string[found.end() :].split()[:5]
    end = thing(words, 1)
    apart = end == 1 or "'s" in words[end - 1] or re.match(rf"{_BE}\b", words[end] if end < len(words) else "")
    return f"{found[1]}; " if apart else found[0]


def _before_request(found: re.Match[str]) -> str:
    """With a pause before what is asked for; not in "did nan turn the blanket off"."""
    before = found.string[: found.end()].rstrip()
    told = _OF_ANOTHER.search(before) or _QUOTES.search(before)
    return found[0] if told else f"{found[1]}, "


def _named(found: re.Match[str], thing: Thing) -> str:
    """Before somebody's name: "the heater, ravi is away"."""
    words = [found["who"]]
    before = found["before"]
    if found["who"] in _STATED | _NUMBERS or thing(words, 0) or thing([before, *words], 0) > 1:
        return found[0]
    if not (_ENDS.search(before) or thing([before], 0)):
        return found[0]
    rest = found[0][len(before) + 1 :]
    if "'s" in rest and not re.match(
        r"(?:in|at|so|too|here|there|all|not|still|only|just|asleep|up|down|out|gone|\w+ing|\w+ed|been|got|"
        r"left|lost|awake|back|home|"
        r"late|away|over|done|finished|ready|outside|upstairs|downstairs)\b",
        found.string[found.end() :],
    ):
        return found[0]
    return f"{before}; {rest}"


def _chained(plain: str, thing: Thing) -> str:
    """Several things with a state each: "oven off, dishwasher on"."""
    words = plain.split()
    made: list[str] = []
    at, seen, told = 0, False, bool(_TELLS_FIRST.match(plain))
    while at < len(words):
        start = at + (words[at] in ("the", "my", "our"))
        end = thing(words, start) if start < len(words) and words[start] not in _STATE else start
        if end > start:
            stated = end < len(words) and words[end] in _STATED
            before = words[at - 1] if at else ""
            led = at > 1 and (words[at - 2] in _VERB_WORDS or (before in _VERB_WORDS and words[at - 2] == "and"))
            if stated and before == "and" and at > 1 and words[at - 2] in _NUMBERS:
                made[-2] += ","
            ends = told and start == at and end + 1 == len(words) and not led and before not in _JOINS
            if stated and ((seen and before in _STATE | _NUMBERS and not led) or ends):
                made[-1] += ","
            made += words[at:end]
            seen = seen or words[end - 1] not in _PROPERTIES
            at = end
            continue
        made.append(words[at])
        at += 1
    return " ".join(made)


_PROPERTIES = frozenset(("volume", "brightness", "temperature", "heat", "sound", "color", "speed", "position"))
_JOINS = frozenset(
    ("the", "my", "our", "a", "to", "and", "turn", "switch", "put", "for", "of", "with", "is", "his", "her")
)
_VERB_WORDS = frozenset(VERBS.split("|"))
_NUMBERS = frozenset(re.findall(r"[a-z]+", f"{UNITS} {TENS} hundred"))
