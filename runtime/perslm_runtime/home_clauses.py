"""What stands around a command and says nothing of it: why it is wanted, whom it is said to, how it is said.

Gives the sentence again without such a clause or word, the least change first. Whoever asks has to find a whole
command in what is left; a condition, a time and words of somebody else are never left out. English, pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from perslm_runtime.home_names import Kind, NameBook
from perslm_runtime.home_requests import is_in_state

_LONGEST_REASON = 12
_MOST_CALLED = 3
_MINE = r"(?:the|my|our|his|her) \w+(?: \w+)?"
_BEGUN = (
    r"(?:because|cause|cos|coz|since|as|seeing (?:as|that)|so (?:that|i|we)|(?:it|that|this|he|she) is|"
    r"(?:i|we|they|you) (?:are|am|was|were)|there is|there are|it (?:has|gets?|feels|looks|was)|"
    r"(?:i|we|they) (?:can ?not|need|want|have|had|feel|would|think|do not|keep|just|still|hate|love)|"
    r"can ?not (?:see|sleep|hear|find|read|work|concentrate|feel)|"
    r"(?:everyone|everybody|someone|somebody|nobody|no one|dinner|bedtime) is)"
)
_TOLD = (
    rf"(?:(?:{_MINE}|\w+)'s (?:asleep|sleeping|here|home|coming|back|awake|up|tired|cold|hot|gone|out|not|too|so|"
    r"getting|going|trying|in|at)|"
    rf"{_MINE} (?:is|are|has|have|keeps?|looks?|feels?|cannot|hurts?|wants?|needs?))"
)
_STATED = "|".join(f"(?<={word})" for word in (" on", " off", " up", " down", "please"))
_BEHIND = re.compile(
    rf"(?:[,;.!:]*\s+(?:so )?(?={_BEGUN}\b)|[,;.!:]+\s+(?={_TOLD}\b)|(?:{_STATED})\s+(?={_TOLD}\b))"
)
_AHEAD = re.compile(
    r"(?:\s*[,;.!?:]+\s+|\s+-+\s+|\s+(?:so|then|and so)\s+|"
    r"\s+(?=(?:can|could|would|will) you\b|please\b|let us\b))"
)
_IS_REASON = re.compile(rf"^(?:oh |well |so |ugh |hmm |man |god |gosh |wow |right |okay )*(?:{_BEGUN}|{_TOLD})\b")
_CONDITION = re.compile(
    r"\b(if|unless|when|whenever|until|till|while|before|after|once|soon|later|tomorrow|tonight at|otherwise|"
    r"whether|never|said|says|say|told|asked|asks|tell|heard|read|wrote|wish|wished|thought)\b"
)
_ADVERBS = frozenset(
    word
    for line in (
        "really super very just please pls now actually basically literally kinda simply quickly maybe",
        "perhaps like darn bloody damn blasted stupid silly lovely nice precious good old dear gently slowly",
        "bedside hanging overhead standing pretty absolutely terribly definitely honestly",
        "carefully right straight fully mate love buddy pal dude man guys folks honey darling sweetheart ok",
        "okay hey yo yeah um uh er erm so well then also too again immediately promptly kindly real quick way",
        "totally completely entirely all there whole entire",
    )
    for word in line.split()
)
_PHRASES = re.compile(
    r"\b(?:kind of|sort of|or so|or something|or whatever|you know|i mean|i think|i guess|i suppose|for me|for us|"
    r"behind (?:me|us|you)|for (?:him|her|them|everyone|everybody)(?=$|[,.!])|(?:a|one) (?:minute|moment|"
    r"second|sec)(?=$|[,.!])|would you ever|for (?:the )?night$|"
    r"on (?:your|my|our) way out|real quick|for a (?:bit|while|moment|minute|second|sec)|"
    r"if you (?:can|could|would|like|want|please|do not mind)|"
    r"while (?:you are|we are) (?:at it|there|on it|about it)|in case .*$|if possible|if that is (?:ok|"
    r"okay|alright|all right|possible)|(?:would|will|could|can) you(?: please)?|"
    r"thank you(?: very much| so much)?|thanks(?: a lot)?|as soon as possible|asap|right away|straight away|"
    r"right now|at once|this instant|when you (?:can|get a \w+|have a \w+)|"
    r"if it is not too much (?:trouble|bother|hassle)|go ahead and|do me a favou?r and|be (?:a|an) \w+ and)\b"
)
_SPARED = re.compile(
    r"[, ]+(?:oh |but|and|just|only|though|please| )*(?:leave|keep|spare|skip|do not touch|not touch) "
    r"(?=(?:the|my|our|\w+'s)\b)"
    r"([^,;.]+?)(?: on| off| alone| as it is| as they are| be| open| closed| running| out of it)?(?: for (?:the |"
    r"my |our )?\w+)?[?.!]*$"
)
_OFF = re.compile(r"\b(?:off|close|shut|lower|down)\b")
_PURPOSE = re.compile(r",? (?:for|like) (?:(?:a|an|the|my|our|some|good|big) )*([\w']+(?: [\w']+){0,2})[.!?]*$")
_APART = re.compile(r"[,;.!?]+ ")
_FEELS = re.compile(r"\b(?:too|so) (?:cold|warm|hot|cool|bright|dark|dim|loud|quiet)\b")
""" "Too cold" without its "too" is a white."""
_TIMES = frozenset(
    (
        *("second", "seconds", "minute", "minutes", "hour", "hours", "day", "days", "week", "now", "today"),
        *("tonight", "tomorrow", "morning", "evening", "night"),
    )
)


def shortened(
    spoken: str, is_known: Callable[[str], bool], is_name: Callable[[str], bool] | None = None
) -> Iterator[str]:
    """The sentence (in lower case, written out) without a clause around it.

    `is_known` tells words of the home, `is_name` whole names and classes of things.
    """
    seen = {spoken}
    for text in _shorter(spoken, is_known, is_name or is_known):
        left = re.sub(r"\s+", " ", text).strip(" ,;.!?:-")
        if left and left not in seen:
            seen.add(left)
            yield left


def spared(spoken: str) -> str:
    """With "just leave Claire's lamp" as what it is: an exception."""
    return _SPARED.sub(r" except \1", spoken) if _OFF.search(spoken) else spoken


def _without_purpose(text: str, is_name: Callable[[str], bool]) -> str:
    """Without what it is for: "red for Halloween", where nothing at home and no time is called so."""
    found = _PURPOSE.search(text)
    if found is None or is_name(found[1]):
        return text
    words = found[1].split()
    timed = "for" in found[0] and _TIMES & {*words} and not words[0].endswith("'s")
    if timed or any(is_name(word) or word.isdigit() for word in words):
        return text
    return text[: found.start()]


def _shorter(spoken: str, is_known: Callable[[str], bool], is_name: Callable[[str], bool]) -> Iterator[str]:
    yield _SPARED.sub(r" except \1", spoken)
    plain = _PHRASES.sub(" ", spoken)
    yield _without_purpose(spoken, is_name)
    yield _without_purpose(plain, is_name)
    for text in dict.fromkeys((spoken, plain)):
        yield text
        yield _without_names(text, is_known)
        for left in without_reason(text):
            yield left
            yield from without_reason(left)
            yield _without_names(left, is_known)
    kept = [] if _FEELS.search(plain) else [word for word in plain.split() if word.strip(",.!?") not in _ADVERBS]
    if len(kept) > 1:
        text = " ".join(kept)
        yield text
        yield from without_reason(text)


def without_reason(text: str) -> Iterator[str]:
    """Without a clause behind or before that says why, the shortest change first."""
    for found in _BEHIND.finditer(text):
        left, why = text[: found.start()], text[found.end() :]
        if left and not _wants_more(why) and not _CONDITION.search(why) and len(why.split()) <= _LONGEST_REASON:
            yield left
    for found in _AHEAD.finditer(text):
        why, left = text[: found.start()], text[found.end() :]
        if (
            left
            and not _wants_more(why)
            and _IS_REASON.search(why)
            and not _CONDITION.search(why)
            and len(why.split()) <= _LONGEST_REASON
        ):
            yield left


def _wants_more(why: str) -> bool:
    """Whether a reason goes on with a command: "that's me done, printer off"."""
    return any(is_in_state(clause) for clause in _APART.split(why)[1:])


def _without_names(text: str, is_known: Callable[[str], bool]) -> str:
    """Without a few words apart at an end that are nothing of this home: "switch it off, Jack"."""
    parts = re.split(r"\s*[,;.!?]+\s+", text.rstrip(".!? "))
    for at in (-1, 0):
        words = parts[at].split()
        called = len(words) <= _MOST_CALLED and not any(map(is_known, words))
        if len(parts) > 1 and called and not _CONDITION.search(parts[at]):
            parts.pop(at)
    return ", ".join(parts)


def spelled_out(words: Sequence[str], book: NameBook) -> list[str]:
    """ "The front and back doors" as "the front door and back door", where those are names."""
    said = list(words)
    for at in range(3, len(said)):
        if not said[at].endswith("s") or said[at - 2] not in ("and", "&"):
            continue
        head = said[at].removesuffix("s")
        firsts = (said[at - 3 : at - 2], said[at - 4 : at - 2] if at > 3 else [])
        for first in firsts:
            if first and _is_name([*first, head], book) and _is_name([said[at - 1], head], book):
                begun = at - 2 - len(first)
                before = said[:begun]
                if before[-1:] == ["both"]:
                    before.pop()
                return [*before, *first, head, "and", said[at - 1], head, *said[at + 1 :]]
    return said


def _is_name(words: Sequence[str], book: NameBook) -> bool:
    return any(hit.end == len(words) for hit in book.find(words, 0, (Kind.DEVICE,)))
