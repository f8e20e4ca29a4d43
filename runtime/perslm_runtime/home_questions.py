"""Questions about how things are, as people say them, made the plain ones that the sentences know. English, pure.

"We did lock the back door, didn't we", "what have we got the heating set to", "has the dryer finished". Only words
are put in place of words: whatever is not understood afterwards is no question of the home. The names of the home
tell which value of a thing is asked for, and whether a sensor is called after a thing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from perslm_runtime.home_names import Kind, NameBook
from perslm_runtime.home_question_forms import plain_form
from perslm_runtime.home_question_words import (
    ADVERB,
    BE,
    DEVICE_AT,
    DONE,
    LATER,
    PLACED,
    PRONOUN,
    SUBJECT,
    VERB,
    WARM,
    S,
    state,
)

_TAG = re.compile(
    rf"(?:,? (?:{BE}(?: not)? {PRONOUN}(?: not)?|{BE} {PRONOUN} not|am i not|am i right|innit|is that (?:right|"
    r"so|correct)|no|yeah|yes|right|correct|eh|huh|is that true|is it true|or am i (?:wrong|dreaming|"
    r"imagining it|imagining things|"
    r"mistaken)|or (?:is|are|did|have|has|was) (?:it|they|we|i|you)(?: not)?))$"
)
_NOBODY = frozenset(
    ("to", "and", "the", "please", "just", "who", "what", "which", "why", "how", "when", "where", "not")
)
_NONE = (r"(?:nothing|nobody|no one|none|no)", r"(?:anything|anybody|anyone|any|a)")
_IS_SO = re.compile(
    rf"^(?:and |but |so |well )*(?!there |it |that |you |he |she |they |i |we )(.+?) (is|are|was|"
    rf"were) (?:not )?{ADVERB}"
    rf"({S})({PLACED})?{LATER}$"
)
_IS_SO_SHORT = re.compile(
    rf"^(?:and |but |so )*(?:that is|that was) (?:not )?((?:the|my|our) .+?) (?:all )?({S})({PLACED})?{LATER}$"
)
_DID = re.compile(
    rf"^(?:and |but |so |well )*({SUBJECT}) (?:did |do |have |has |had |"
    rf"never )?(?:not )?{ADVERB}({VERB}) ([^,;]+?)"
    r"(?: (?:before|when|after|as) (?:i|we|he|she|they) [^,]*)?$"
)
_REMEMBERED = (
    r"(?:remember(?:ed)?|think|thought|manage[d]?|bother(?:ed)?|get|got|gotten|forget|forgotten|happen(?:ed)?|"
    r"going|gone|want(?:ed)?)"
)
_DID_REMEMBER = re.compile(
    rf"^(?:did|has|have) (?:not )?({SUBJECT}) (?:not )?{ADVERB}{_REMEMBERED} (?:round |around |on )?(?:to )?"
    rf"(?:go )?(?:and )?(?:go )?({VERB}) (.+)$"
)
_HAS_GOT = re.compile(
    rf"^(?:have|has) (?!any)({SUBJECT}) (?:still )?got ((?:the|my|our|his|her|their|\w+'s) .+?) ({S}){LATER}$"
)
_GOT = re.compile(
    r"^(?:you|we|i|they|\w+) (?:have|has) (?:not )?(?:still )?got ((?:the|my|our|any|\w+'s) .+?) "
    + rf"({S}){LATER}$"
)
_HAS = re.compile(rf"^(?:\w+) (?:has|have|had) ((?:the|my|our|his|her|their|\w+'s) .+?) ({S}){LATER}$")
_THERE = re.compile(
    rf"^there (is|are) (?:not )?(?:still )?{_NONE[0]}?(?:{_NONE[1]})? ?(.*?) ?(?:left |still )*({S})({PLACED})?$"
)
_WONDERING = re.compile(
    r"^.{0,80}?\b(?:wonder(?:ing|ed)?|worr(?:y|ied|ying)|not (?:sure|certain)|checking|curious|"
    r"forgotten|forget|no idea|any idea|"
    r"know|remember|recall|tell|(?:check|see|find out|let me know|look|confirm|remind me|tell me)) "
    r"(?:for me |me |us )?(?:if|whether|that) (.+)$|"
    r"^.{0,60}?\b(?:(?:until|till) i know|(?:does it |it )?looks? like|i (?:take it|presume|assume|"
    r"trust))(?: that)? (?P<known>.+)$|"
    r"^.{0,40}?\b(?:could have sworn|would have sworn|am convinced|swears?|insists|claims|reckons|"
    r"promised)(?: that)? ((?:i|we|he|she|they) .+)$"
)
_CHECK = re.compile(
    r"^(?:(?:can|could|would|will) (?:you|somebody|someone)(?: please| just| quickly| maybe)* |"
    r"do me a favou?r and |"
    r"please |just |quickly |i (?:need|want|would like) (?:you )?to )*"
    r"(?:double check|check|verify|confirm|have a look(?: and see)?|see(?! to\b))(?: for me)? "
    r"(?:that |if |whether |on )?(.+)$"
)
_BEFORE = re.compile(
    r"^(?:(?:and|but|so|well|oh|hey|here|out of interest|just out of (?:interest|curiosity)|out of curiosity|"
    r"quick check|just checking|just to check|random question|silly question|stupid question|quick question|"
    r"by any chance|do you know|would you|will you|do you|from last night|since last night|from earlier|"
    r"from this morning|would you know|do you happen to know|can you tell me|could you tell me|tell me|"
    r"remind me|"
    r"sorry(?: to ask(?: again)?)?|i have to ask|just wondering|i was just wondering|one more thing|"
    r"last thing|and another thing|for peace of mind|would you ever tell me),? )+"
    r"(?=(?:is|are|did|do|does|has|have|was|were|what|which|how|where|any|who|there)\b)"
)
_BEHIND = re.compile(
    r"(?:,? (?:at the minute|at the mo|at this (?:minute|moment|point|hour|second)|as we speak|this (?:minute|"
    r"second|"
    r"instant)|right this second|right now|by any chance|do you know|would you|will you|do you|from last night|"
    r"since last night|from earlier|from this morning|would you know|if you know|"
    r"please|then|there now|so it is|so they are|at all|(?:at|on) (?:his|her|my|your) side|in fact|today|"
    r"these days))+$"
)
_SET = re.compile(
    rf"^(?:and |so )*what(?: temperature| number| level| percentage| percent| brightness| volume| setting)? "
    rf"(?:(?:have|did|do) (?:we|i|you|they|\w+) (?:got |have |get |set |put |turn )*{DEVICE_AT}(?: set| turned|"
    rf" sitting|"
    r" running| down| up| going)* (?:to|at|on)|"
    rf"(?:is|are) {DEVICE_AT}(?: currently| now)? (?:sitting|set|running|turned|turned up|turned down|dimmed|"
    rf"cranked|"
    r"up|down|sat|put)?(?: up| down)? ?(?:to|at|on|on to)(?: (?P<place>in (?:the |my |our |"
    r"\w+'s )?\w+(?: \w+)?))?)$|"
    rf"^at what (?:level|temperature|volume|brightness|setting|percentage) (?:is|are) {DEVICE_AT}(?: set|"
    rf" sitting| on)?$"
)
_HIGH = re.compile(
    rf"^how (?:high|low) (?:is|are|have we got|did we put|did i put|have i got) {DEVICE_AT}(?: set| turned up|"
    rf" turned "
    r"down| turned| up| down| on)?$"
)
_ASKED_OF = {
    "climate": "what is {} set to",
    "light": "how bright is {}",
    "media_player": "how loud is {}",
    "cover": "how far open is {}",
}
_CLASS = (
    ("climate", re.compile(r"\b(?:heating|thermostat|radiator|heater|boiler|aircon|air con)s?$")),
    ("light", re.compile(r"\b(?:lights?|lamps?|spots?|chandelier)$")),
    ("media_player", re.compile(r"\b(?:radio|tv|telly|television|speaker|stereo|music)s?$")),
    ("cover", re.compile(r"\b(?:blinds?|curtains?|shutters?|shades?)$")),
)
_READING = re.compile(
    r"^(?:what is|what was|what are|give me|tell me|check|how is|how are)(?: the)?(?: current)? "
    r"(?P<what>reading|temperature|temp|humidity|battery|charge|power|usage|consumption|power usage|power draw|"
    r"battery level|charge level)(?: level| reading)? (?:of|in|on|for|from|at) (?:the |my |our )?(?P<of>[^,;]+)$"
)
_WARMTH = re.compile(
    r"^(?:how (?:warm|cold|hot|chilly|cool) (?:is|are)|what temperature (?:is|are)|(?:is|are)) (?:the |my |our )?"
    r"(?P<of>[^,;]+?)(?: (?:at|cold enough|warm enough|hot enough|too warm|too cold|still frozen|still cold|okay|"
    r"ok))?$"
)
_JUICE = re.compile(
    r"^(?:how much (?:juice|charge|battery|life|power|battery life|of a charge) (?:has|does|"
    r"is (?:there )?(?:left )?(?:in|on)|"
    r"is there (?:left )?(?:in|on)) "
    r"(?:the |my |our )?(?P<a>[^,;]+?)(?: got| have)?(?: left)?(?: in it)?|"
    r"(?:does|do|will) (?:the |my |our )?(?P<b>[^,;]+?)(?:'s)?(?: battery)? need (?:charging|a charge|"
    r"to be charged|recharging|new batteries|a new "
    r"battery|(?:its|the) battery (?:changing|changed|charging|replacing)|changing|juice|topping up)(?: soon)?|"
    r"is (?:the |my |our )?(?P<c>[^,;]+?)(?:'s)? (?:(?:battery )?(?:running |getting |going )(?:low|out|flat|"
    r"dead)(?: on| of)?(?: battery| juice|"
    r" charge| power)?|(?:low|out) (?:on|of) (?:battery|juice|charge|power)|(?:still |fully )?charged(?: up)?|"
    r"about to die|about to run out)|"
    r"how is (?:the |my |our )?(?P<d>(?!.* for battery)[^,;]+?)(?:'s)? battery(?: doing| looking| holding up|"
    r" getting on)?|"
    r"how is (?:the |my |our )?(?P<e>[^,;]+?)(?: doing| looking| off| fixed| set)? for (?:battery|charge|juice|"
    r"power)|"
    r"what is left (?:in|on|of) (?:the |my |our )?(?P<f>[^,;]+?)(?:'s)? battery)$"
)
_DRAWS = re.compile(
    r"^(?:what|how (?:much|many) (?:power|electricity|energy|juice|current|watts|electric)) (?:is|are|does|"
    r"do) (?:the |my |our )?(?P<of>[^,;]+?) "
    r"(?:using|use|drawing|draw|pulling|pull|eating|sucking|guzzling|burning|chewing|taking|take|consuming|"
    r"costing)"
    r"(?: up| through| down)?(?: right)?(?: at)?$"
)
_SENSED = {"temp": "temperature", "charge": "battery", "charge level": "battery", "battery level": "battery"}
_ASKS = re.compile(r"^(?:is|are|did|does|has|have|what|which|where|how)\b")
_GOT_SO = re.compile(
    r"^how (?P<how>\w+) (?:has|have|did) (?:the |my |our )?(?P<of>[^,;]+?) (?:got|gotten|get|become|gone)$"
)
_ASIDE_QUESTION = re.compile(
    r"^(?:(?:i|we) (?:do )?wonder|(?:i am|i was)(?: just)? wondering|tell (?:me|us)|(?:i|we) (?:cannot|"
    r"can not) remember|"
    r"(?:(?:can|could|would|will) (?:you|somebody|someone) )?(?:please |just )?(?:check|see|tell me|let me know|"
    r"say|find out|have a look)),? "
    r"(?=(?:is|are|did|has|have|does)\b)"
)
_DAMP = ("damp", "humid", "steamy", "muggy", "clammy", "stuffy", "moist", "steamed up")
_IN_AREA = re.compile(
    rf"^is (?:the |my |our )?(?P<of>[^,;]+?)(?: room)? (?:a bit |very |really |too |quite |still |actually |"
    rf"getting |that |so |all )*"
    rf"(?P<how>{'|'.join(_DAMP)}|{WARM})(?: (?:yet|enough|in there))*$"
)
_CHARGES = re.compile(
    r"^is (?:the |my |our )?(?P<of>[^,;]+?) (?:still )?(?:plugged in and )?(?:charging|on charge|"
    r"plugged in)(?: up| yet)?$"
)
_POWER = ("usage", "consumption", "power usage", "power draw", "power")


def plain_question(spoken: str, book: NameBook) -> str:
    """The sentence (in lower case, written out) with the question that it ends with in plain words."""
    bare = spoken.strip(" .?!")
    if not bare:
        return spoken
    bare = _BEHIND.sub("", bare) or bare
    asks = bool(_ASKS.match(bare))
    if spoken.rstrip().endswith("?") and not asks and (made := _stated(bare)) is not None:
        return made
    if (found := _TAG.search(bare)) is not None and found.start():
        made = _of_last_clause(bare[: found.start()].strip(" ,"), _stated)
        if made is not None:
            return made
    made = _of_last_clause(bare, lambda clause: _question(_BEFORE.sub("", clause), book))
    if made is None:
        return bare if asks else spoken
    return made


def _of_last_clause(text: str, read: Callable[[str], str | None]) -> str | None:
    """The text with what `read` makes of it, or else of its last clauses; None where it makes nothing of any."""
    if (made := read(text)) is not None:
        return made
    cuts = [*re.finditer(r"[,;.?!]+ (?:(?:but|and|so|now|well|oh) )*| (?:but|so) ", text)]
    for cut in cuts[-3:]:
        told, clause = text[: cut.start()], text[cut.end() :]
        if told and (made := read(clause)) is not None:
            return f"{told}, {made}"
    return None


def _stated(clause: str) -> str | None:
    """A statement as the question whether it is so; None for any other."""
    clause = re.sub(
        r"^(\w+) is (?=(?:left|forgotten) (?:the|my|our|any|a)\b)", r"\1 has ", _BEHIND.sub("", clause)
    )
    if (found := _WONDERING.match(clause)) is not None:
        return _stated(next(filter(None, found.groups())))
    clause = re.sub(
        r"^(?:(?:so |and |but )*(?:i|we) (?:am |are |do |would )?(?:not )?(?:think|believe|hope|guess|suppose|"
        r"reckon|"
        r"take it|assume|trust|imagine|presume|pretty sure|sure|fairly sure)(?: that)? )+",
        "",
        clause,
    )
    if (made := _so(clause)) is not None:
        return made
    if (found := _DID.match(clause)) is not None and found[1] not in _NOBODY:
        return _did(found[1], found[2], found[3])
    return None


def _so(clause: str) -> str | None:
    """A statement that something is in a state as a question: "we have got the fire on"."""
    if (found := _IS_SO_SHORT.match(clause) or _GOT.match(clause) or _HAS.match(clause)) is not None:
        where = found[3] if found.re is _IS_SO_SHORT else ""
        return f"is {found[1]} {state(found[2])}{where or ''}"
    if (found := _THERE.match(clause)) is not None:
        some = f"any {found[2]}" if found[2] else "anything"
        return f"{found[1] if found[2] else 'is'} {some} {state(found[3])}{found[4] or ''}"
    if (found := _IS_SO.match(clause)) is not None:
        thing = re.sub(r"^(?:none of|no|not one of|nothing)\b", "any", found[1])
        verb = {"was": "is", "were": "are"}.get(found[2], found[2])
        return f"{verb} {'anything' if thing == 'any' else thing} {state(found[3])}{found[4] or ''}"
    return None


def _did(who: str, verb: str, rest: str) -> str:
    who = "somebody" if who in ("nobody", "never") else who.removeprefix("the ")
    rest = re.sub(r"^up at the (front|back|side)$", r"the \1 door", rest)
    if DONE[verb] in ("set", "arm", "turn", "put", "switch") and re.search(r"\balarm\b", rest):
        return "is the alarm armed"
    return f"did {who} {DONE[verb]} {rest}"


def _question(clause: str, book: NameBook) -> str | None:
    clause = _BEHIND.sub("", clause)
    if (plain := _ASIDE_QUESTION.sub("", clause)) != clause:
        return _question(plain, book) or plain
    for told in (_CHECK.match(clause), _WONDERING.match(clause)):
        if told is not None and (made := _stated(next(filter(None, told.groups())))) is not None:
            return made
    if (found := _DID_REMEMBER.match(clause)) is not None:
        return _did(found[1], found[2], found[3])
    if (found := _HAS_GOT.match(clause)) is not None:
        return f"is {found[2]} {state(found[3])}"
    return plain_form(clause) or _measured(clause, book) or _set_to(clause, book)


def _is_called(words: list[str], book: NameBook, *kinds: Kind) -> str:
    """The id of what is called exactly so; "" for none."""
    hits = [hit for hit in book.find(words, 0, kinds or Kind) if hit.end == len(words)]
    return hits[0].ids[0] if hits else ""


def _measured(clause: str, book: NameBook) -> str | None:
    """A question for what a sensor tells that is called after the thing: "Freezer Temperature"."""
    if (found := _CHARGES.match(clause)) is not None and _is_called([*found["of"].split(), "charger"], book):
        return f"is the {found['of']} charger on"
    if (found := _GOT_SO.match(clause)) is not None:
        return f"how {found['how']} is it in the {found['of']}"
    if (found := _IN_AREA.match(clause)) is not None and _is_called(found["of"].split(), book, Kind.AREA):
        return f"how {'humid' if found['how'] in _DAMP else 'warm'} is it in the {found['of']}"
    asked = (
        ("temperature", _WARMTH.match(clause)),
        ("battery", _JUICE.match(clause)),
        ("power", _DRAWS.match(clause)),
        ("", _READING.match(clause)),
    )
    for quantity, found in asked:
        if found is None:
            continue
        of = next(
            (one for one in (found.groupdict().get(key) for key in ("of", "a", "b", "c", "d", "e", "f")) if one),
            "",
        )
        of = re.sub(r"^(?:the|my|our) ", "", of)
        if not of or _is_called(of.split(), book, Kind.AREA):
            continue
        what = quantity or _SENSED.get(found["what"], "power" if found["what"] in _POWER else found["what"])
        names = (what,) if what != "reading" else ("temperature", "humidity", "power", "battery")
        for name in names:
            if _is_called([*of.split(), name], book, Kind.DEVICE):
                return f"what is the {of} {name}"
        if quantity == "battery":
            return f"what is the battery of the {of}"
    return None


def _set_to(clause: str, book: NameBook) -> str | None:
    """A question for the value of a thing, by what it is: a lamp is as bright as it is set, music as loud."""
    found = _SET.match(clause) or _HIGH.match(clause)
    name = next((one for one in found.groups() if one), "") if found is not None else ""
    if not name:
        return None
    words = re.sub(r"^(?:the|my|our) ", "", name).split()
    if _is_called(words, book, Kind.AREA):
        return None if " set " in clause else f"what is the temperature in {name}"
    if _is_called([*words, "battery"], book, Kind.DEVICE):
        return f"what is {name} battery"
    domain = book.domains.get(_is_called(words, book, Kind.DEVICE), "")
    domain = domain if domain in _ASKED_OF else next((one for one, form in _CLASS if form.search(name)), "")
    place = found.groupdict().get("place") if found is not None else ""
    return _ASKED_OF[domain].format(f"{name} {place}" if place else name) if domain else None
