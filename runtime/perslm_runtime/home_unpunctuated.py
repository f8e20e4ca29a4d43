"""Where a sentence that came without commas may have had them: some recognizers write none. English, pure.

"I'm going up turn off everything downstairs" tells and asks; "oven off dishwasher on" wants two things. Gives the
sentence with a pause put in; whoever asks has to find a whole command behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from perslm_runtime.home_requests import VERBS

_MARKS = re.compile(r"[,;.!?]\s")
_MOST = 3
_VERB = (
    r"(?:turn|switch|put|set|make|open|close|shut|lock|unlock|start|stop|pause|play|dim|bring|pull|drop|raise|"
    r"lower|"
    r"get|give|kill|pop|stick|mute|take|run)"
)
_OBJECT = r"(?:the|my|our|off|on|up|down|it|that|them|all|both|every|everything|\w+'s|his|her|a bit)"
_ASKS = (
    rf"(?:(?:just |please |then )*{_VERB} {_OBJECT}\b|(?:can|could|would|will) (?:you|somebody|someone|we)\b|"
    r"please \w+|let us\b|(?:i|we) (?:would like|want|need) (?:the|my|our|\w+'s)\b|you (?:can|could|may|"
    r"might) \w+)"
)
_JOINED = (
    r"to|and|you|please|not|just|i|we|can|could|would|will|the|a|an|my|our|then|or|never|going|gonna|who|somebody|"
    r"someone|he|she|they|it|that|if|when|said|says|told|tell|asked|ask|him|her|them|of|for|in|on|at|with|is|are|"
    r"was|were|let|us|do|does|did|and|but|so|maybe|go|mind|no|be|this|his|their|your"
)
_REQUEST = re.compile(rf"(?<!\w)(?!(?:{_JOINED})\b)([\w']+) (?={_ASKS})")
_COMMAND = re.compile(rf"(?:please |just |can you |could you )*(?:{VERBS})\b")
_EXCEPT = re.compile(
    r"(?:all |everything )?(?:except|without|apart from|other than|but)\b|"
    r"(?:why|how|what|who|which|when|where|should|did|does|do|is|are|was|were|if|unless|whenever|once|after)\b"
)
_CHAIN = re.compile(r"\b(on|off) (?=(?!(?:the|in|at|for|to|on|off|and|please|low|full|high)\b)[\w'])")
_CORRECTED = re.compile(
    r"(?<=\w) (?:(?:oh |er |um |uh |actually |sorry )*no|er|actually) (?=(?:the|my|our|\w+'s)\b)"
)


def set_apart(spoken: str) -> str:
    """The sentence (in lower case, written out) with pauses where several things would be taken for one.

    A thing that is taken back ("the kitchen light no the worktop lights"), and several with a state each
    ("oven off dishwasher on"): read as they came, both lights and both devices would be worked.
    """
    plain = spoken.strip(" .!?")
    if "," in plain or _MARKS.search(plain):
        return spoken
    if (found := _CORRECTED.search(plain)) is not None:
        return f"{plain[: found.start()]}, no, {plain[found.end() :]}"
    chained = plain.rpartition(" ")[2] in ("on", "off") and not _COMMAND.match(plain)
    return _CHAIN.sub(r"\1, ", plain) if chained else spoken


def before_requests(spoken: str) -> Iterator[str]:
    """The sentence with a pause before what may be asked for; none where it has its own."""
    plain = spoken.strip(" .!?")
    if "," in plain or _MARKS.search(plain) or _EXCEPT.match(plain):
        return
    for at in [found.end() - 1 for found in _REQUEST.finditer(plain)][::-1][:_MOST]:
        if " " in plain[:at]:
            yield f"{plain[:at]},{plain[at:]}"
