"""What a person's own sentences say of themselves and their people, by rules: clear cases only, nothing guessed.

Pure: text in, statements out; every value stands in the text word for word. Questions, wishes and what others said
are no statements. Who "my sister" is, the store knows (memory_claims.py). English only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from perslm_runtime.relations import ROLES, role_of

CLEAR, UNSURE, HEDGED, CORRECTED = 0.9, 0.7, 0.5, 0.95
_LONGEST_CHARS = 200  # of a clause: who tells something clearly needs no more, and patterns cost time by length


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that was said. `subject` is the way from the speaker, who is (): ("sister", "husband").

    `named` is the subject's name where it was said with it. A `relation` that is a role leads to somebody, whose
    name is `value`, None where it was not said; any other leads to the text `value`. `pronoun` ("her", "it", "")
    stands for a subject that only the conversation tells. `corrects`: something else was understood before.
    """

    subject: tuple[str, ...]
    relation: str
    value: str | None
    quote: str
    confidence: float = CLEAR
    named: str | None = None
    pronoun: str = ""
    corrects: bool = False


_NAME = (
    r"(?:(?:Dr|Mr|Mrs|Ms|St)\.? )?[A-ZÀ-Þ][\w'’-]*"
    r"(?: (?:(?:van|von|de|del|della|da|la|der|den|bin|al) )?[A-ZÀ-Þ][\w'’-]*){0,2}"
)
_ANY_NAME = rf"(?:{_NAME}|[\w'’-]{{2,30}})"
_ROLE = "(?:" + "|".join(sorted((re.escape(word) for word in ROLES), key=len, reverse=True)) + ")"
_OWN = rf"(?:[Mm]y|[Oo]ur) (?:(?:older|younger|little|big|elder|new|best|only|oldest|youngest) )?(?P<role>{_ROLE})"
_THEIR = rf"(?:['’]s? (?P<second>{_ROLE}))?"
_PERSON = rf"{_OWN}{_THEIR}(?:,? (?P<named>{_NAME}),?)?"
_SUBJECT = rf"(?:(?P<self>I|[Ww]e)|{_PERSON}|(?P<pronoun>[Ss]he|[Hh]e|[Tt]hey)|(?P<known>{_NAME}))"
_WHOSE = (
    rf"(?:(?P<self>[Mm]y|[Oo]ur)|{_OWN}{_THEIR}(?:,? (?P<named>{_NAME}))?['’]s?"
    rf"|(?P<pronoun>[Hh]er|[Hh]is|[Tt]heir|[Ii]ts)|(?P<known>{_NAME})['’]s?)"
)
_BE = r"(?:(?: am| is| are|['’]m|['’]s|['’]re)(?: now| actually| really)?)"
_TEXT = r"(?P<value>[^,;:]{2,60}?)"
_TAIL = (
    r"(?:,? (?:now|too|as well|at the moment|these days|by the way|though|again|currently|any ?more|recently"
    r"|(?:last|this|next) (?:week|month|year|summer|winter|spring|autumn)|yesterday|today|in (?:19|20)\d\d"
    r"|since .*|because .*|so .*|but .*|which .*|who .*|with my .*))*"
)

_REGULAR = r"(?:[Ee]very (?:day|morning|evening|night|week|\w+day)|[Oo]n \w+days)"

# Relation -> what follows the subject.
_PREDICATES: tuple[tuple[str, str], ...] = (
    ("name", rf"{_BE} (?:called|named) (?P<value>{_ANY_NAME})"),
    ("lives in", rf"(?: (?:now |still |currently )?lives?|{_BE} (?:now )?living) in {_TEXT}"),
    ("lives in", rf"(?: have| has|['’]ve|['’]s)?(?: just| recently)? moved to {_TEXT}"),
    ("works at", rf"(?: (?:now )?works?|{_BE} (?:now )?working) (?:at|for) {_TEXT}"),
    ("works as", rf"(?: (?:now )?works?|{_BE} (?:now )?working) as an? {_TEXT}"),
    ("age", rf"{_BE} (?P<value>[\w-]{{1,20}}) years old"),
    ("age", r"(?: have| has|['’]ve)?(?: just)? turned (?P<value>\d{1,3})"),
    ("birthday", r" (?:was|were) born (?:on|in) " + _TEXT),
    ("comes from", rf"(?: comes?|{_BE}(?: originally)?) from {_TEXT}"),
    ("allergic to", rf"{_BE} allergic to {_TEXT}"),
    ("is", rf"{_BE} (?:an? )?(?P<value>vegetarian|vegan|diabetic|left-handed|lactose intolerant|coeliac)"),
    ("dislikes", rf"(?: really)? (?:hates?|dislikes?|can['’]?t stand|cannot stand) {_TEXT}"),
    ("dislikes", rf" (?:do not|don['’]?t|does not|doesn['’]?t) (?:really )?like {_TEXT}"),
    ("likes", rf"(?: really)? (?:likes?|loves?|enjoys?|adores?) {_TEXT}"),
    ("speaks", r" speaks? (?P<value>[A-Z]\w+(?:(?:, | and )[A-Z]\w+)*)"),
    ("routine", r"(?P<value> (?:always|usually) .{3,80})"),
    (
        "routine",
        rf"(?P<value> (?!am |was |will |have )\w+ .{{0,60}}{_REGULAR})",
    ),
)
_POSSESSIVES: tuple[tuple[str, str], ...] = (
    ("name", rf"(?: full| first)? name['’]?s?(?: is)? (?P<value>{_ANY_NAME})"),
    ("birthday", rf" birthday(?: is|['’]s)(?: on)? {_TEXT}"),
    ("phone number", r" (?:phone|telephone|mobile|cell) number is (?P<value>[+\d][\d /-]{3,24})"),
    ("email", r" e-?mail(?: address)? is (?P<value>\S+@\S+\w)"),
    ("address", r" address is (?P<value>.{4,80}?)"),
    ("favourite", rf" favou?rite (?P<what>[\w ]{{2,24}}?) is {_TEXT}"),
    ("job", rf" (?:job|profession|occupation) is {_TEXT}"),
    ("works as", r" (?:job|profession|occupation) is (?P<value>[^,;:]{2,60}?)"),
)
_SINGLE = re.compile(rf"{_OWN}{_THEIR} is (?P<value>{_NAME})")
_IS_MY = re.compile(rf"(?P<value>{_NAME}) is {_OWN}{_THEIR}")
_THIS_IS = re.compile(rf"[Tt]his is {_OWN}{_THEIR},? (?P<value>{_NAME})")
_HAVE = re.compile(
    rf"{_SUBJECT} (?:have|has|['’]ve got|have got) (?:an?|one|two|three|four|five) (?P<what>{_ROLE})"
    rf"(?:,? (?:called|named)|,|:) (?P<value>{_NAME}(?:(?:, | and |, and ){_NAME})*)"
)
_HAVE_PET = re.compile(
    rf"{_SUBJECT} (?:have|has|['’]ve got|have got) an? (?P<what>{_ROLE}) (?:called|named) (?P<value>{_ANY_NAME})"
)
_CALL_ME = re.compile(rf"(?:[Pp]lease |[Yy]ou can |[Yy]ou may )?[Cc]all me (?P<value>{_ANY_NAME})")
_EVERY = re.compile(rf"(?P<value>{_REGULAR},? (?:I|we) .{{3,80}})")
_IT_IS = re.compile(rf"(?P<pronoun>[Ii]t)(?:['’]s| is) (?P<value>{_NAME})")

_RULES = tuple((relation, re.compile(_SUBJECT + rest)) for relation, rest in _PREDICATES)
_OWNERS = tuple((relation, re.compile(_WHOSE + rest)) for relation, rest in _POSSESSIVES if relation != "job")
_END = re.compile(rf"{_TAIL}\s*[.!]*\s*")
# A full stop ends a sentence where a space follows, but for "Dr. Weiss".
_SENTENCE = re.compile(r"(?:[^.!?\n]|(?<=\b(?:Dr|Mr|Ms|St))\.|(?<=\bMrs)\.|[.!?](?=\w))+[.!?\n]*")
_CLAUSE = re.compile(r"(?:,|;)?\s+(?:and|but)\s+(?=(?:I|[Ww]e|[Mm]y|[Ss]he|[Hh]e|[Tt]hey|[Hh]er|[Hh]is|[Oo]ur)\b)")
_BEFORE = re.compile(
    r"(?:(?:please|well|yes|yeah|oh|hi|hello|hey|ok|okay|so|and|also|by the way|you know|now|listen|note that"
    r"|of course|(?:please )?remember(?:,? for (?:everybody|everyone|all of us),?)?(?: that|:|,)?"
    r"|i want you to know(?: that)?|just so you know)[,:]?\s+)",
    re.IGNORECASE,
)
_CORRECTS = re.compile(
    r"(?:no|nope|wrong|actually|sorry|i mean|i meant|that['’]?s (?:wrong|not right)|that is (?:wrong|not right)"
    r"|not quite)[,.:]?\s+",
    re.IGNORECASE,
)
_HEDGES = re.compile(r"(?:i think|i guess|i believe|maybe|probably|perhaps)(?: that)?,?\s+", re.IGNORECASE)
_NO_VALUE = re.compile(
    r"(?:not|it|that|this|these|those|you|your|him|her|them|how|what|when|where|why|who|if|nothing|something"
    r"|anything|everything|one|some|to (?:know|see|hear)|the (?:way|idea|fact|thing)|in|on|at|here|there|really"
    r"|a bit|just|so|very|gone|sick|ill|tired|angry|happy|sad|late|coming|going|away|home|fine|good|great|well)\b",
    re.IGNORECASE,
)
_PLACES = frozenset(("lives in", "works at", "comes from"))
_IS_PLACE = re.compile(r"[A-ZÀ-Þ]|^(?:an?|the) ")
_NOT_NAMES = frozenset(
    word
    for line in (
        "i we my our she he they it the a an that this there here what who when where why how is are was no yes",
        "not and but or so if then today tomorrow yesterday everybody somebody nobody please remember tell",
    )
    for word in line.split()
)


def statements(text: str) -> list[Statement]:
    """What `text` says, in its order; a pronoun that means the person just spoken of is resolved."""
    found: list[Statement] = []
    for clause, confidence, corrects in _clauses(text):
        before = list(found)
        for one in _said_in(clause):
            about = _resolved(one, before)
            if about.pronoun in ("it", "its") and not corrects:
                continue  # "it is Monday"
            weight = CORRECTED if corrects else min(confidence, UNSURE if about.pronoun else CLEAR)
            found.append(replace(about, confidence=weight, corrects=corrects))
    return found


def sentences_of(text: str) -> list[str]:
    """The sentences of what a person said."""
    return [found for sentence in _SENTENCE.findall(text[:4000]) if (found := sentence.strip())]


def _clauses(text: str) -> Iterator[tuple[str, float, bool]]:
    """Statements-to-be without what stands before them: (clause, how sure, whether it corrects)."""
    corrects = False
    for sentence in _SENTENCE.findall(text[:4000]):
        whole = sentence.strip()
        if whole.endswith("?"):
            corrects = False
            continue
        for part in _CLAUSE.split(whole):
            clause, confidence = part.strip(), CLEAR
            while True:
                if match := _BEFORE.match(clause):
                    clause = clause[match.end() :]
                elif match := _CORRECTS.match(clause):
                    clause, corrects = clause[match.end() :], True
                elif match := _HEDGES.match(clause):
                    clause, confidence = clause[match.end() :], HEDGED
                else:
                    break
            if clause.lower().rstrip(" .!,") in ("no", "nope", "wrong", "that's wrong", "that is wrong"):
                corrects = True  # "No. Her name is Ana."
            elif clause and len(clause) <= _LONGEST_CHARS:
                yield clause, confidence, corrects
        corrects = corrects and len(whole) < 16


def _said_in(clause: str) -> Iterator[Statement]:
    for pattern, relation in ((_CALL_ME, "name"), (_EVERY, "routine"), (_IT_IS, "name")):
        if match := _whole(pattern, clause):
            yield from _made(clause, relation, match)
            return
    for pattern in (_HAVE, _HAVE_PET):
        if match := _whole(pattern, clause):
            yield from _have(clause, match)
            return
    for pattern in (_SINGLE, _IS_MY, _THIS_IS):
        if match := _whole(pattern, clause):
            path = _path(match)
            if believable("name", match["value"]):
                yield Statement(path[:-1], path[-1], match["value"], clause)
            return
    for relation, rule in (*_OWNERS, *_RULES):
        if match := _whole(rule, clause):
            yield from _made(clause, relation, match)
            return
    if (match := re.match(_PERSON + r" ", clause)) and match["named"]:
        path = _path(match)
        yield Statement(path[:-1], path[-1], match["named"], match[0].strip(" ,"))


def _whole(pattern: re.Pattern[str], clause: str) -> re.Match[str] | None:
    """The match that the clause is all of, but for adverbs at its end."""
    return re.fullmatch(pattern.pattern + _END.pattern, clause)


def _made(clause: str, relation: str, match: re.Match[str]) -> Iterator[Statement]:
    groups = match.groupdict()
    value = match["value"].strip(" .!,")
    if relation == "favourite":
        relation = f"favourite {match['what'].strip().lower()}"
    known = groups.get("known")
    if not believable(relation, value) or (
        known is not None and re.split(r"['’ ]", known)[0].lower() in _NOT_NAMES
    ):
        return
    path, named = _path(match), groups.get("named") or known
    pronoun = (groups.get("pronoun") or "").lower()
    if relation == "speaks":
        for language in re.split(r", | and ", value):
            yield Statement(path, relation, language, clause, named=named, pronoun=pronoun)
        return
    yield Statement(path, relation, value, clause, named=named, pronoun=pronoun)


def _have(clause: str, match: re.Match[str]) -> Iterator[Statement]:
    role = role_of(match["what"])
    for name in re.split(r", and |, | and ", match["value"]):
        if believable("name", name):
            yield Statement(
                _path(match),
                role,
                name,
                clause,
                named=match["named"] or match["known"],
                pronoun=(match["pronoun"] or "").lower(),
            )


def _path(match: re.Match[str]) -> tuple[str, ...]:
    groups = match.groupdict()
    return tuple(role_of(word) for word in (groups.get("role"), groups.get("second")) if word)


def believable(relation: str, value: str) -> bool:
    """Whether the words can be a value of the relation: no pronoun, no mood, no time."""
    if not value or _NO_VALUE.match(value):
        return False
    if relation in _PLACES and not _IS_PLACE.search(value):
        return False  # "I live in fear", "I work for hours"
    return relation != "name" or value.lower() not in _NOT_NAMES


def _resolved(one: Statement, before: list[Statement]) -> Statement:
    """With the person that a pronoun means, where the text has spoken of exactly one other."""
    if not one.pronoun:
        return one
    people = {
        (*said.subject, said.relation) if said.relation in ROLES.values() else said.subject
        for said in before
        if not said.pronoun
    } - {()}
    if len(people) != 1:
        return one
    path = next(iter(people))
    names = [
        said.value
        for said in before
        if (*said.subject, said.relation) == path or (said.subject, said.relation) == (path, "name")
    ]
    return replace(one, subject=path, pronoun="", named=names[0] if len(set(names)) == 1 else one.named)
