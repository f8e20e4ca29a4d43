"""Ways to say something that mean a plainer one: "lock the front", "Mike and Jen's lamps", "have a look and see".

Each only puts words in place of words of the same meaning; what cannot be told from words alone is not here. Pure.
"""

from __future__ import annotations

import re

_YOU = r"(?:can|could|would|will) you (?:please )?"
_SHADES = r"(?:the|my|our) (?:\w+ )?(?:awning|canopy)"
_AMOUNT = r"(?:\d|half|a|one|two|ten|\w+ty|\w+teen)"
_SOMEBODY = r"(?:i|we|anyone|anybody|someone|somebody)"
_PLAINLY: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        # what goes before, and says nothing
        (r"^(?:brr+|phew|ooh+|ugh+|yikes|gosh|wow|aah+|ahh+|hmm+|whoa)[,;.!]+ ", ""),
        (r"^(?:before i forget|do not let me forget|while i remember|by the way)[,;.]+ ", ""),
        (
            r"^let us (?:get|have|let) some (?:daylight|sunlight|sunshine|sun|light|fresh air)"
            r" in(?: here)?[,;.] ",
            "",
        ),
        (
            r"\b(?:the|a|that),? (?:(?:um|uh|er|erm|you know),? )*"
            r"(?:what is it called|what do you call it|what was it(?: called)?|whatchamacallit|thingy),?"
            r" (?=the\b)",
            "",
        ),
        # other words for a thing, and for the contrary of a state
        (r"\bthe heat\b(?! (?:pad|pump|lamp|gun))", "the heating"),
        (r"\bheat is too (?=low|high)", "heating is too "),
        (r"^no (lights?|lamps?|music|heating|fans?)( [^,;]*?)? on\b", r"turn off the \1\2"),
        (r"^((?:which|what) .+? (?:are|is)) not (?:still )?locked\b", r"\1 unlocked"),
        (r"^((?:which|what) .+? (?:are|is)) not (?:still )?(?:closed|shut)\b", r"\1 open"),
        (r"^((?:which|what) .+? (?:are|is)) not (?:still )?open\b", r"\1 closed"),
        # how much it is wished, and what for
        (
            r"\b(would|do|might) (?:quite|really|rather|very much|just|actually) (like|love|prefer|want|need)\b",
            r"\1 \2",
        ),
        (r"\b(would (?:you )?mind) (?:terribly|awfully|ever so much|very much|at all)\b", r"\1"),
        (
            r"\s+so (?:that )?(?:i|we|he|she|they) "
            r"(?:do not|does not|can|cannot|will|would|am|is|are|get|have) [^,;.]*$",
            "",
        ),
        (r"\bgotta\b", "have to"),
        (
            r"\b(?:take|have) a (?:quick |little )?(?:look|peek|check) "
            r"(?:and |to )?(?:(?:see|tell me|check|say) )?(?=if\b|whether\b)",
            "check ",
        ),
        (rf"\b{_YOU}do (?:me )?(?:one|a|this one|a quick|one little) thing(?: for me)?[,:]? ", ""),
        # what is left out
        (
            r"\b(lock|unlock)( up)? the (front|back|side)(?= and\b| now\b| please\b| for\b|[,;.!?]|$)",
            r"\1\2 the \3 door",
        ),
        (r"\b(\w+) and (\w+)'s (\w+)s\b(?! (?:room|bedroom))", r"\1's \3 and \2's \3"),
        (rf",? but (?:only|just) (?=(?:at|to) (?:about |around |roughly )?{_AMOUNT})", " "),
        (r"\b(on|off) out (?=(?:in|on|at|by) the\b)", r"\1 "),
        (r"\b(lock (?:(?:the|everything|it all) (?:\w+ )?)?up) for the night\b", r"\1"),
        # which way something goes
        (rf"\b(?:roll|wind|put|let|pull|bring) out (?={_SHADES}\b)", "open "),
        (rf"\b(?:roll|wind|put|let|pull|bring) ({_SHADES}) out\b", r"open \1"),
        (rf"\b(?:roll|wind|pull|bring|take) in (?={_SHADES}\b)", "close "),
        (rf"\b(?:roll|wind|pull|bring|take) ({_SHADES}) in\b", r"close \1"),
        # whom it is said of
        (
            r"\b(send|bring|call|get|tell|pause|stop|start) (?:him|her)\b"
            r"(?! \w*(?:light|lamp|room|blind|fan|heater)\w*)",
            r"\1 it",
        ),
        (r"\b(back )?to (?:his|her) (dock|base|charger|station)\b", r"\1to its \2"),
        # "Did anybody shut the door after the barbecue": a question about now does not need when
        (
            rf"^((?:did|have|has) {_SOMEBODY} .+?) "
            r"(?:after|before|during|since) (?:the|my|our|that) \w+(?: \w+)?\??$",
            r"\1",
        ),
    )
)
_CALLED_OFF = re.compile(
    r"[,;. -]+(?:(?:uh|um|er|oh|ah|no|wait|actually|sorry|you know what|well) *,? *)*"
    r"(?:never ?mind|forget (?:it|that|about it)|scratch that|cancel that|nothing)[ .!]*$"
)


def plainer(spoken: str) -> str:
    """The sentence, in lower case and written out, in plainer words."""
    for pattern, instead in _PLAINLY:
        spoken = pattern.sub(instead, spoken)
    return spoken


def is_called_off(spoken: str) -> bool:
    """Whether somebody thinks better of it before the end: "dim the, uh, never mind"."""
    found = _CALLED_OFF.search(spoken)
    return found is not None and bool(spoken[: found.start()].strip(" ,.;"))
