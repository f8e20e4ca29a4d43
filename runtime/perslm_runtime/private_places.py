"""Addresses, where they stand in a text: a house in a street, as several countries write it, and postcodes.

Goes by the words for a street, the number beside them, and what says that an address follows. A street's name alone
is one only where somebody goes there. Places that are known by name are private_names.py's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from perslm_runtime import private_frames, private_streets, private_towns
from perslm_runtime.private_digits import runs
from perslm_runtime.private_numbers import Span

ADDRESS = "address"

_STREET = (
    r"street|str|st|road|rd|avenue|ave?|lane|ln|drive|dr|court|ct|square|sq|place|pl|plaza|boulevard|blvd|way|wy|"
    r"close|crescent|cres|terrace|ter|gardens?|gdns|grove|hills?|row|mews|parkway|pkwy|highway|hwy|alley|walk|"
    r"parade|esplanade|circle|cir|trail|trl|loop|pike|turnpike|ridge|park|green|mount|quay|wharf|vale|view|heights|bypass|causeway|"
    r"cent(?:er|re)s?|common|corners?|cove|creek|crossing|dale|divide|estates?|expressway|extensions?|falls?|ferry|"
    r"fields?|flats?|fords?|forest|forges?|forks?|freeway|gateway|glens?|harbou?rs?|haven|hollow|islands?|junctions?|"
    r"knolls?|lakes?|landing|lodge|manors?|meadows?|mills?|mission|motorway|mountains?|oval|overpass|passage|path|"
    r"pines?|plains?|points?|ports?|prairie|ramp|ranch|rapids?|river|route|shoals?|shores?|skyway|springs?|spurs?|"
    r"station|summit|track|underpass|valleys?|viaduct|villages?|ville|vista|wells?|rise|cliffs?|bridge|beach|bend"
)
# Words that make "5 minutes from the park" and "two lights in the drive" something else than an address.
_NO_NAME = (
    r"the|a|an|in|on|off|of|to|at|from|for|and|or|by|with|is|are|was|my|your|our|his|her|minutes?|seconds?|hours?|"
    r"days?|weeks?|months?|years?|degrees?|percent|lights?|lamps?|people|times?|more|miles?|kilometers?|metres?|"
    r"meters?|am|pm|o'clock|past|half|quarter|eggs?|cups?|this|that|then|when|kids|children|dogs?|cats?|next|last|"
    r"all|against|nil|points?|goals?|pages?|kilos?|grams?|litres?|players?|didn|did|doesn|isn|wasn|won|don|today|tonight|tomorrow|morning|afternoon|evening|night|sharp|please|now|thanks|instead|again|until|thirty|"
    r"forty|fifteen|per|\w+day|january|february|march|april|may|june|july|august|september|october|november|december"
)
_NAME = rf"(?!(?:{_NO_NAME})\b)[\w'’.-]+"
_UNIT = r"zero|oh|one|two|three|four|five|six|seven|eight|nine"
_TEEN = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TEN = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_NUMBER = (
    rf"(?:\d{{1,6}}(?:[-/]\d{{1,5}})?[a-z]?|(?:{_UNIT}|{_TEEN}|{_TEN}|hundred|thousand)"
    rf"(?:(?: and)? (?:{_UNIT}|{_TEEN}|{_TEN}|hundred|thousand))*(?: [a-d]\b)?)"
)
_PART = r"(?:apt|apartment|suite|ste|unit|flat|floor|studio|level|room|block)\b\.?"
_FLAT = rf"(?:{_PART} ?#?\d\w{{0,5}}[,/ ]*)"
_POSTCODE = (
    r"(?:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z][ -]?\d[A-Z]\d|\d{4} ?[A-Z]{2}|\d{4,5} (?!Kelvin|Watts?|Lumens?|Volts?|Hertz)[A-ZÀ-Þ][a-zà-ÿ]\w+"
    r"(?: [A-ZÀ-Þ][\w-]+)*|(?:[A-Z]{2,3},? )?(?:A[AEP] )?\d{5}(?:-\d{4})?|(?:NSW|VIC|QLD|ACT|TAS|SA|WA|NT),? \d{4})"
)
_FRONT = (
    r"rue|avenue|av\.?|boulevard|bd|place|chemin|impasse|quai|all[ée]e|cours|via|viale|piazza|corso|calle|plaza|paseo|"
    r"avenida|carrer|ronda|rua|praça"
)
_BACK = (
    r"boulevard|avenue|stra(?:ße|sse)|str\.|weg|gasse|platz|allee|ring|damm|ufer|straat|laan|baan|gracht|plein|kade|dreef|singel|steeg|"
    r"hof|pad|gatan|vägen|vej|gade|veien|katu"
)
_HOUSE_LAST = r" ?\d{1,4}(?:[/ -]?[a-zA-Z0-9]{1,3}\b)?"
_CAPITAL = r"[A-ZÀ-Þ][\w'’.-]*"
_FORMS = (
    rf"(?<![\w:.,])(?i:{_FLAT}*(?:number )?{_NUMBER},? (?:{_NAME} ){{1,4}}?(?:{_STREET})\b\.?(?: (?:{_STREET})\b)*)",
    rf"(?<![\w:.,])(?i:{_FLAT})*\d{{1,6}}(?:[-/]\d{{1,5}})?[a-z]?,? (?:(?!(?i:{_NO_NAME}|{_PART})\b){_CAPITAL} ){{1,3}}(?!(?i:{_PART})){_CAPITAL}",
    rf"(?<!\w)(?i:{_NUMBER}(?: ?(?:bis|ter))?,? (?:{_FRONT}) (?:(?:de|du|des|la|le|del|della|di) ){{0,2}})[\w'’.-]+(?: {_CAPITAL}){{0,3}}",
    rf"(?<!\w)(?i:{_FRONT}) (?:(?:de|du|des|la|le|del|della|di|l') ?)*(?:{_CAPITAL} ){{0,3}}{_CAPITAL},? \d{{1,4}}\b\w?",
    rf"(?<!\w)(?:{_CAPITAL}[ -]){{0,3}}(?i:[\w-]*(?:{_BACK}){_HOUSE_LAST})",
    rf"\b(?:USS|USNS|USCGC|USNV|HMS) {_CAPITAL}",
    r"\b(?i:p\.? ?o\.?|post(?:al)?|unit \d+|psc \d+,?) (?i:box) \w+",
    rf"(?<![\w-]){_POSTCODE}(?![\w-])",
)
_FIND = tuple(re.compile(form) for form in _FORMS)
_COUNTS = re.compile(
    rf"\d|\b(?:{_UNIT}|{_TEEN}|{_TEN}|hundred|thousand)\b|\bbox\b|\b(?:USS|USNS|USCGC|USNV|HMS)\b", re.IGNORECASE
)
# What may follow an address: a flat, a town, a state, a postcode.
_MORE = re.compile(
    rf",?\s*(?:(?i:{_PART} ?#?\d\w{{0,5}})|{_POSTCODE}(?![\w-])|(?:APO|FPO|DPO)\b|(?<=[,\s])[A-Z]{{2,3}}\b(?=,? ?[\dA-Z]))"
    rf"|,\s*(?!(?i:and|but|remember|please|thanks|then|so|i)\b){_CAPITAL}(?: {_CAPITAL}){{0,3}}"
)
_FOLLOWS = (_MORE, private_streets.MORE)
_FLAT_BEFORE = re.compile(rf"(?<!\w)(?i:{_FLAT}+|{_PART} ?)$")
# "iPhone 14 Pro Max": what is sold with a number and words behind it.
_EDITION = re.compile(
    r"\d+\w? (?:\w+ )*(?:Pro|Max|Plus|Ultra|Mini|Lite|Air|Edition|Premium|Deluxe|Extended|Remastered|Detect|Absolute|SE|XL|Fold|"
    r"Flip|Gen|Series|Home|Professional|Enterprise|Slim|Digital|Standard|Collection|Remake|Part|Episode|Season|Volume|Chapter)\b(?! (?:St|Rd|Road|Street|"
    r"Avenue|Ave|Lane|Drive|Close|Court)\b)"
)
_COUNTING = re.compile(rf"\b(?:from|between) {_NUMBER} (?:down |up )?(?:to|and) $", re.IGNORECASE)
_COUNTED = re.compile(
    r" ?(?:%|uhr|minut\w*|stunden?|sekunden?|grad|prozent|jahre?|tage?|euros?|heures?|pour cent|degr[ée]s?|jours?|horas?|por cento|"
    r"por ciento|grados?|días|ore|gradi|per cento|giorni|uur|graden|procent|dagen|godzin\w*|stopni\w*|dni|graus|dias)(?!\w)",
    re.IGNORECASE,
)
_CLAUSE = (
    r"(?=[.;!?](?:\s|$)|$|,? (?:and|but|so|because|remember|please|which|if|when|now|tomorrow|tonight|today|last|next|at)\b"
    r"| by (?:bus|car|bike|train|foot)\b)"
)
_TOLD = (
    # "I live at …", "my address is …": what follows says where, whatever it looks like.
    re.compile(
        rf"\b(?i:(?:live[sd]?|living|stay(?:s|ed|ing)?) at|address (?:is|was|:))\s+(?P<where>.*?\w){_CLAUSE}"
    ),
    # "drive to two ann brooks": a number and a name.
    re.compile(
        rf"\b(?i:to|at|near|where is)\s+(?P<where>(?i:{_FLAT}*{_NUMBER}(?: (?!\d|(?:{_UNIT}|{_TEEN}|{_TEN})\b){_NAME}){{2,4}}?)){_CLAUSE}"
    ),
    # "go to rue de Rennes"
    re.compile(
        rf"\b(?i:to|at|in|near|where is)\s+(?P<where>(?i:{_FRONT}) (?:(?:de|du|des|la|le|del|della|di) )*{_CAPITAL}(?: {_CAPITAL}){{0,3}})"
    ),
)
_SOMEBODYS = re.compile(
    r"(?:the |a |my |your |our |his |her |their )|[^\W\d]+'s\b|home\b|once\b|least\b|\d+(?::\d+)?(?: ?[ap]m)?$",
    re.IGNORECASE,
)


def spans(text: str) -> Iterator[Span]:
    """Every address, as far as it can be told, with the flat, town and postcode beside it."""
    for form in _FIND if _COUNTS.search(text) else ():
        for match in form.finditer(text):
            if not _is_no_address(text, *match.span()):
                yield _whole(text, *match.span())
    for form in (*private_streets.FORMS, *private_towns.FORMS):
        for match in form.finditer(text):
            yield _whole(text, *match.span())
    for form in private_towns.TOLD:
        for match in form.finditer(text):
            yield _whole(text, *match.span())
    for form in (*_TOLD, *private_streets.TOLD, private_towns.ADDRESS_IS):
        for match in form.finditer(text):
            where = match["where"]
            if not _SOMEBODYS.match(where) and "@" not in where and not _is_no_address(text, *match.span("where")):
                yield _whole(text, *match.span("where"))
    yield from _told_in_words(text)
    yield from _framed(text)


def _framed(text: str) -> Iterator[Span]:
    """What a sentence says to be where somebody lives, goes or has something brought."""
    for form in private_frames.FRAMES if _COUNTS.search(text) else ():
        for match in form.finditer(text):
            where = match["where"]
            if (
                private_frames.A_NAME.search(where)
                and not private_frames.NO_PLACE.match(where)
                and "@" not in where
            ):
                yield Span(*match.span("where"), ADDRESS)


def _told_in_words(text: str) -> Iterator[Span]:
    """Houses whose number is a word of another language, and English ones in a street with a plain name."""
    for run in runs(text):
        if _COUNTED.match(text, run.end) or run.counts:
            continue
        if (street := private_frames.STREET_BEFORE.search(text, 0, run.start)) is not None:
            yield _whole(text, street.start(), run.end)
        if (street := private_frames.STREET_AFTER.match(text, run.end)) is not None:
            yield _whole(text, run.start, street.end())
    for form in private_frames.PLAIN if _COUNTS.search(text) else ():
        for match in form.finditer(text):
            if not private_frames.NO_PLACE.match(match["where"]):
                yield Span(*match.span("where"), ADDRESS)


def _is_no_address(text: str, start: int, end: int) -> bool:
    """Whether it is the number of a product, or the end of what is counted: "Pixel 8 Pro Max", "from two to one"."""
    return _EDITION.match(text, start, end) is not None or _COUNTING.search(text, 0, start) is not None


def _whole(text: str, start: int, end: int) -> Span:
    while (
        reached := max((more.end() for form in _FOLLOWS if (more := form.match(text, end))), default=end)
    ) > end:
        end = reached
    end = _to_its_end(text, end)
    while text[end - 1] in ",. ":
        end -= 1
    if (before := _FLAT_BEFORE.search(text, max(0, start - 24), start)) is not None:
        start = before.start()
    if (before := private_towns.FLAT_BEFORE.search(text, max(0, start - 40), start)) is not None:
        start = before.start()
    if (before := private_streets.BEFORE.search(text, 0, start)) is not None:
        start = before.start()
    return Span(start, end, ADDRESS)


def _to_its_end(text: str, end: int) -> int:
    """Where an address is over that goes on with flat, town and postcode in an order of its own."""
    step = private_towns.WRITTEN if re.search("[A-ZÀ-Þ]", text[1:].replace("I", "")) else private_towns.SPOKEN
    for _ in range(private_towns.MOST_STEPS):
        over = text[end - 1] in ".!?" and not text.startswith(",", end)  # "esc. izda., 4º"
        if over or (more := step.match(text, end)) is None:
            break
        end = more.end()
    return end
