"""Words of which questions about the home are made: a state, who brought it about, where, how warm. English, pure.

Knows no question; home_question_forms.py and home_questions.py put them together.
"""

from __future__ import annotations

PRONOUN = r"(?:it|they|i|we|you|he|she|there|that|them|anybody|anyone)"
BE = r"(?:is|are|was|were|did|does|do|has|have|had|am)"
ADVERB = (
    r"(?:(?:still|already|definitely|actually|really|just|ever|even|all|both|probably|now|currently|only|properly|"
    r"maybe|perhaps|certainly|by any chance|left|been|been left|gone and|gone|ended up|at least) )*"
)
LATER = (
    r"(?: (?:up there|down there|out there|over there|in there|still|already|now|yet|again|at all|properly|"
    r"all night|all day|this whole time))*"
)
S = (
    r"on|off|open|closed|shut|locked|unlocked|running|armed|disarmed|up|down|going|playing|charging|"
    r"switched on|switched off|turned on|turned off|locked up|set|drawn|pulled|lowered|raised"
)
PLACED = (
    r"(?: (?:up|down|out)?(?:stairs|side)| (?:in|on|at) (?:the |my |our |his |her |\w+'s )?\w+(?: \w+)?| in here)"
)
SUBJECT = (
    r"(?:i|we|you|he|she|they|anyone|anybody|someone|somebody|the kids|the boys|the girls|the children|mum|mom|"
    r"dad|"
    r"the (?:cleaner|builders|babysitter|sitter|lads|twins)|\w+)"
)
DONE = {
    **{one: one for one in ("leave", "lock", "unlock", "close", "shut", "turn", "switch", "put", "open", "set")},
    "draw": "close",
    "drew": "close",
    "drawn": "close",
    "left": "leave",
    "locked": "lock",
    "unlocked": "unlock",
    "closed": "close",
    "turned": "turn",
    "switched": "switch",
    "opened": "open",
    "arm": "arm",
    "armed": "arm",
    "forget": "leave",
    "knock": "turn",
    "knocked": "turn",
    "leaving": "leave",
    "locking": "lock",
    "closing": "close",
    "shutting": "shut",
    "turning": "turn",
    "switching": "switch",
    "putting": "put",
    "setting": "set",
    "arming": "arm",
}
VERB = "|".join(sorted(DONE, key=len, reverse=True))


_STATES = {
    "switched on": "on",
    "turned on": "on",
    "switched off": "off",
    "turned off": "off",
    "going": "on",
    "charging": "on",
    "locked up": "locked",
    "drawn": "closed",
    "pulled": "closed",
    "lowered": "closed",
    "raised": "open",
}


def state(word: str) -> str:
    """The plain word for a state: "on" for "going", "closed" for "drawn"."""
    return _STATES.get(word, word)


DEVICE_AT = r"((?:the |my |our )?[^,;?]+?)"
DOCK = r"(?:dock|base|base station|charger|charging station|charging dock|stand|home)"
NOT_IT = r"(?!(?:it|there|that|this|he|she|they|you|we|i|anyone|anybody|anything)\b)"
WARM = (
    r"(?:warm|cold|hot|chilly|cool|freezing|baltic|nippy|frosty|roasting|boiling|mild|sweltering|bitter|icy|minus|"
    r"warmer|colder|cooler|hotter|toasty|perishing|below (?:zero|freezing|\w+)|under \w+|above (?:zero|freezing|"
    r"\w+)|"
    r"over \w+|near freezing|much (?:warmer|colder)|any (?:warmer|colder|cooler|hotter|better)|baking)"
)
WHERE = (
    r"((?:out|outside|in here|here|upstairs|downstairs|indoors|inside|outdoors|in (?:the |\w+'s )?\w+(?: \w+)?))"
)
