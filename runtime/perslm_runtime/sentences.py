"""Turns a model's token stream into pieces that are spoken one after the other. Pure: it knows no voice, no model.

A piece is a sentence, a line of a list, a table or a heading, a whole fenced code block, or a clause of a sentence
that is too long to wait for. Nothing is changed: the pieces joined are the text, and they are the same for any
chunking, because every decision waits until no further character could alter it. That wait is bounded (the widest
look ahead is 192 characters), as is the look back, so the work per character does not grow with the text.

White space leads the next piece: "Hello! World" gives "Hello!" and " World", so that a sentence is complete with
the first character after it. A doubt is settled against a cut: a missed one costs a moment of silence, a wrong one
is heard. `spoken.speakable` makes of each piece what is said aloud.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from perslm_runtime import abbreviations

FIRST_MAX_CHARS = 40
"""Past this the first piece ends at the next comma or the like: that is about 3 s of speech to win."""
MAX_CHARS = 180
"""Past this every piece ends at the next clause; past twice this at the next space."""

_WIDE_STOPS = "。．｡！？।॥።។៕။"  # scripts that put no space after a sentence, or may not
_STOPS = ".!?…‥؟۔։\u037e‼⁇⁈⁉" + _WIDE_STOPS
_WIDE_CLAUSES = "、，；：،؛—"
_ALL_CLAUSES = _WIDE_CLAUSES + ",;:–-"
_CLOSERS = "\"'”’»›)]}）］｝」』】〉》〗*_~`"
_NEWLINES = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_OPENERS = "([{\"'“”„‘’«»*_/—–-¿¡"

_LOOKBACK = 32
_RUN = 64  # longest run of stops, quotes, marks and emoji after a sentence that is still read as one
_SPAN = 192  # longest inline code, with its backticks

_MARKS = _STOPS + _NEWLINES + "`~"
_MARK = re.compile(f"[{re.escape(_MARKS)}]")
_MARK_OR_CLAUSE = re.compile(f"[{re.escape(_MARKS + _ALL_CLAUSES)}]")
_MARK_OR_GAP = re.compile(f"[{re.escape(_MARKS + _ALL_CLAUSES)}]|[^\\S\u00a0\u202f\u2007]")
_BLANK = re.compile(r"\s*")
_BREAK_CHARS = 32
_BREAK = re.compile(r"\s{1,32}")
_LINE_BREAKS = re.compile(f"\r\n|[{re.escape(_NEWLINES)}]")
_LIST_MARKER = re.compile(r"(?:\A|[\n\r])[\s>*_#-]*\d{1,3}\Z")
_BEFORE_ORDINAL = re.compile(rf"(?:\b(?:{'|'.join(abbreviations.BEFORE_ORDINAL)})|\b\d{{1,2}}\.)\s\d+\Z")
_LINE_START = re.compile(r"(?:\A|[\n\r])[ \t>]*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?\Z")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]\Z")
_AFTER = re.compile(r"\s{1,16}[^\w\s]{0,8}((?:\w|['’](?=\w)){0,24})(.?)", re.DOTALL)
_AFTER_CHARS = 16 + 8 + 24 + 1
_TICKS_CHARS = 16
_TICKS = re.compile(r"`{1,16}|~{1,16}")
_FENCE_INFO = re.compile(r"[^`\n]{0,80}")
_FENCE_LAST = re.compile(r"[ \t>]*(`{3,}|~{3,})\s*\Z")
_CODE_SPAN = re.compile(r"(`{1,16})(?!`)[^\n]{1,160}?(?<!`)\1(?!`)")
_WORD_CHARS = 12
_WORD = re.compile(r"\w{0,12}")
_THOUSANDS = re.compile(r"\d\s\d{3}(?!\d)")
_FENCE_LINE = 80  # longest line that can close a code block


class _Verdict(NamedTuple):
    """Reading goes on at `at`; with `cut`, a piece ends right before it."""

    at: int
    cut: bool


# A rule looks at the mark at text[i], with `before` the up to _LOOKBACK characters of the piece that precede it,
# and answers None where a further character could still change the answer (never when `final`).
_Rule = Callable[[str, int, str, bool], _Verdict | None]


class SentenceSplitter:
    """Cuts the text of one reply while it streams in. `feed` and `flush` never raise and lose no character.

    The first piece may end at a clause past `first_max_chars`, so that speech starts early; later ones past
    `max_chars`.
    """

    def __init__(self, first_max_chars: int = FIRST_MAX_CHARS, max_chars: int = MAX_CHARS) -> None:
        self._first_max_chars = min(first_max_chars, max_chars)
        self._max_chars = max_chars
        self._reset()

    def feed(self, text: str) -> list[str]:
        """Take the next part of the stream, cut anywhere; return the pieces it completed."""
        self._text += text
        pieces = self._pieces(final=False)
        self._let_go()
        return pieces

    def flush(self) -> list[str]:
        """End the stream: return what is left, and be ready for another reply."""
        pieces = self._pieces(final=True)
        if rest := "".join(self._held) + self._text[self._start :]:
            pieces.append(rest)
        self._reset()
        return pieces

    def _reset(self) -> None:
        self._text = ""  # what is not read yet, and the last _LOOKBACK characters or more of what is
        self._clause_chars = self._first_max_chars
        self._start_piece(0)

    def _start_piece(self, at: int) -> None:
        self._start = at  # where the piece starts in _text, unless the start is held
        self._at = at  # everything before this is read
        self._held: list[str] = []  # the start of a long piece: never looked at again
        self._held_chars = 0
        self._begun = False  # the piece has more than white space
        self._fence = ""  # the marks that opened the code block we are in

    def _pieces(self, *, final: bool) -> list[str]:
        pieces: list[str] = []
        while self._at < len(self._text):
            verdict = self._next_verdict(final)
            if verdict is None:
                break
            self._at = verdict.at
            if verdict.cut:
                pieces.append("".join(self._held) + self._text[self._start : verdict.at])
                self._clause_chars = self._max_chars
                self._start_piece(verdict.at)
        return pieces

    def _let_go(self) -> None:
        """Keep `_text` short, so that `feed` costs the same in the middle of an endless piece."""
        done = max(self._start, self._at - _LOOKBACK)
        if done > _LOOKBACK:
            if done > self._start:
                self._held.append(self._text[self._start : done])
                self._held_chars += done - self._start
            self._text = self._text[done:]
            self._start, self._at = 0, self._at - done

    def _next_verdict(self, final: bool) -> _Verdict | None:
        text = self._text
        if not self._begun:
            blank = _BLANK.match(text, self._at)
            start = blank.end() if blank else self._at
            self._begun = start < len(text)
            return _Verdict(start, cut=False)
        if self._fence:
            return _fence_line(text, self._at, self._fence, final)
        return self._judge_next_mark(final)

    def _judge_next_mark(self, final: bool) -> _Verdict | None:
        text, i = self._text, self._find_mark()
        if i is None:
            return _Verdict(len(text), cut=False)
        before = text[max(self._start, i - _LOOKBACK) : i]
        if text[i] in "`~":
            fence = _opening_fence(text, i, before, final)
            if fence is None:
                return None
            if fence:
                self._fence = fence
                return _Verdict(i + len(fence), cut=False)
        if rule := _RULES.get(text[i]):
            return rule(text, i, before, final)
        return _gap(text, i, final, hard=self._held_chars + i - self._start >= 2 * self._max_chars)

    def _find_mark(self) -> int | None:
        """Where the next character is that may end the piece; more of them count the longer it is."""
        text, at = self._text, self._at
        clause = max(at, self._start + self._clause_chars - self._held_chars)
        gap = max(at, self._start + self._max_chars - self._held_chars)
        found = (
            _MARK.search(text, at, clause)
            or _MARK_OR_CLAUSE.search(text, clause, gap)
            or _MARK_OR_GAP.search(text, gap)
        )
        return found.start() if found else None


def _stop(text: str, i: int, before: str, final: bool) -> _Verdict | None:
    """A full stop or the like, with the stops, quotes, brackets and emoji that belong to it."""
    end, limit = i + 1, i + _RUN
    while end < min(len(text), limit) and _belongs_to_stop(text, i, end):
        end += 1
    if end == limit or (end == len(text) and final):
        return _Verdict(end, cut=False)
    if end == len(text):
        return None
    stops = "".join(char for char in text[i:end] if char in _STOPS)
    if not text[end].isspace():
        wide = any(char in _WIDE_STOPS for char in stops)
        return _Verdict(end, cut=wide and not (before[-1:].isdecimal() and text[end].isdecimal()))
    if text[end - 1] in _STOPS and stops.strip(".…‥"):
        return _Verdict(end, cut=True)  # "Hello! " and "Really?! " are certain
    ends = _ends(_kind_of_dot(before) if stops == "." else _Dot.ORDINARY, text, end, before, final)
    return None if ends is None else _Verdict(end, cut=ends)


def _belongs_to_stop(text: str, i: int, at: int) -> bool:
    """Whether text[at], which follows the stop at text[i], is one with it: it must never be cut off."""
    char = text[at]
    if char in _STOPS or char in _CLOSERS:
        return True
    if char in "“‘«":  # these close in German and others, but open after a stop that needs no space
        return text[i] not in _WIDE_STOPS
    return not char.isascii() and unicodedata.category(char) in {"Mn", "Mc", "Me", "So", "Sk", "Cf"}


class _Dot(Enum):
    """What kind of word a single full stop follows."""

    ORDINARY = auto()
    NEVER_LAST = auto()
    BEFORE_NUMBER = auto()
    MAY_BE_LAST = auto()
    ORDINAL = auto()


def _kind_of_dot(before: str) -> _Dot:
    words = before.split()
    word = words[-1].lstrip(_OPENERS).casefold() if words else ""
    if word in abbreviations.NEVER_LAST:
        return _Dot.NEVER_LAST
    if word.isdecimal():
        if _LIST_MARKER.search(before):
            return _Dot.NEVER_LAST
        return _Dot.ORDINAL if len(word) <= 2 else _Dot.ORDINARY
    if word in abbreviations.BEFORE_NUMBER:
        return _Dot.BEFORE_NUMBER
    if word in abbreviations.MAY_BE_LAST or (_INITIALS.match(word) and word.upper() != word):
        return _Dot.MAY_BE_LAST
    return _Dot.ORDINARY


def _ends(kind: _Dot, text: str, end: int, before: str, final: bool) -> bool | None:
    """Whether the sentence ends at `end`, where white space starts, judged by the next word; None: unknown yet."""
    after = _AFTER.match(text, end)
    if kind is _Dot.NEVER_LAST or after is None:
        return False
    if kind is _Dot.ORDINARY and text[end] in _NEWLINES:
        return True
    word, beyond = after.groups()
    known = final or after.end() < len(text) or after.end() - end == _AFTER_CHARS
    if not known and (not word or kind in {_Dot.MAY_BE_LAST, _Dot.ORDINAL}):
        return None
    ends = kind is _Dot.ORDINARY or not word[:1].isdecimal()
    folded = word.casefold().replace("’", "'")
    if kind is _Dot.MAY_BE_LAST:
        ends = beyond != "." and folded in abbreviations.STARTERS
    elif kind is _Dot.ORDINAL:
        ends = not (folded in abbreviations.MONTHS or _BEFORE_ORDINAL.search(before.casefold()))
    return ends and not word[:1].islower()


def _newline(text: str, i: int, _before: str, final: bool) -> _Verdict | None:
    """A line ends a piece, unless the next starts in lower case and it was only wrapped."""
    blank = _BREAK.match(text, i)
    end = blank.end() if blank else i + 1
    if len(_LINE_BREAKS.findall(text, i, end)) > 1:
        return _Verdict(i, cut=True)
    if end == len(text) and end - i < _BREAK_CHARS:
        return _Verdict(end, cut=False) if final else None
    return _Verdict(end, cut=False) if text[end : end + 1].islower() else _Verdict(i, cut=True)


def _opening_fence(text: str, i: int, before: str, final: bool) -> str | None:
    """The marks that open a block of code at text[i], "" if none does, None if that is not known yet."""
    ticks = _TICKS.match(text, i)
    end = ticks.end() if ticks else i + 1
    if end == len(text) and end - i < _TICKS_CHARS and not final:
        return None
    info = _FENCE_INFO.match(text, end)
    if end - i < 3 or info is None or not _LINE_START.search(before):
        return ""
    if info.end() == len(text) and info.end() - end < _FENCE_LINE:
        return text[i:end] if final else None
    return text[i:end] if text[info.end() : info.end() + 1] == "\n" else ""


def _fence_line(text: str, at: int, fence: str, final: bool) -> _Verdict | None:
    """Inside a block of code: go on to the end of the line after this one; it may close the block."""
    newline = text.find("\n", at)
    if newline < 0:
        return _Verdict(len(text), cut=False)
    end = text.find("\n", newline + 1, newline + _FENCE_LINE)
    if end < 0:
        if len(text) >= newline + _FENCE_LINE:
            return _Verdict(newline + 1, cut=False)
        if not final:
            return None
        end = len(text)
    last = _FENCE_LAST.match(text[newline + 1 : end])
    return _Verdict(end, cut=last is not None and last[1].startswith(fence))


def _code_span(text: str, i: int, _before: str, final: bool) -> _Verdict | None:
    """Inline code is stepped over whole; a backtick that nothing closes is a character like any other."""
    if text[i] == "`":
        span = _CODE_SPAN.match(text, i)
        if span and (final or span.end() < len(text)):
            return _Verdict(span.end(), cut=False)
        if not final and len(text) < i + _SPAN and text.find("\n", i) < 0:
            return None
    ticks = _TICKS.match(text, i)
    return _Verdict(ticks.end() if ticks else i + 1, cut=False)


def _clause(text: str, i: int, before: str, final: bool) -> _Verdict | None:
    """A comma, colon, semicolon or dash in a piece that is long already."""
    if len(text) < i + 3 and not final:
        return None
    after = text[i + 1 : i + 3]
    if text[i] in _WIDE_CLAUSES:
        whole = bool(after) and not _belongs_to_stop(text, i, i + 1) and after[0] not in _ALL_CLAUSES
        return _Verdict(i + 1, cut=whole and not (before[-1:].isdecimal() and after[:1].isdecimal()))
    if text[i] in "-–":
        return _Verdict(i + 1, cut=before[-1:].isspace() and after[:1].isspace())
    in_number = before[-1:].isdecimal() and after[1:].isdecimal()  # "May 3, 2026"
    return _Verdict(i + 1, cut=after[:1].isspace() and not in_number)


def _gap(text: str, i: int, final: bool, *, hard: bool) -> _Verdict | None:
    """White space in a piece that is too long: it ends before a conjunction, or (`hard`) before any word."""
    word = _WORD.match(text, i + 1)
    end = word.end() if word else i + 1
    if end == len(text) and end - i <= _WORD_CHARS and not final:
        return None
    if text[i + 1 : end].casefold() in abbreviations.CONJUNCTIONS:
        return _Verdict(i, cut=text[end : end + 1].isspace())
    whole = unicodedata.category(text[i - 1]) != "Cf" and not _THOUSANDS.match(text, i - 1)
    return _Verdict(i if hard and whole else i + 1, cut=hard and whole)


_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_STOPS, _stop),
    **dict.fromkeys(_NEWLINES, _newline),
    **dict.fromkeys("`~", _code_span),
    **dict.fromkeys(_ALL_CLAUSES, _clause),
}
