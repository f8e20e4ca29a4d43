"""What a language model reads out of a sentence that no rule understands, held to the sentence's own words. Pure.

Two questions to the model: what the sentence tells, in a form whose value is a run of the sentence's words; then
whether the sentence says so. What speaks of the past, of wishes or of what others say is not asked about, and what
cannot be a value of its relation is dropped. benchmarks/facts.py measures it; memory_claims.py keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from perslm_runtime.choosing import Form
from perslm_runtime.facts import Statement, believable
from perslm_runtime.profile import in_first_person
from perslm_runtime.profile import said as words_of
from perslm_runtime.recall import only_asks
from perslm_runtime.relations import ROLES, role_of

SYSTEM = (
    "You note what a sentence tells for certain about the speaker or about a person it names,"
    " as: who | what | value;\n"
    "The value is words of the sentence. Write nothing; when it tells nothing lasting: questions, wishes, plans,"
    " fears, jokes, dreams, the past, single events, what somebody else claims, other topics."
)
EXAMPLES = (
    ("These days home is Lyon for me.", "I | lives in | Lyon;"),
    ("How far is Rome?", "nothing;"),
    ("Guess what, my brother got a job at Siemens.", "my brother | works at | Siemens;"),
    ("I wish I could live in Spain.", "nothing;"),
    ("I helped my uncle with the fence.", "nothing;"),
    ("Coffee is the one thing I need.", "I | likes | Coffee;"),
    ("The film was too long for me.", "nothing;"),
    ("Bruno earns a living as a tailor.", "Bruno | works as | tailor;"),
    ("My cousin used to work for the railway.", "nothing;"),
    ("Onions make Bruno's throat swell.", "Bruno | allergic to | Onions;"),
    ("I gave Bruno a watch.", "nothing;"),
    ("My aunt says that Leo lives in Turin.", "nothing;"),
    ("The one we named our son after was Grandpa Emil.", "my son | name | Emil;"),
    ("Bruno and I went to Turin.", "nothing;"),
    ("My niece is a tailor now.", "my niece | works as | tailor;"),
    ("My aunt would rather work as a painter.", "nothing;"),
    ("My uncle bought a house in Turin.", "my uncle | lives in | Turin;"),
    ("Leo took the bus to see Bruno.", "nothing;"),
    ("Leo plays chess on Sundays.", "nothing;"),
    ("My cousin's shoes are size ten.", "nothing;"),
    ("My cousin gets ill from onions.", "my cousin | allergic to | onions;"),
)
CHECK_SYSTEM = (
    "You check notes. Say yes when the sentence itself says that the note is true today. Say no when it only "
    "wishes, plans, denies, tells of the past, of somebody else, or of something else."
)
CHECK_EXAMPLES = (
    ("Sentence: I dreamt I lived in Paris.\nNote: I live in Paris.", "no;"),
    ("Sentence: My home is Paris.\nNote: I live in Paris.", "yes;"),
    ("Sentence: My cousin bought a cake.\nNote: my cousin likes cake.", "no;"),
    ("Sentence: Siemens pays my brother.\nNote: my brother works at Siemens.", "yes;"),
    ("Sentence: I bought my aunt a lamp.\nNote: my aunt likes lamp.", "no;"),
    (
        "Sentence: Bruno's desk is at the town hall, where he works.\nNote: Bruno works at town hall.",
        "yes;",
    ),
    ("Sentence: My aunt used to live in Turin.\nNote: my aunt lives in Turin.", "no;"),
    ("Sentence: My aunt and I visited Turin.\nNote: my aunt lives in Turin.", "no;"),
    ("Sentence: Onions make Bruno's throat swell.\nNote: Bruno is allergic to Onions.", "yes;"),
)
YES_OR_NO = Form('root ::= "yes;" | "no;"\n', weighed=True)
TOKENS = 48
LEAST_SURE = 0.85
"""How likely "yes" has to be. Of the development dialogues all that passes is right, from 0.6 on."""

CONFIDENCE = 0.6
_RELATIONS = (
    *("name", "lives in", "works at", "works as", "age", "birthday", "comes from", "likes", "dislikes"),
    *("allergic to", "speaks", "favourite food", "favourite colour"),
)
_WORD = re.compile(r"[\w'’&@.+-]*\w")
_OWN = re.compile(r"\b(?:I|I['’]\w+|[Mm]y|[Mm]e|[Ww]e|[Oo]ur|[Uu]s)\b")
# Of the past, of what is only wished, thought, denied or heard: as facts.py leaves it out.
_NOT_SO = re.compile(
    r"\b(?:used to|until|till|ago|formerly|once|no longer|any ?more|in those days|back then|was|were|had"
    r"|wore|went|took|met|want(?:s|ed)?|wish(?:es)?|hopes?|hoping|would|could|should|might|may|maybe|if|whether|almost|nearly|plans?"
    r"|dream\w*|appl(?:y|ied|ies)|think(?:s|ing)?|thought|believes?|guess|say(?:s)?|said|told|tells|asked|asks|heard"
    r"|claims?|not|never|\w+n['’]t|looks? like|looking for|yesterday|last (?:year|month|week|night))\b",
    re.IGNORECASE,
)
_GUESS_WHAT = re.compile(r"\bguess what\b[,!]?", re.IGNORECASE)
_SHORTEST_CHARS, _LONGEST_CHARS = 8, 160
_LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model noted of a sentence, and the question whether the sentence says so."""

    statement: Statement
    check: str


def worth_asking(sentence: str, names: Collection[str]) -> bool:
    """Whether a sentence may tell something of the speaker, or of somebody called one of `names`."""
    text = _GUESS_WHAT.sub("", sentence)
    if not _SHORTEST_CHARS <= len(text) <= _LONGEST_CHARS or text.rstrip().endswith("?") or only_asks(text):
        return False
    return not _NOT_SO.search(text) and bool(_OWN.search(text) or _named(text, names))


def form_of(sentence: str, names: Collection[str]) -> Form:
    """The form of the answer for this sentence: nothing, or who, what, and a run of the sentence's words."""
    words = _WORD.findall(sentence)
    roles = sorted({role_of(word) for word in map(str.lower, words) if word in ROLES})
    subjects = ["I", *(f"my {role}" for role in roles), *_named(sentence, names)]
    lines = [
        'root ::= "nothing;" | who " | " what " | " value ";"',
        f"who ::= {_either(subjects)}",
        f"what ::= {_either([*_RELATIONS, *roles])}",
        "value ::= " + " | ".join(f"w{number}" for number in range(len(words))),
    ]
    for number, word in enumerate(words):
        more = f' (" " w{number + 1})?' if number + 1 < len(words) else ""
        lines.append(f"w{number} ::= {_quoted(word)}{more}")
    return Form("\n".join(lines) + "\n")


def read(written: str, sentence: str, names: Collection[str]) -> Reading | None:
    """What the model wrote as a statement; None for "nothing", and for what no sentence can say."""
    parts = written.strip().removesuffix(";").split(" | ")
    if len(parts) != 3 or not written.strip().endswith(";"):
        return None
    who, relation, value = parts
    words = " ".join(_WORD.findall(sentence))
    is_name = relation == "name" or relation in ROLES.values()
    if f" {value} " not in f" {words} " or len(value) > _LONGEST_VALUE or not believable(relation, value):
        return None
    if relation == "works as" and not re.search(rf"\b(?:an?|as|the) {re.escape(value)}\b", words):
        return None  # "repairs clocks for a living", "is employed by Ericsson"
    if value.lower() in ("i", "my", "we", "our", "me") or (is_name and not value[:1].isupper()):
        return None
    if is_name and (value.lower() in ROLES or value == who):
        return None
    named = who if who in _named(sentence, names) else None
    subject = () if who == "I" or named else (who.removeprefix("my "),)
    statement = Statement(subject, relation, value, sentence.strip(), CONFIDENCE, named=named)
    note = in_first_person(words_of("you", relation, value)) if who == "I" else words_of(who, relation, value)
    return Reading(statement, f"Sentence: {sentence}\nNote: {note}.")


def _named(sentence: str, names: Collection[str]) -> list[str]:
    known = set(names)
    words = (word.removesuffix("'s").removesuffix("’s") for word in _WORD.findall(sentence))
    return [word for word in dict.fromkeys(words) if word in known]


def _either(texts: Sequence[str]) -> str:
    return " | ".join(_quoted(text) for text in texts)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
