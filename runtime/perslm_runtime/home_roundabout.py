"""Ways of saying it that go round: a statement that is a question, a need that is a command. English, pure.

"The oven is off, isn't it", "I can't remember if the gate is shut", "the hall light wants turning off". Each is
turned into the plain question or command; nothing is made of a sentence that holds more than that.
"""

from __future__ import annotations

import re

from perslm_runtime.home_requests import VERBS

_STATE = r"on|off|open|closed|shut|locked|unlocked|running|armed|up|down|out"
_THING = r"(?!you\b|we\b|i\b|they\b|he\b|she\b|it\b|there\b|that\b)([^,;.?!]+?)"
_SURE = (
    r"(?:(?:so )?(?:i|we) (?:do )?(?:think|believe|hope|guess|suppose|reckon|take it|assume|trust)(?: that)? |"
    r"i am (?:pretty |fairly |quite |almost )?sure(?: that)? |(?:please )?tell me )?"
)
_TAG = (
    r"(?:is not it|are not they|is it not|are they not|right|is it|are they|is that right|correct|yes|yeah|eh|huh)"
)
_UNKNOWN = (
    r"(?:i (?:wonder|am wondering|was wondering|cannot (?:remember|recall|tell)|can not (?:remember|recall|tell)|"
    r"do not (?:remember|recall|know)|could not (?:say|tell you)|forget|forgot|have forgotten|"
    r"am not (?:sure|certain)|"
    r"would (?:like|love) to know|want to know|need to know|should check)|no idea|not sure|any idea|any clue|"
    r"remind me|who knows|do not suppose you know|you would not know|you do not know)"
)
_DONE = {
    "left": "leave",
    "locked": "lock",
    "unlocked": "unlock",
    "closed": "close",
    "shut": "shut",
    "turned": "turn",
    "switched": "switch",
    "put": "put",
    "opened": "open",
}
_DOING = {
    "turning": "turn",
    "switching": "switch",
    "putting": "put",
    "opening": "open",
    "closing": "close",
    "shutting": "shut",
    "locking": "lock",
    "unlocking": "unlock",
    "dimming": "dim",
    "starting": "start",
    "stopping": "stop",
    "pausing": "pause",
    "lowering": "lower",
    "raising": "raise",
}
_MADE = {
    "open": "open",
    "opened": "open",
    "closed": "close",
    "shut": "close",
    "locked": "lock",
    "unlocked": "unlock",
}
_WANTS = re.compile(
    rf"^{_THING} (?:could do with|would like|wants?|needs?|(?:is|are) due|(?:is|are) ready for) (?:a )?"
    rf"({'|'.join(_DOING)})(?: (on|off|up|down))?(?: again| please| now)*[.!]*$"
)
_HAVE = re.compile(
    rf"^(?:i|we) (?:will|shall) have {_THING} (on|off|{'|'.join(_MADE)})(?: now| please| then)*[.!]*$"
)
_DID = re.compile(
    rf"^{_UNKNOWN} (?:if|whether) (i|we|somebody|someone|anyone|anybody|\w+) (?:have |has |had |ever |actually )?"
    rf"({'|'.join(_DONE)}) ([^,;.?!]+)[.?!]*$"
)
_PLAIN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (rf"^{_SURE}{_THING} (is|are) (?:still |already |definitely )?({_STATE})[, ]+{_TAG}[?.!]*$", r"\2 \1 \3"),
        (rf"^{_UNKNOWN} (?:if|whether) {_THING} (?:is|was) ([^,;.?!]+)[.?!]*$", r"is \1 \2"),
        (rf"^{_UNKNOWN} (?:if|whether) {_THING} (?:are|were) ([^,;.?!]+)[.?!]*$", r"are \1 \2"),
        (
            rf"^(?:nobody|no one|i do not|we do not|no longer) needs? {_THING} "
            r"(?:on|running)(?: now| any more| anymore)*[.!]*$",
            r"turn off \1",
        ),
        (
            rf"^(?:there is )?no (?:need|reason|point) (?:for|in having|to have|in) {_THING} "
            r"(?:to be |being )?(?:left )?(?:on|running)(?: now| any more| anymore)*[.!]*$",
            r"turn off \1",
        ),
        (
            r"^what (temperature|volume|brightness|speed|level) is set (?:on|for|in|at) ([^,;?]+)",
            r"what \1 is \2 set to",
        ),
        (r"^without ([^,]+?)(?:, | (?=please |turn |switch |close |open ))(.+)$", r"\2 except \1"),
        (r"^i (?:do not|would not) suppose (?:that )?you (?:could|can|would|might)(?: possibly)? ", "could you "),
        (r"^i would like (?:a (?:bit|little) )?more light (?:from|on|at) (?=\w)", "a bit more light on "),
        (
            r"\bthat (?=(?:fire|light|lamp|fan|heater|tv|telly|radio|blind|curtain|speaker|kettle|"
            r"music) (?:on|off|up|down|out)\b)",
            "the ",
        ),
        (r"^(is|are) ([^,;]+?) yet[?.!]*$", r"\1 \2"),
        (r"^do (?:we|you|i) (?:really |still )*need ([^,;?]+?) on\? (?=turn|switch|shut)", r"\1 is still on, "),
        (
            r",? (?:and )?let us get (?:some|a bit of|a little) (?:more )?"
            r"(?:light|air|fresh air|sun|sunshine) in[.!]*$",
            "",
        ),
        (r"^what is the (?:current )?volume (?:level )?(?:of|on|for|at) (?=\w)", "how loud is "),
        (
            r"^which ([^,;?]+?) did (?:they|we|you|i|anyone|anybody|someone|somebody|the \w+) leave (on|open)\b",
            r"which \1 are \2",
        ),
        (r"\bper cent\b", "percent"),
        (r"\ball of the way\b", "all the way"),
        (r"\ba (?:touch|tad|smidge|smidgen|notch|(?:tiny|teensy|wee|little) bit)\b(?! of)", "a bit"),
        (r"\bout (?:the )?(?:back|front)\b(?= *(?:[,.;!?]|$))", ""),
        (r"\b(on|off) (?:up|down|over) (?=in the\b)", r"\1 "),
        (r"\broller door\b", "garage door"),
        (r"^light the fire\b", "turn on the fire"),
        (r"^all off\b", "everything off"),
        (rf"^(any (?!chance|idea|way|more|of|hope)[^,;?]+?) (?:still )?(?:left )?({_STATE})\??$", r"are \1 \2"),
        (r"(?<=\w), (?:everything|all of it|the (?:whole )?lot)[.!]*$", ""),
        (r"^put (?:some|a bit of) music on[.!]*$", "play some music"),
        (r"^boil the (kettle)\b", r"turn on the \1"),
        (
            r"^(?:i )?(?:cannot|can hardly|can barely) see (?:a thing|anything|much)(?: in here)?[.!]*$",
            "i cannot see a thing",
        ),
        (r"^mind (?=\w+ing\b)", "would you mind "),
        (r"^(?:i|we) (?:(?:have )?(?:just|already) )?(?:asked|told) you to (?=\w)", ""),
        (rf"^(?:(?:you|we|i) )?better (?=(?:{VERBS})\b)", ""),
    )
)


def straight(spoken: str) -> str:
    """The sentence (in lower case, written out) as the plain question or command that it goes round."""
    for pattern, instead in _PLAIN:
        spoken = pattern.sub(instead, spoken)
    if (found := _DID.match(spoken)) is not None:
        return f"did {found[1]} {_DONE[found[2]]} {found[3]}"
    if (found := _WANTS.match(spoken)) is not None:
        return " ".join(filter(None, (_DOING[found[2]], found[3], found[1])))
    if (found := _HAVE.match(spoken)) is not None:
        return f"turn {found[2]} {found[1]}" if found[2] in ("on", "off") else f"{_MADE[found[2]]} {found[1]}"
    return spoken
