"""Codes that open something: digits beside the lock, the keypad or the card that they open, before it or behind it.

Goes by the thing and by what is done with the digits ("the alarm wants …", "… opens the shed"), in English and
seven other languages; a password is what follows its own word there. Written numbers and those in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from perslm_runtime.private_digits import Run, runs
from perslm_runtime.private_numbers import ONE_SAID, Span

_KIND = "secret"

_LOCKS = (
    r"key ?pads?|padlocks?|locks?|lock ?box|key ?box|key ?safe|safe|lockers?|gates?|doors?|garage|shed|lobby|building|alarm|"
    r"buzzer|intercom|entry ?phone|barrier|vault|strong ?box|till|briefcase|suitcase"
)
_CODES = (
    r"codes?|passcodes?|combinations?|combos?|pins?|puk|cvv2?|cvc2?|csc|(?:digits|numbers?) on the back|"
    r"(?:sim|phone|tablet|voicemail|screen|parental) (?:lock(?: pin| code)?|pin|code)"
)
# The same in German, French, Italian, Spanish, Dutch, Polish and Portuguese.
_CODES_ELSEWHERE = (
    r"\w*code|\w*kode|pin|geheimzahl|\w*kombination|digicode|codice|combinazione|clave|c[óo]digo|combinaci[óo]n|"
    r"\w*combinatie|kod|kodu|kombinacja|combinação|prüfnummer|cryptogramme|\w*schloss|tresor|\w*alarm\w*|serrure|"
    r"coffre|portail|cadenas|cassaforte|cancello|lucchetto|candado|portal|caja fuerte|slot|kluis|poort|zam(?:ek|ka)|"
    r"bram[ay]|sejfu?|cofre|portão|cadeado"
)
_SAYS = (
    r"is(?: now| still)?(?: set to)?|are|was|['’]s|says?|reads?|goes|wants?|takes?|needs?|uses|asks for|accepts|set to|"
    r"(?:open|unlock)(?:s|ed)?(?: up)? with|unlocks? (?:on|at)|=|:"
)
_SAYS_ELSEWHERE = (
    r"ist(?: jetzt)?|lautet|heißt|heisst|war|braucht|will|(?:öffnet|geht auf) mit|est(?: le)?|c'est(?: le)?|s'ouvre avec|es(?: el)?|"
    r"se abre con|è(?: il)?|e'|si apre con|to|otwiera się|zijn|é(?: o)?|abre com|=|:"
)
_TYPE = r"punch(?:es|ed)?(?: in)?|key in|keyed in|type in|typed in|tap in"
_TYPE_THERE = r"type|enter|press|dial|use|put in|input|tap|try"  # with the lock beside it alone
_BEFORE = re.compile(
    rf"(?:\b(?:{_LOCKS}(?: (?!(?:from|at|in|on|and|but|until|by)\b)[\w'’-]+){{0,4}}?|(?:{_CODES})(?:,? [\w'’-]+){{0,5}}?),? ?(?:\b(?:{_SAYS})|(?<=['’]s)|(?<=[=:]))"
    rf"|\b(?:{_CODES_ELSEWHERE})(?: [\w'’-]+){{0,5}}? ?(?:\b(?:{_SAYS_ELSEWHERE})|(?<=:))"
    rf"|\b(?:{_CODES}|{_CODES_ELSEWHERE}|key ?pad),?|\bcomb(?:inations?|os?) (?:for|of|to|on)(?: [\w'’-]+){{1,4}}"
    rf"|\b(?:{_TYPE})|\b(?:disarms?|unlocks?|opens?)(?: [\w'’-]+){{1,4}} (?:with|by)|\b(?:opens?|unlocks?|get in) with) $",
    re.IGNORECASE,
)
_TYPED = re.compile(rf"\b(?:{_TYPE_THERE}) $", re.IGNORECASE)
_THERE = re.compile(
    rf"[^.;!?]{{0,12}} (?:in|into|on|at|for|to open|to unlock)(?: [\w'’-]+){{0,3}}? (?:{_LOCKS})\b", re.IGNORECASE
)
_TO_OPEN = re.compile(rf"\bto (?:get into|get in|open|unlock|disarm|enter)\b.*|\b(?:{_LOCKS})\b.*", re.IGNORECASE)
_AFTER = re.compile(
    rf"[*#]? (?:(?:opens?|unlocks?|disarms?)\b|is (?:the|my|our|his|her|their)(?: [\w'’-]+){{0,3}}? (?:{_CODES}|passwords?)\b)",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r" ?(?:%|°|[ap]\.?m\b|o'?clock|uhr|minut\w*|hours?|seconds?|sekund\w*|degrees?|grad|percent|prozent|years?|euros?|dollars?|"
    r"pounds?|times|days?|weeks?|months?|people|met(?:er|re)s?|feet|foot|cm|mm|km|centimet\w+|inch\w*|kilo\w*|watts?|lumens?|kelvin|"
    r"złot\w+|procent|stopni|graus|grados|gradi|degrés|graden)(?!\w)",
    re.IGNORECASE,
)
_KEYS = r"(?:star|hash|pound|asterisk|square)"
_SAID = re.compile(
    rf"(?<![\w'])(?:{_KEYS} )?{ONE_SAID}(?:[ -]{ONE_SAID}){{2,}}(?: (?:then )?{_KEYS})?(?![\w'])", re.IGNORECASE
)
_WRITTEN = re.compile(
    r"(?<![\w.,:-])[*#]?(?:\d{1,3}(?:-\d{1,3}){2,}|\d{3,10}(?:[ -]\d{1,4}){0,4})[*#]?(?![\w:%]|[.,]\d)"
)
_FEWEST_SAID = 3
_SENTENCE_ENDS = re.compile(r"[.;!?]\s")
_FARTHEST = 80  # characters between a lock and its code

_PASSWORDS = (
    r"\w*passw[oö]rt|\w*kennwort|\w*losung|passphrase|mots? de passe|phrase secrète|contraseñas?|clave(?= (?:del?|para)? ?(?:la )?wi-?fi)|"
    r"password(?! is\b|:|=)|parola d'ordine|parola chiave|\w*wachtwoord|has[łl][oa]|senha|palavra-?(?: de )?passe"
)
_OF_IT = r"(?: (?:für|von|vom|zum|des|du|de|de la|pour|del|della|dell'|di|para|per|van|voor|do|da|na|dla)(?:(?! (?:ist|est|es|è|is|to|é) )[ '][\w'’-]+){1,3}?)?"
_PASSWORD = re.compile(
    rf"\b(?:{_PASSWORDS}){_OF_IT} ?(?:(?:jetzt|nun|maintenant|ahora|adesso|nu|teraz|agora) )?"
    rf"(?:\b(?:ist|lautet|heißt|heisst|war|est|c'est|es|è|e'|is|luidt|to|brzmi|é|era)\b(?: (?:jetzt|nun|maintenant|ahora|ora|nu|teraz|agora)\b)?:?|:|=)\s+"
    r"(?P<value>\S.*?)(?=[.!?]*$|[.;!?]\s|, |,? (?:aber|weil|denn|mais|pero|maar|ale|mas)\b)",
    re.IGNORECASE,
)
_PASSWORD_SET = re.compile(
    rf"\b(?:setz\w*|änder\w*|stell\w*|mach\w*|change\w*|mets|cambia\w*|pon|imposta\w*|wijzig|verander|zet|zmień|ustaw|muda|mude|altera)\b"
    rf"[^.;!?]*?\b(?:{_PASSWORDS})\b[^.;!?]*? (?:auf|à|en|pour|a|in|naar|op|na|para) (?P<value>[^\s.;!?](?:[^.;!?]|[.;!?](?=\S))*)",
    re.IGNORECASE,
)
_ORDINARY = re.compile(
    r"(?:nicht|falsch|weg|zu|sehr|neu|richtig|schwach|irgendwo|im|in|auf|unter|pas|faux|fausse|trop|sur|dans|incorrect\w*|mauvais|"
    r"no|muy|incorrect[ao]|demasiado|en|sul|sulla|nel|nella|non|sbagliat[ao]|troppo|niet|verkeerd|te|op|fout|nie|złe|na|w|"
    r"não|errada|muito|num|numa|not|wrong|broken|too|very|on|the|a|an|my|your|our|gone|lost|weak|safe)\b",
    re.IGNORECASE,
)


def spans(text: str) -> Iterator[Span]:
    """Every such code and password."""
    for start, end in _digits(text):
        if _opens(text, start, end):
            yield Span(start, end, _KIND)
    for form in (_PASSWORD, _PASSWORD_SET):
        for found in form.finditer(text):
            if not _ORDINARY.match(found["value"]):
                yield Span(*found.span("value"), _KIND)


def _digits(text: str) -> Iterator[tuple[int, int]]:
    for form in (_WRITTEN, _SAID):
        for found in form.finditer(text):
            yield found.span()
    yield from ((run.start, run.end) for run in runs(text) if _is_code(run))


def _is_code(run: Run) -> bool:
    return len(run.said) >= _FEWEST_SAID and not run.counts and not run.large


def _opens(text: str, start: int, end: int) -> bool:
    if _COUNTED.match(text, end):
        return False
    before = _SENTENCE_ENDS.split(text[max(0, start - _FARTHEST) : start])[-1]
    if _BEFORE.search(before) or _AFTER.match(text, end):
        return True
    return _TYPED.search(before) is not None and (
        _THERE.match(text, end) is not None or _TO_OPEN.search(before) is not None
    )
