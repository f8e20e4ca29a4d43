"""What is said aloud for a piece of a reply: `speakable(text)`. Pure, English, written for Piper and espeak-ng.

A model writes for the eye: Markdown, links, symbols, "21.5°C". Here that becomes words, and only what the voice
gets wrong is touched (it says plain numbers well, see `spoken_numbers`). Decided: emoji and pictures are never
said, not even alone; a block of code is "Code omitted."; a link is its text and a bare URL its host; a table's row
is its cells. The voice ends a sentence at every dot before a capital or a digit, so "Dr. Smith" and "J. R. R.
Tolkien" lose theirs; it reads "…" as nothing and glues the words around it, so that becomes a comma.
"""

from __future__ import annotations

import html
import re
import unicodedata

from perslm_runtime.spoken_numbers import Rewrite, rewrite, speak_numbers

CODE_OMITTED = "Code omitted."
"""Said for each fenced block of code."""

_TITLES = {
    "Dr": "Doctor",
    "Mr": "Mister",
    "Ms": "Miz",
    "Prof": "Professor",
    "Mt": "Mount",
    "Gen": "General",
    "Col": "Colonel",
    "Capt": "Captain",
    "Lt": "Lieutenant",
    "Sgt": "Sergeant",
    "Gov": "Governor",
    "Sen": "Senator",
    "Rep": "Representative",
    "Rev": "Reverend",
    "Pres": "President",
}
_ABBREVIATIONS = {
    "e.g.": "for example",
    "i.e.": "that is",
    "etc.": "et cetera",
    "vs.": "versus",
    "approx.": "approximately",
    "w/o": "without",
    "b/c": "because",
    "and/or": "and or",
    "he/she": "he or she",
}
_NUMBERED = {
    "No": "number",
    "Nos": "numbers",
    "Fig": "figure",
    "Figs": "figures",
    "Vol": "volume",
    "Ch": "chapter",
    "Sec": "section",
    "p": "page",
    "pp": "pages",
    "Jan": "January",
    "Feb": "February",
    "Mar": "March",
    "Apr": "April",
    "Jun": "June",
    "Jul": "July",
    "Aug": "August",
    "Sep": "September",
    "Sept": "September",
    "Oct": "October",
    "Nov": "November",
    "Dec": "December",
}
_DAYS = {
    "Mon": "Monday",
    "Tue": "Tuesday",
    "Tues": "Tuesday",
    "Wed": "Wednesday",
    "Thu": "Thursday",
    "Thur": "Thursday",
    "Thurs": "Thursday",
    "Fri": "Friday",
    "Sat": "Saturday",
    "Sun": "Sunday",
}
_COMPANIES = {
    "Inc": "Incorporated",
    "Ltd": "Limited",
    "Co": "Company",
    "Corp": "Corporation",
    "Jr": "Junior",
    "Sr": "Senior",
}

_FENCE = re.compile(r"^[ \t>]*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?(?P<marks>`{3,}(?=[^`\n]*$)|~{3,})")
_RULER = re.compile(r"[\s|:>]*(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|=+)[\s|:=-]*\Z")
_BLOCK = re.compile(r"\s*(?:#{1,6}\s|>|[-*+•·‣◦▪]\s|\d{1,3}[.)]\s|\|)")
_ENDS = re.compile(r"[.!?…:;,。！？।]['\"”’)*_`\s]*\Z")
_UNSPOKEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "So", "Sk", "Me"}
_UNSPOKEN = {"\ufe0e", "\ufe0f"}  # how the character before looks


def speakable(text: str) -> str:
    """One line of words and punctuation to hand to the voice; "" if nothing in `text` can be said.

    `text` is best a piece from the `SentenceSplitter`, which never tears a block of code; any text works.
    """
    spoken = ""
    for line in _lines(text):
        words = _speak_line(line)
        if words:
            spoken += f"{'' if not spoken or _ENDS.search(spoken) else '.'} {words}"
    return spoken.strip() if any(char.isalnum() for char in spoken) else ""


def _lines(text: str) -> list[str]:
    """The lines as they are spoken: wrapped ones joined, blocks of code as one, rulers left out."""
    lines: list[str] = []
    fence, joins = "", False
    for line in unicodedata.normalize("NFC", text).splitlines():
        opened = _FENCE.match(line)
        if fence:
            if opened and opened["marks"].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif opened:
            fence, joins = opened["marks"], False
            lines.append(CODE_OMITTED)
        elif not line.strip() or _RULER.match(line):
            joins = False
        elif joins and line.lstrip()[0].islower():
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
            joins = True
    return lines


def _speak_line(line: str) -> str:
    line = speak_numbers(rewrite(rewrite(" ".join(line.split()), _MARKUP), _WORDS))
    line = rewrite(line, _SYMBOLS)
    kept = (" " if char.isspace() else char for char in line if not _is_unspoken(char))
    line = rewrite("".join(kept), _TIDY).strip()
    return line if any(char.isalnum() for char in line) else ""


def _is_unspoken(char: str) -> bool:
    return char in _UNSPOKEN or (not char.isspace() and unicodedata.category(char) in _UNSPOKEN_CATEGORIES)


def _table_row(match: re.Match[str]) -> str:
    cells = re.split(r"(?<!\\)\|", match[1].removesuffix("|"))
    return ", ".join(cell.strip() for cell in cells if cell.strip())


def _host(match: re.Match[str]) -> str:
    """ "https://www.example.com/a?b=c" as "example.com"; what ends a sentence stays."""
    address = match[0].rstrip(".,;:!?'\"*_)]}>")
    host = re.split(r"[/?#]", address.partition("://")[2] or address, maxsplit=1)[0]
    host = host.rpartition("@")[2].partition(":")[0]
    return host.removeprefix("www.") + match[0][len(address) :]


def _code(match: re.Match[str]) -> str:
    """Inline code read as words: the brackets and quotes go, options keep their dashes."""
    words = re.sub(r"[(){}\[\]<>;\"'`$\\|]+", " ", match[2])
    words = re.sub(r"(?<![\w-])-(-?)(?=\w)", lambda dash: "dash dash " if dash[1] else "dash ", words)
    words = re.sub(r"\s*([=!]=+|:=)\s*", lambda sign: " is not " if sign[1][0] == "!" else " equals ", words)
    return words.replace("_", " ").replace("*", " ").strip()


# The order matters throughout: each rule sees what the ones before it left.
_MARKUP: list[Rewrite] = [
    (re.compile(r"<\|[^|<>\n]{0,40}\|>|</?(?:s|bos|eos|pad|unk|think|tool_call)>"), " "),
    (re.compile(r"(?:^|(?<=\s))\[\^[^\]\s]{1,20}\]:.*|\[\^[^\]\s]{1,20}\]"), ""),
    (re.compile(r"^\s*(?:>\s?)+"), ""),
    (re.compile(r"^#{1,6}\s(?:(.*?) #+$)?"), r"\1"),
    (re.compile(r"^\s*[-*+•·‣◦▪]\s+(?:\[[xX]\]\s+(.*))?(?:\[ \]\s+)?"), lambda m: f"done: {m[1]}" if m[1] else ""),
    (re.compile(r"^\s*(\d{1,3})[.)]\s+(?=\S)"), r"\1. "),
    (re.compile(r"^\s*\|(.*)$"), _table_row),
    (re.compile(r"(?<!`)(`{1,3})(?!`)([^\n]+?)(?<!`)\1(?!`)"), _code),
    (
        re.compile(r"!?\[([^\[\]\n]*)\](?:\((?:[^()\s]|\([^()\s]*\))*(?:\s\"[^\"\n]*\")?\)|\[[^\[\]\n]{0,80}\])"),
        r"\1",
    ),
    (re.compile(r"<((?:https?://|mailto:)[^<>\s]+|[^<>\s@]+@[^<>\s@]+)>"), r"\1"),
    (re.compile(r"</?[A-Za-z][^<>\n]{0,200}>|<!--.*?-->"), " "),
    (re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[A-Za-z]{2,31});"), lambda m: html.unescape(m[0])),
    (re.compile(r"\bmailto:"), ""),
    (re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{1,10}://[^\s<>]+|\bwww\.[^\s<>]+"), _host),
    (re.compile(r"(?<![\w./@-])(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,6}/[^\s<>]*"), _host),
    (re.compile(r"\\([!-/:-@\[-`{-~])"), r"\1"),
]
_WORDS: list[Rewrite] = [
    (re.compile(r"(?<!\w)[:;]-?[)(DPp](?!\w)"), ""),
    (re.compile(rf"\b({'|'.join(_TITLES)})\.(?=\s+[A-Z])"), lambda m: _TITLES[m[1]]),
    (re.compile(r"\bMrs\.(?=\s)"), "Mrs"),
    (re.compile(r"(\b[A-Z][\w'’]*\s+|\d(?:st|nd|rd|th)\s+)St\.?(?!\w)(?=\s*(?:$|[,;]|[a-z]))"), r"\1Street"),
    (re.compile(r"\bSt\.\s+(?=[A-Z])"), "Saint "),
    (re.compile(r"(?<=\w )Ave\."), "Avenue"),
    (re.compile(rf"(?<=\w)(,? )({'|'.join(_COMPANIES)})\.(?!\s*$)"), lambda m: f"{m[1]}{_COMPANIES[m[2]]}"),
    (re.compile(rf"\b({'|'.join(_NUMBERED)})\.\s?(?=\d)"), lambda m: f"{_NUMBERED[m[1]]} "),
    (
        re.compile(rf"\b({'|'.join(_DAYS)})\b\.?(?=,?\s\d|–)|(?<=–)({'|'.join(_DAYS)})\b"),
        lambda m: _DAYS[m[1] or m[2]],
    ),
    (re.compile(r"\b(e\.g|i\.e)\.,"), r"\1."),
    (
        re.compile(rf"(?<!\w)({'|'.join(re.escape(word) for word in _ABBREVIATIONS)})(?!\w)(\s*$)?"),
        lambda m: _ABBREVIATIONS[m[1]] + ("." if m[1].endswith(".") and m[2] is not None else ""),
    ),
    (re.compile(r"\bPh\.\s?D\.(?!\s*$)"), "PhD"),
    (re.compile(r"\b(?:[A-Z]\.){2,}(\s*$)?"), lambda m: m[0].replace(".", "") + "." * (m[1] is not None)),
    (re.compile(r"\b([A-Z])\.\s+(?=[A-Z](?:\.|[a-z]))"), r"\1 "),
    (re.compile(r"(?<=\w)/(?=(?:second|minute|hour|day|night|week|month|year|person|item)\b)"), " per "),
]
_SYMBOLS: list[Rewrite] = [
    (re.compile(r" ?(?:<?[-=]{1,3}>|[→⇒➡➔➜⟶]) ?"), ", "),
    (re.compile(r" ?(?:\.{3,}|…)(?= ?[^\W_A-Z])"), ", "),
    (re.compile(r" ?(?:…|\.{3,})"), "."),
    (re.compile(r"(?<=\S) (?:[-–—]|--) (?=\S)"), ", "),
    (re.compile(r"—|(?<=\w)--(?=\w)"), ", "),
    (re.compile(r"\b([CF])#"), r"\1 sharp"),
    (re.compile(r"#(?=\w)"), ""),
    (re.compile(r"(?<![\w/.])([A-Za-z]{2,})/([A-Za-z]{2,})(?![\w/]|\.\w)"), r"\1 \2"),
    (re.compile(r" ?\| ?"), ", "),
    (re.compile(r"[*_`~^\\{}<>\[\]]+|[•·‣◦▪]"), " "),
]
_TIDY: list[Rewrite] = [
    (re.compile(r"\s+"), " "),
    (re.compile(r" (?=[,.;:!?)])"), ""),
    (re.compile(r"^[\s,.;:!?)»”-]+(?=.*\w)"), ""),
    (re.compile(r"([,;:])(?:[,;:])+"), r"\1"),
    (re.compile(r"[,;:](?=[.!?])"), ""),
]
