"""English as it is written, made plain: contractions written out, and courtesies left out by their form. Pure.

home_en.toml lists short courtesies; these have a word or a clause of their own in the middle.
"""

from __future__ import annotations

import re

from perslm_runtime.home_requests import VERBS

_CONTRACTIONS = (
    (
        re.compile(
            r"\b(what|where|how|which|who|that|there|it|here|when|let|everything|anything|nothing|everybody|"
            r"everyone|somebody|someone|nobody|he|she)'s\b"
        ),
        r"\1 is",
    ),
    (re.compile(r"\b(i)'m\b"), r"\1 am"),
    (re.compile(r"\b(we|you|they|what|lights|windows|doors)'re\b"), r"\1 are"),
    (re.compile(r"\b(i|we|you|they)'ve\b"), r"\1 have"),
    (re.compile(r"\b(i|we|you|they|it)'d (?:quite |really |rather |much )?(like|love)\b"), r"\1 would \2"),
    (re.compile(r"\b(i|we|you)'d (rather|prefer|be|love|appreciate)\b"), r"\1 would \2"),
    (re.compile(r"\b(i|we|you|they)'d\b"), r"\1 had"),
    (re.compile(r"\b(\w+)'ll\b"), r"\1 will"),
    (re.compile(r"\b(?!let)(\w+)'s not\b"), r"\1 is not"),
    (re.compile(r"\b(he|she|who|somebody|someone|that|this|it)'d\b"), r"\1 would"),
    (re.compile(r"\b(can)'t\b"), r"cannot"),
    (
        re.compile(r"\b(is|are|do|does|did|was|were|has|have|should|would|could|need|must|might|dare)n't\b"),
        r"\1 not",
    ),
    (re.compile(r"\bwanna\b"), "want to"),
    (re.compile(r"(?<!\w)'em\b"), "them"),
    (re.compile(r"\b(would|could|will|can|do) (?:ya|u)\b"), r"\1 you"),
    (re.compile(r"\b(what color|what colour|what temperature|what volume|what level|how \w+)'s\b"), r"\1 is"),
    (re.compile(r"(?<=[a-z])'s (?=(?:left|forgotten|taken|made|had|put|turned|switched)\b)"), " has "),
    (re.compile(r"(?<=[a-z])'s (?=(?:been|gone|done|got|set)\b)"), " is "),
    (
        re.compile(
            r"(?<=[a-z])'s (?=(?!(?:living|dining|sitting|washing|drawing|reading|ceiling|lighting|heating|"
            r"morning|evening|wedding|ring|king|sewing|painting|string|spring|thing|training|changing|"
            r"dressing)\b)\w+ing\b)"
        ),
        " is ",
    ),
    (
        re.compile(
            r"(?<=[a-z])'s (?=(?:in|out|asleep|awake|here|there|away|gone|not|all|freezing|empty|full|dead|too|so|"
            r"scared|"
            r"loose|tired|sick|upset|hungry|crying|late|busy|stuck|bored|ill|poorly|bust|broken|worried|blinding|"
            r"at the|on (?:his|her|my|the|its)|up and)\b)"
        ),
        " is ",
    ),
    (
        re.compile(r"(?<=[a-z])'s (?=(?:home|back)(?:$|[,.!?]| (?:now|soon|and|so|from|late|early|again)\b))"),
        " is ",
    ),
    (re.compile(r"\bgonna\b"), "going to"),
    (re.compile(r"\bmister\b"), "mr"),
    (re.compile(r"\bmissus\b"), "mrs"),
    (re.compile(r"\b(where|what|who|how) (?:on earth|the (?:hell|heck|devil)|in the world)\b"), r"\1"),
    (re.compile(r"\bgimme\b"), "give me"),
    (re.compile(r"\blet is\b"), "let us"),
    (
        re.compile(
            r"'s (?=(brightness|colou?r|temperature|volume|speed|position|state|status|battery|humidity)\b)"
        ),
        " ",
    ),
    (
        re.compile(
            r"(?<=[a-z])'s (?=(?:(?:far|way|much|still|really|so) )?"
            r"(too|on|off|open|closed|shut|locked|unlocked|still (?:up|down))\b)"
        ),
        " is ",
    ),
    (re.compile(r"\bdegs?\b|°"), " degrees"),
    (
        re.compile(
            r",? (?:all|every one|each) of (?:them|those)(?=,? (?:except|but|apart|bar|other|save|excluding))"
        ),
        "",
    ),
    (re.compile(r"\bdouble[- ]check\b"), "check"),
    (re.compile(r"\bgo back (?:a|one|to the (?:previous|last)) (song|track|title|station)\b"), r"previous \1"),
    (re.compile(r"\bcolours?\b"), "color"),
)
_REASONS = (
    r"(i am|we are|it is|i have|we have|i cannot|we cannot|i want to|we want to|i need to|there is|because|since|"
    r"so that)"
)
WHY = (re.compile(rf"^{_REASONS} [^,;.!?]*[,;.!](?= )"), re.compile(rf"[,;.!] (so )?{_REASONS} [^,;.!?]*[.!]?$"))
"""A clause apart that says why something is wanted, before and behind it."""

_YOU = r"(?:you|one of you|someone|somebody|we)"
_COULD = r"(?:could|would|can|will|might|may)"
_WISHED = (
    # "Could I have some light in here"
    (re.compile(r"^(?:can|could|may|might) (?:i|we) (?:please )?(?:have|get) (?!you\b)"), "i want "),
    # "Someone turn off the fan"
    (re.compile(rf"^(?:someone|somebody|can someone) (?=(?:please )?(?:{VERBS})\b)"), ""),
    # "What I want is for the lamp to be blue"
    (
        re.compile(r"^(?:i think )?(?:what|all) (?:i|we) (?:want|need|would like) (?:now )?is for (.+?) to be "),
        r"make \1 ",
    ),
    # "Can you tell me what the temperature is in the hall": what it is
    (
        re.compile(
            r"^(?:(?:can|could|would|will|do) you (?:please |just |happen to |quickly )*|i (?:want|need|"
            r"would like) to )?"
            r"(?:tell me|let me know|know|find out|remind me) (what) (the \w+(?: \w+)?) (is|are)\b"
        ),
        r"\1 \3 \2",
    ),
    # "Do you happen to know if the lamp is still on"
    (
        re.compile(
            r"^(?:(?:can|could|would|will|do) you (?:please |just |happen to |quickly )*)?"
            r"(?:have a (?:quick )?look (?:and see |to see )?|tell me|check|see|let me know|know|find out|"
            r"make out)"
            r"(?: for me)? (?:if|whether) (.+?) (is|are)\b(?: still\b)?"
        ),
        r"\2 \1",
    ),
    # "It would be lovely if the lamp were on": that it shall be
    (
        re.compile(
            r"^(?:it (?:would|will) be \w+|i would (?:like|love|prefer) it) if (?!you\b|we\b|i\b)"
            r"(.+?) (?:were|was|is|are)\b"
        ),
        r"make sure \1 is",
    ),
    (
        re.compile(
            r"^(?:it is )?(?:about |high )?time (?:for )?(.+?) (?=to go (?:on|off|up|down|out)\b)",
        ),
        r"\1 ",
    ),
)
_FORMS = (
    r"i (?:would|will|should) be (?:\w+ ){0,2}(?:grateful|glad|happy|thankful|pleased|obliged) if {you} {could}",
    r"{could} {you} (?:\w+ )?be (?:so|too) \w+ (?:as to|and)",
    r"{could} {you} (?:\w+ )?be (?:good|kind|nice) enough to",
    r"be (?:a|an|my) \w+ and",
    r"it would be (?:\w+ )?\w+ (?:of you )?if {you} {could}(?: please)?",
    r"if (?:it is|that is) not (?:too )?much [^,]*(?=,)",
    r"(?:when|whenever|once|if) you (?:have|get|find|are|can|could|would|like|want|feel) [^,]*(?=,)",
    r"if (?:it is|that is) (?:no|not) [^,]*(?=,)",
    r"what (?:i|we) (?:want|need|would like) (?:now )?is(?: for)?",
    r"all (?:i|we) (?:want|need) is(?: for)?",
    r"(?:i|we) (?:was|were|am|are) (?:wondering|hoping|thinking) (?:if|whether|that)? ?{you} {could}",
    r"(?:{could} {you} )?be able to",
    r"(?:i (?:think|guess|reckon|suppose) )?(?:it is|it might be|it must be) (?:about |high )?time (?:to|you|we)",
    r"{could} {you} ever",
    r"(?:i )?(?:reckon|bet|hope) {you} {could}",
    r"any chance (?:that )?{you} {could}",
    r"(?:any )?chance {you} {could}",
    r"(?:let me think|let us see|let me see|you know what|i (?:will )?tell you what|just wondering|"
    r"honestly|anyway|right then)",
    r"(?:i )?(?:was )?(?:just )?(?:thinking|wondering),",
    r"{could} {you}",
    r"(?:oops|whoops|no wait|wait|ugh|argh|right|ah)",
    r"(?:i|we) (?:think|guess|suppose|believe|reckon) (?:that )?(?:we|you|i) (?:can|could|should|may|might)",
    r"would it (?:trouble|bother|inconvenience) you (?:too much )?(?:to|if)",
    r"(?:may|might|could|can) i (?:ask|request|trouble|get|have) {you} to",
    r"would it be (?:okay|ok|alright|all right|possible) (?:for you )?to",
    r"(?:hey|hi(?! fi\b)|hello|okay|ok|alright|right|so|well|oh|listen)",
)
_BEFORE = tuple(
    re.compile(f"^(?:{form.replace('{you}', _YOU).replace('{could}', _COULD)})[ ,]+") for form in _FORMS
)


def written_out(text: str) -> str:
    """A sentence in lower case with its contractions written out."""
    said = text.lower().replace("’", "'")
    for pattern, instead in _CONTRACTIONS:
        said = pattern.sub(instead, said)
    return said


def without_courtesy(said: str) -> str:
    """The sentence, in lower case, without the courtesies it begins with."""
    while True:
        left = said
        for form in _BEFORE:
            left = form.sub("", left, count=1)
        for form, instead in _WISHED:
            left = form.sub(instead, left, count=1)
        if left == said or not left.strip():
            return said
        said = left


def without_politeness(
    words: list[str], before: tuple[tuple[str, ...], ...], after: tuple[tuple[str, ...], ...]
) -> list[str]:
    """The words without the phrases of `before` and `after` at their ends; something is always left."""
    low = [word.lower() for word in words]
    start, end = 0, len(low)
    while (phrase := _starts(low[start:end], before)) and start + phrase < end:
        start += phrase
    while (phrase := _starts(low[start:end][::-1], after, backwards=True)) and end - phrase > start:
        end -= phrase
    return words[start:end]


def _starts(words: list[str], phrases: tuple[tuple[str, ...], ...], *, backwards: bool = False) -> int:
    """How many words the longest phrase has that the words begin with; 0 for none."""
    for phrase in phrases:
        wanted = phrase[::-1] if backwards else phrase
        if tuple(words[: len(phrase)]) == wanted:
            return len(phrase)
    return 0
