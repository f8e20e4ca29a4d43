"""Where in a sentence something is asked for, and whether what stands around it may be left out. English, pure.

"Rob's reading in bed and it's a bit dim, make his lamp brighter": people tell first and ask then. What begins as
a request or a question ends the telling; the telling may be anything but a condition, a time, a negation of a
command, words of somebody else, or another command. Knows no device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from perslm_runtime.home_patterns import NUMBER

VERBS = "|".join(
    word
    for line in (
        "turn switch put set make open close shut lock unlock start stop pause play resume skip mute unmute",
        "raise lower lift drop dim brighten light kill cut stick pop chuck whack bang flick flip knock give",
        "get bring send arm disarm activate run do fire crank nudge bump pull draw roll wind heat warm cool",
        "boil brew hoover vacuum clean sweep find locate dock return change adjust increase decrease reduce",
        "boost press hit trigger enable disable toggle power lose slap whip ping shove throw bung pump ramp",
        "soften deactivate extinguish douse take move slide tilt hoist",
    )
    for word in line.split()
)
_VERBS = frozenset(VERBS.split("|"))
_COULD = r"(?:can|could|would|will)"
_CUT = re.compile(
    r"[,;.!?]+\s+|\s+-+\s+|"
    rf"\s+(?:so |and so |and |so then |then |but )?(?={_COULD} (?:you|someone|somebody|anyone|we|"
    rf"i (?:have|get))\b)|"
    r"\s+(?:so|and so)\s+(?:then |now |please |just |perhaps |maybe )*(?=(?:let us|you (?:can|could|may|"
    r"might)|please)\b)|"
    r"\s+so\s+(?=\w)|"
    r"\s+(?=(?:before|while|because|cause|cos|since|as) (?:next door|the|my|our|his|her|your|their|"
    r"i|we|you|he|she|they|it|somebody|"
    r"someone|everyone|everybody|people|\w+'s)\b)|"
    r"\s+(?=before \w+ (?:gets|comes|goes|is|wakes|has|starts|sees|notices|escapes|runs|arrives)\b)|"
    rf"\s+and\s+(?=(?:{VERBS}|go|come|have|we|i|you|then)\b)"
)
_LEAD = (
    r"(?:(?:oh|ah|well|so|and|then|now|also|okay|ok|right|hey|please|just|maybe|perhaps|anyway|hmm|er|um|"
    r"erm|but|"
    r"sorry|only|(?:very )?(?:quietly|gently|carefully|slowly)|tell me|let me think(?: now)?|go on|if you "
    r"(?:can|"
    r"could|would|like)|quickly|go ahead and|"
    r"you know what|"
    r"i (?:think|reckon|suppose|guess)(?: that)?|i tell you what|tell you what|let me think|let us see)[ ,]+)*"
)
_LEADING = re.compile(f"^{_LEAD}")
_CLAUSES = re.compile(r"[,;.!?]+\s+")
_FRAME = re.compile(
    rf"^{_LEAD}(?:{_COULD} (?:you|someone|somebody|anyone|we|i (?:have|get))\b|you (?:can|could|may|might)\b|"
    r"let us\b|i (?:want|need|would like|would love|would prefer)\b|we (?:want|need|would like|would love)\b|"
    r"(?:give|get|bring) (?:me|us)\b|please\b|go ahead and\b|(?:it is |it might be )?time (?:to|for)\b|"
    r"do me a favou?r\b|make sure\b|be sure to\b|try to\b|how about|what about|(?:would you )?mind \w+ing\b)"
)
_QUESTION = re.compile(
    rf"^{_LEAD}(?:what|which|how (?:many|much|warm|cold|hot|humid|bright|loud|is|are)|is|are|did|have|has|"
    rf"do you know|{_COULD} you (?:tell|see|check|have a look)|any)\b"
)
_ASKING = re.compile(
    rf"^{_LEAD}(?:{_COULD} (?:you|someone|somebody|anyone|we|i)|you (?:can|could|may|might)|let us|"
    r"(?:would you )?mind(?= \w+ing\b)|(?:it is|it might be) time to|go ahead and)\b,? ?"
    r"(?:please |just |maybe |kindly |perhaps |"
    r"go ahead and |be an? \w+ and )*"
)
_BEHIND_IT = re.compile(
    r"(?:[, ]+(?:please|would you|will you|could you|can you|yeah|ok|okay|thanks|thank you|"
    r"for (?:me|us|him|her|them|you|everyone|a bit|a while|a minute|now)|mate|love|dear|then|now|as well|"
    r"too))+[.!?]*$"
)
_DO = re.compile(r"^(?:do|have|try|go with|go for|set up|put on) (?:the )?")
_TAKEN_BACK = re.compile(r"\b(?:no|not|nah|forget|never ?mind|cancel|leave|scratch|stop|wait|actually)\b")
_STATED = re.compile(
    r"^(?:the |my |our )?(.+?) (?:still )?(open|closed|shut|locked|unlocked|on|off|armed|disarmed|running|"
    r"charging|home)(?: still| yet| now| right now| at the moment)?$"
)
_VALUED = re.compile(
    r"^(?:the |my |our )?(.+?) (volume|temperature|temp|brightness|battery|humidity|position|setting|"
    r"set to what|status)$"
)
_TOLD = re.compile(r"\b(?:is|are|was|were|did|has|have|had|do|not)\b")
_ASKED_WHOLE = re.compile(
    rf"^(?:{_LEAD})(?:is|are|was|were|did|do|does|has|have|can|could|would|will|mind|fancy|what|which|who|where|"
    rf"when|how|"
    rf"why|any|"
    r"anything|anyone|tell|show|check|see|say|find|list|give|report|read|know|turn|switch|put|set|leave|"
    r"keep|get|"
    r"pop|"
    r"stick|make|open|close|shut|lock|unlock|let us)\b"
)
_BIDS = re.compile(
    rf"\b(?:please|(?:{VERBS}) (?:the|my|our|it|that|off|on|up|down)|could you|can you|would you|will you)\b"
)
_HOUR = re.compile(
    r" (?:at|by|for) (?:(?:half|quarter) (?:past |to )?)?"
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|[1-9]|1[0-2])"
    r"(?: (?:thirty|fifteen|forty five|o'clock|oclock))?(?: (?:please|today|tonight|then|sharp|for (?:me|"
    r"us)))*(?:[.!?]*$|(?=[,;] ))"
)
_VALUE_AND_HOUR = re.compile(
    rf"\bto {NUMBER}(?: percent| degrees)? (?:at|by) (?:half (?:past )?|quarter (?:past|to) )?{NUMBER}\b(?! "
    rf"percent| degrees)"
)
_SWITCHED = re.compile(
    r"\b(?:on|off|open|close|shut|lock|unlock|start|stop|activate|warmer|cooler|brighter|dimmer|louder|"
    r"quieter)\b"
)
_UNSURE = re.compile(
    r"^(?:i (?:thought i |think i |just )?(?:heard|hear|saw|smell|smelled)|i am not sure|i do not know|not sure|"
    r"no idea|do not know|i wonder|i (?:cannot|can not) (?:tell|"
    r"remember)|"
    r"i forget|never mind|nevermind)\b"
)
_NO_MATTER = re.compile(
    r"^(?:do not|no need to|you need not|no) (?:bother|worry|worries|mind)\b(?!.*\b(?:off|on)\b)"
)
_CONDITION = re.compile(
    r"^(?:(?:oh|well|so|and|then|okay|right|but|only|just|please|or) )*"
    r"(?:if|unless|when|whenever|once|as soon as|until|till|while|before (?!(?:i|we) )|after|in case|"
    r"in (?:a|an|\d+|\w+|half an|an? \w+ of an) (?:minutes?|hours?|seconds?)|at \w+|from|tomorrow|tonight|"
    r"later|every|"
    r"on (?:mon|tues|wednes|thurs|fri|satur|sun)day)\b"
)
_AND_THEN = re.compile(r"\band (?:then )?in [\w ]+ (?:minutes?|hours?|seconds?)$")
""" "Hall light off and in half an hour": what comes behind is to be done then."""
_ELSEWHERE = re.compile(
    r"\b(?:if|unless|until|till|otherwise|tomorrow|later|whether|"
    r"said|says|say|saying|told|tell|tells|asked|asks|asking|wrote|writes|heard|sang|sings|wish|wished|wonder|"
    r"imagine|suppose|pretend|dreamed|dreamt|story|(?:in|from) (?:a|the|that|this) (?:film|movie|book)|"
    r"song says|joke|shout|shouts|shouted|shouting|example|password|instead of)\b"
)
_ANOTHER = re.compile(r"\b(?:if|unless|until|till|otherwise|tomorrow|later|instead of|except)\b")
_DENIED = re.compile(r"\b(?:not|never|no longer|without|stop)\b")
_OTHERS_NEVER = re.compile(r"\b(?:he|she|they|it|nobody|people|kids) never\b")
_SEES = re.compile(
    r"\b(?:can|could|do|does|did|is|are|was|were|has|have|am) ?not (?:really |even |quite )?"
    r"(?:see|hear|sleep|concentrate|read|feel|find|think|work|want to (?:fall|trip|wake)|too|so|very|enough|"
    r"much|"
    r"that|warm|cold|bright|dark|a|the|anyone|anybody|any|need)\b(?: without\b)?"
)


_STATE = re.compile(
    r"\b(?:on|off|out|up|down|open|closed|shut|locked|unlocked|percent|degrees|louder|quieter|brighter|dimmer|"
    r"warmer|cooler|next|back|to \w+|at \w+|half|full|max|low|high)\b"
)
"""A request without a verb: "kitchen lamp off", "blinds half open"."""
_LEFT_SO = re.compile(
    r"^(?!.*\b(?:left|leaves|leaving|forgot|keeps?|stays?|stayed|got)\b).* (?:on|off|up|down|open|closed|shut|"
    r"locked|unlocked)(?: please| now| then)*$"
)
_TELLS = re.compile(
    r"\b(?:is|are|was|were|am|be|been|has|have|had|do|does|did|will|would|should|not|never|no|i|we|he|she|they|"
    r"you|who|that|went|goes|came|comes|looks?|feels?|smells?|sounds?)\b"
)
_SO = re.compile(r"\bso\b")
_SAYS = re.compile(
    r"^((?:the |my |our )?\w+(?: \w+)?) (?:says|reckons|is saying|thinks|tells me)(?: that)? "
    r"(?=(?:there|he|she|it|they|(?:the|his|her|my) \w+|i|we|you) (?:is|are|am|has|have|feels|looks|needs?|"
    r"wants?)\b)"
)
"""What somebody says of how things are, which is no command of theirs: "the postman says there's a parcel"."""
_TO_US = re.compile(
    rf"^{_LEAD}(?:{_COULD} (?:you|someone|somebody|anyone|we)\b|(?:just|please|so|now) (?=\w)|would you mind\b|"
    r"let us (?:have|get|turn|put|switch|do|start|set)\b)"
)
_QUOTING = re.compile(
    r"(?<!going to )\b(?:said|says|say|saying|told|tells|tell|asked|asks|ask|wrote|writes|heard|hear|sang|sings|"
    r"shouts?|shouted|"
    r"yells?|yelled|read|story|joke|example|goes)(?: (?:me|us|him|her|them|to \w+))?[ ,:]*$"
)
_GOES = frozenset(("go", "come", "have", "let"))
_WHILE = re.compile(
    r"^(?:before|while|as|since) (?:(?:the|my|our|his|her) \w+|i|we|he|she|they|it|somebody|someone|everyone|"
    r"everybody|people|\w+'s?|\w+)(?: [\w']+)? (?:[\w']+ )*\w+$"
)
"""What is done at once all the same: "before the kids get in there", "while I clean it"."""
_WOULD = re.compile(r"^(?:i|we|he|she|they|it|somebody|someone|everybody|\w+) (?:will|would)\b")
"""What comes of it otherwise: "he will sleep till noon"."""
_OF_SOMEBODY = re.compile(
    r"^(?:(?:i|we|he|she|they|it|nobody|\w+) (?:am |is |are |was |really |still )*(?:do |does |did )?not\b)"
)

Names = Callable[[str], bool]


def _anything(_clause: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Request:
    """A clause that asks for something: what was told before it, itself, what comes behind it, and whether it is
    a question, which does nothing."""

    told: str
    wanted: str
    behind: str
    asks: bool


def requests(spoken: str, names: Names = _anything) -> Iterator[Request]:
    """The requests that a sentence (lower case, written out) may hold, those that end it first.

    None where the sentence is a request as a whole. `names` tells whether a clause names something of the home.
    """
    marks = list(_CUT.finditer(spoken))
    cuts = [(found.start(), found.end()) for found in marks]
    starts = [0, *(end for _, end in cuts)]
    ends = [start for start, _ in cuts] + [len(spoken)]
    for last in range(len(ends) - 1, -1, -1):
        for first in range(last + 1):
            if first == 0 and last == len(ends) - 1:
                continue
            told = spoken[: ends[first - 1]] if first else ""
            behind = spoken[starts[last + 1] :] if last + 1 < len(starts) else ""
            wanted = spoken[starts[first] : ends[last]].strip(" ,;.!?-")
            kind = _begins(wanted)
            if not kind or not wanted or (kind == "request" and _is_taken_back(behind)):
                continue
            follows = first > 0 and _follows(marks[first - 1][0], wanted) and not _QUOTING.search(told)
            before, after = ([one for one in _CLAUSES.split(text) if one.strip(" .")] for text in (told, behind))
            asks = kind == "question"
            if all(may_be_left(one, names, asks=asks, follows=follows) for one in before) and all(
                may_be_left(one, names, asks=asks, behind=True) for one in after
            ):
                yield Request(told, wanted, behind, asks)


def told_alone(spoken: str, names: Names = _anything) -> Iterator[str]:
    """Each clause of a sentence with several beside which the others only tell: one may be a hint."""
    clauses = [one for one in _CLAUSES.split(spoken.strip(" .!?")) if one]
    for clause in clauses if len(clauses) > 1 else ():
        if all(may_be_left(other, names) for other in clauses if other is not clause):
            yield clause


def asked(text: str) -> str | None:
    """A question that is only a thing and a state or a value of it, as a whole one; None for any other sentence.

    "Front door locked?" is "is the front door locked".
    """
    said = text.strip().lower().replace("’", "'")
    if not said.endswith("?"):
        return None
    told, plain = _last(said.rstrip("? "))
    if told and (_ASKED_WHOLE.search(told) or _BIDS.search(told)):
        return None
    if (found := _STATED.search(plain)) is not None and not (_ASKED_WHOLE.search(plain) or _TOLD.search(plain)):
        several = found[1].endswith("s") and not found[1].endswith("ss")
        return f"{told}{'are' if several else 'is'} the {found[1]} {found[2]}"
    if (found := _VALUED.search(plain)) is not None and not _ASKED_WHOLE.search(plain):
        return f"{told}what is the {found[1]} {found[2].removesuffix(' what')}"
    return None


def _last(said: str) -> tuple[str, str]:
    """What stands before the last clause, with its comma, and that clause."""
    marks = [*_CLAUSES.finditer(said)]
    return (said[: marks[-1].end()], said[marks[-1].end() :]) if marks else ("", said)


def at_a_time(spoken: str) -> bool:
    """Whether something is to go on or off, open or close at an hour: at seven, which is no percentage."""
    if _VALUE_AND_HOUR.search(spoken):
        return True  # "to sixteen at eleven tonight"
    found = _HOUR.search(spoken)  # "Ann is coming at two, so put the fire on" is to be done now
    return found is not None and bool(_SWITCHED.search(_CLAUSES.split(spoken[: found.start()])[-1]))


def is_at_an_hour(spoken: str) -> bool:
    """Whether a sentence ends in an hour."""
    return _HOUR.search(spoken) is not None


def without_hour(spoken: str) -> str:
    """The sentence without an hour at its end, at which something would be done."""
    return _HOUR.sub("", spoken)


def plainly(wanted: str) -> Iterator[str]:
    """A request without how it is asked: "could you unlock it for him please" is "unlock it"."""
    yield wanted
    plain = _LEADING.sub("", _BEHIND_IT.sub("", _ASKING.sub("", wanted)))
    plain = re.sub(r"\b(?:down|up|over|out) there\b", " ", plain)
    plain = re.sub(r"\b(?:absolutely|right) (?=every|all|up|down)", "", plain)
    yield plain
    if (short := _DO.sub("", plain)) != plain:
        yield short


def _begins(wanted: str) -> str:
    if _QUESTION.search(wanted):
        return "question"
    plain = _LEADING.sub("", wanted)
    words = plain.split()
    if _FRAME.search(wanted) or (words and words[0] in _VERBS):
        return "request"
    return "request" if len(words) > 1 and _STATE.search(plain) and not _TELLS.search(plain) else ""


def _is_taken_back(behind: str) -> bool:
    return any(_TAKEN_BACK.search(_OF_SOMEBODY.sub(" ", one)) for one in _CLAUSES.split(behind))


def _follows(mark: str, wanted: str) -> bool:
    """Whether a request says itself that what was told is only why: "so ...", "could you ...", "just ..."."""
    return bool(_SO.search(mark) or _TO_US.search(wanted))


def may_be_left(
    clause: str, names: Names = _anything, *, asks: bool = False, follows: bool = False, behind: bool = False
) -> bool:
    """Whether a clause tells something that changes nothing of what is wanted (or of what is asked).

    `follows`: what is wanted follows from it. `behind`: it stands behind what is wanted.
    """
    plain = _SAYS.sub(r"\1 ", _LEADING.sub("", clause.strip(" ,;.!?-")))
    if asks:
        return follows or behind or not _ELSEWHERE.search(re.sub(r"\b(?:if|whether|tell|wonder)\b", " ", plain))
    if _NO_MATTER.search(plain) or _UNSURE.search(plain) or (behind and _WHILE.search(plain)):
        return True
    if not behind and _AND_THEN.search(plain):
        return False
    if _CONDITION.search(plain) or follows or (behind and _WOULD.search(plain)):
        return not _CONDITION.search(plain)
    return not (_ANOTHER if behind else _ELSEWHERE).search(plain) and _tells_only(plain, names)


def is_in_state(clause: str) -> bool:
    """Whether a clause may want a state without a verb: "printer off"."""
    return bool(_LEFT_SO.search(clause)) and not _TELLS.search(clause)


def _tells_only(plain: str, names: Names) -> bool:
    """Whether a clause neither commands nor denies anything of the home."""
    words = plain.split()
    if is_in_state(plain) and names(plain):
        return False  # "printer off, desk lamp off": neither is told only
    if (words and (words[0] in _VERBS or words[0] in _GOES)) or _FRAME.search(plain):
        return not names(plain)  # "get the popcorn", "let us calm things down"
    if not _DENIED.search(_SEES.sub(" ", _OTHERS_NEVER.sub(" ", plain))):
        return True
    return bool(_OF_SOMEBODY.search(plain)) and not names(plain)
