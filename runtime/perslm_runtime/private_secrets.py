"""What opens something, and what leads somewhere: passwords, codes and keys, e-mail addresses, links, machines.

Written, and as a recognizer writes what was said ("ana dot weber at example dot com"). A secret is known by the
word before it, or by looking like nothing that anybody says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from perslm_runtime.private_numbers import Span

EMAIL, LINK, SECRET = "email", "link", "secret"

_ENDINGS = "com|org|net|edu|gov|info|biz|io|co|me|app|dev|de|at|ch|fr|nl|es|it|uk|ie|us|ca|au|nz|se|no|dk|fi|pl|be|eu|example"
_EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_PART = r"[a-z0-9]+"
_JOIN = r" (?:dot|point|period|underscore|dash|hyphen|minus|plus) "
_EMAIL_SAID = re.compile(
    rf"(?<![\w'])(?:[a-z0-9] )*{_PART}(?:{_JOIN}{_PART})*(?: at | \[at\] | \(at\) ){_PART}(?:(?:{_JOIN}| ){_PART}){{0,3}}?"
    rf"(?: dot | point | \[dot\] | \(dot\) )(?:{_ENDINGS})(?: dot (?:{_ENDINGS}))?(?!\w)",
    re.IGNORECASE,
)
# "cooking with lou at example dot org": a name of several words goes back to the small word before it.
_EMAIL_WORDS = re.compile(
    rf"(?<![\w'])(?:(?!(?:to|is|as|me|it's|its|email|e-mail|mail|address|my|your|our|his|her|their|the|from|save|send|write|use|and|was|becomes)\b)"
    rf"[\w-]+ ){{1,6}}?(?:at|\[at\]|\(at\)) {_PART}(?:(?:{_JOIN}| ){_PART}){{0,3}}?(?: dot | point )(?:{_ENDINGS})(?: dot (?:{_ENDINGS}))?(?!\w)",
    re.IGNORECASE,
)
_LINK = re.compile(
    rf"\b(?:https?|ftp|ssh|smb|rtsp)://\S*[\w/]|\bwww\.\S*[\w/]|(?<![\w@.])(?:[a-z0-9-]+\.)+(?:{_ENDINGS})\b(?:/\S*\w)?",
    re.IGNORECASE,
)
_MACHINE = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?:/\d+)?(?![\w.]\w)|(?<!\w)(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?!\w)|"
    r"(?<![\w:])(?:[0-9a-f]{1,4}:){3,7}:?[0-9a-f]{0,4}(?!\w)",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"(?<!\w)(?:sk-|ghp_|gho_|xox[a-z]-|AKIA|eyJ)[\w.-]{8,}|(?<![\w/])(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+/=-]{16,}(?!\w)"
)
# National Insurance, and numbers of passports, licences and the like by their name.
_NATIONAL = re.compile(r"(?<!\w)[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)")
_DOCUMENT = re.compile(
    r"\b(?:passport|driv(?:ing|er'?s) licen[cs]e|licen[cs]e|national insurance|social security|insurance|tax|id|identity card|"
    r"visa|permit|membership|policy|health card|medicare|nhs|reference|serial)(?: (?:number|no\.?|id))?(?: is| ist|:|,)? "
    r"(?P<value>(?=[\w-]*\d)[A-Z\d][\w-]{5,})",
    re.IGNORECASE,
)
_OPENS = (
    r"(?:pass ?words?|pass ?codes?|pass ?phrases?|pin(?: (?:code|number))?|pins|access codes?|door codes?|gate codes?|"
    r"(?:alarm|lock|safe|entry|security|wifi|wi-fi|wlan) (?:codes?|keys?)|codes?|combinations?|secrets?|tokens?|"
    r"api[ -]keys?|licen[cs]e keys?|keys?|logins?|user ?names?|account numbers?|iban|social security number)"
)
_TOLD = re.compile(
    rf"\b{_OPENS}(?: (?:for|of|to|on|at|from) (?:(?!is\b|are\b|was\b)[\w'’-]+ ?){{1,5}}?)?\s*"
    rf"(?:(?: now| still| always)? ?(?:is|are|was|['’]s(?! (?:pass|pin|code|user|key))|equals|=|:|reads|to) *(?:now |still |called )?| )"
    rf"(?P<value>\S.*?)(?=[.!?]*$|[.;!?]\s|, |,? (?:and|but|so|because|remember|please)\b)",
    re.IGNORECASE,
)
_SET = re.compile(
    r"\b(?:set|change|make|update|reset)\b[^.]*?\bpass ?(?:word|phrase|code) to (?P<value>\S.*?)(?=[.!?]*$|[.;!?]\s|, )",
    re.IGNORECASE,
)
# After a password any word is the secret; after "code", "key" and the like only what no ordinary sentence says there.
_ANY_WORD = re.compile(r"pass ?(?:word|code|phrase)|iban|social security|user ?name", re.IGNORECASE)
_SAID_DIGITS = re.compile(
    r"(?:(?:star|hash|pound|asterisk|double|triple) )?(?:(?:double |triple |star |hash )?(?:zero|oh|one|two|three|four|five|six|seven|eight|nine|ten|twenty|\d+)\b[ -]?){2,}",
    re.IGNORECASE,
)
_ORDINARY = re.compile(
    r"(?:not|wrong|right|broken|too|very|on|in|the|a|an|my|your|our|missing|gone|lost|changed|needed|here|there|what|"
    r"it|that|this|still|to|under|with|for|somewhere|written|known|old|new|long|short|weak|safe|secret)\b",
    re.IGNORECASE,
)


def spans(text: str) -> Iterator[Span]:
    """Every secret, e-mail address and link."""
    for kind, form in (
        (EMAIL, _EMAIL),
        (EMAIL, _EMAIL_SAID),
        (EMAIL, _EMAIL_WORDS),
        (LINK, _LINK),
        (LINK, _MACHINE),
        (SECRET, _KEY),
        (SECRET, _NATIONAL),
    ):
        for found in form.finditer(text):
            yield Span(*found.span(), kind)
    for form in (_DOCUMENT, _SET):
        for found in form.finditer(text):
            yield Span(*found.span("value"), SECRET)
    for found in _TOLD.finditer(text):
        value = found["value"]
        if _is_secret(found[0][: found.start("value") - found.start()], value):
            yield Span(*found.span("value"), SECRET)


def _is_secret(before: str, value: str) -> bool:
    says = re.search(r"(?:\b(?:is|are|was|equals|reads|called|now|still|to)|['’]s|[=:])\s*$", before) is not None
    if _ORDINARY.match(value):
        return False
    if _ANY_WORD.search(before):
        return says or re.search(r"\d", value) is not None
    return re.search(r"\d{2,}", value) is not None or _SAID_DIGITS.match(value) is not None
