"""What makes a command none, or none for now: an ability, a maybe, a condition, a day. English, pure.

"I can't turn on the lights" had turned them on, "open the curtains later" opened them. Says nothing of a "
    r"sentence
in which another clause may ask for something: that is for whoever reads its clauses.
"""

from __future__ import annotations

import re

from perslm_runtime.home_requests import VERBS

_VERB = rf"(?:{VERBS}|resume|brighten|leave|keep|take|move|flip|throw|have|let|tell|ask|work|use)"
_WHO = r"(?:i|we|you|he|she|they|it|nobody|no one|somebody|someone|\w+)"
_NEVER = (
    r"(?:cannot|can not|can never|could not|could never|need not|needs not|must not|may not|might not|dare not|"
    r"would not|would never|should never|do not (?:know how to|dare(?: to)?|need to|have to|get to)|"
    r"(?:am|are|is) not (?:able|allowed|going|supposed) to)"
)
_SUPPOSED = (
    r"(?:if|unless|whenever|as soon as|in case|once) (?:i|we|he|she|they|it|somebody|someone|anyone|nobody|"
    r"the)\b"
)
_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_AT = (
    r"(?:later(?: on)?|tomorrow(?: (?:morning|evening|night|afternoon))?|"
    rf"(?:on|next|every|this) {_DAY}(?: (?:morning|evening|night))?|at (?:midnight|noon|midday|dawn|dusk|"
    rf"sunrise|"
    rf"sunset)|"
    r"in (?:\w+|half an|an|a couple of|\w+ \w+) (?:minutes?|hours?|seconds?|days?|mins?)|"
    rf"{_SUPPOSED} [^,;]+|when (?:i|we|he|she|they|it|everyone|everybody|somebody|someone|the) [^,;]+)"
)
_UNWANTED = re.compile(
    rf"^(?:and |but |well |so |because )*{_WHO} (?:really |just |simply |still |actually )*{_NEVER} "
    rf"(?:\w+ ){{0,2}}?{_VERB}\b[^,;]*$|"
    rf"^(?:and |but |well |so )*{_WHO} (?:really |probably )?"
    r"(?:ought to|should|could|would|might|must)(?: not)? have "
    r"(?:\w+ed|put|set|shut|left|gone|cut|given|made|got|brought|taken)\b[^,;]*$|"
    rf"^(?:i|we|he|she|they) (?:might|may)(?! as well)(?: just| well| even)* {_VERB}\b[^,;]*$|"
    rf"^(?:i|we) (?:would|could) {_VERB}\b[^,;]* if (?:i|we)\b[^,;]*$|"
    rf"^(?:and |but |well |so |what )*if (?:i|we|he|she|they|it|somebody|someone|anyone) "
    r"(?!(?:could|can|may|might)\b)"
)
_LEFT_SO = re.compile(
    r"^(?:(?:please|just|and|no|oh|can you|could you) )*leave [^,;]+ (?:on|off|open|closed|shut|up|down|"
    r"unlocked|running)(?: please)?,? "
    r"(?:i am|we are|he is|she is|they are|i have not|we have not)\b"
)
"""What is to stay as it is, for somebody needs it so: "leave the garage door open, I'm still shovelling"."""
_FOR_NOW = re.compile(r"^(?:keep|leave) [^,;]+ (?:on|off|open|closed|shut|up|down) for now(?:[.!]*$|,)")
_CHORE = re.compile(
    r"^(?:\w+,? )?(?:(?:can|could|will|would) you )?(?:please )?(?:take|put|bring) (?:out )?the (?:bins?|"
    r"rubbish|trash|"
    r"recycling|dogs?|kids|washing)(?: out| in)?(?: please)?[.!]*$"
)
""" "Can you take the bins out", said to somebody else."""
_DONE_THEN = re.compile(
    r"\b(?:last night|yesterday|earlier|this morning)\b[^,;]* so (?!please|can|could|you|i|we|let|just|will|"
    r"would)"
    r"\w+,? (?:put|set|shut|cut|left|turned|switched|opened|closed) [^,;]+$"
)
""" "The den was freezing last night so Pete put the heater on"."""
_LATER = re.compile(rf"^[^,;]*\b{_VERB}\b[^,;]* {_AT}[.!?]*$")
_ASKS_ON = re.compile(r" so (?!that\b|much\b)|\b(?:can|could|would|will) (?:you|somebody|someone)\b")
"""What goes on to ask without a pause: "I can't find my glasses so bedroom light on full"."""
_NOT_LATER = re.compile(r"\b(?:is|are|was|were|did|do|does|has|have|what|which|how|see you)\b")
_TAKEN_BACK = re.compile(
    r"[,;.] (?:(?:no|oh|wait|actually|sorry|on second thoughts?)[, ]+)*(?:do not|better not|rather not)[.!]*$"
)


def is_unwanted(spoken: str) -> bool:
    """Whether a sentence (lower case, written out) is no command, or none for now."""
    plain = spoken.strip()
    if (
        _LEFT_SO.match(plain)
        or _FOR_NOW.match(plain)
        or _CHORE.match(plain)
        or _DONE_THEN.search(plain)
        or _TAKEN_BACK.search(plain)
        or (_UNWANTED.search(plain) and not _ASKS_ON.search(plain))
    ):
        return True
    return _LATER.search(plain) is not None and not _NOT_LATER.search(plain)
