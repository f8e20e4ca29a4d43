"""Documents as pieces of text with their place: text, Markdown, HTML, PDF, calendars (.ics) and vCards.

Reads files, keeps nothing. A piece is at most a few hundred characters, cut where a paragraph or a sentence ends,
and says where it stands: a page, a heading. What is no text is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from perslm_runtime.errors import InputError
from perslm_runtime.pdf import pages_of

PIECE_CHARS = 600
MOST_BYTES = 64_000_000
MOST_CHARS = 20_000_000
SUFFIXES = frozenset((".txt", ".text", ".md", ".markdown", ".html", ".htm", ".pdf", ".ics", ".vcf"))
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_BLOCKS = frozenset(
    "p div section article li tr h1 h2 h3 h4 h5 h6 br table ul ol blockquote pre header footer main dt dd".split()  # noqa: SIM905 - reads as what it is
)
_SILENT = frozenset(("script", "style", "head", "nav", "template", "noscript", "svg"))


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a document. `place` is "" or as "page 3", "Watering"."""

    text: str
    place: str = ""


def read_document(path: Path) -> list[Piece]:
    """The pieces of a file, in its order. Raises `InputError` for a file that cannot be read or is no text."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is of no kind that is read: {', '.join(sorted(SUFFIXES))}")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path} has {size / 1e6:.0f} MB and at most {MOST_BYTES // 1_000_000} are read")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if suffix == ".pdf":
        return list(_cut_all((text, f"page {number}") for number, text in pages_of(path, data)))
    return pieces_of(_decoded(path, data), suffix)


def pieces_of(text: str, suffix: str = ".txt") -> list[Piece]:
    """The pieces of a text of that kind."""
    if len(text) > MOST_CHARS:
        raise InputError(f"this text has {len(text)} characters and at most {MOST_CHARS} are read")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    match suffix:
        case ".md" | ".markdown":
            return list(_cut_all(_by_heading(text)))
        case ".html" | ".htm":
            return list(_cut_all(_by_block(text)))
        case ".ics":
            return [piece for event in _parts(text, "VEVENT") if (piece := _event(event))]
        case ".vcf":
            return [piece for card in _parts(text, "VCARD") if (piece := _contact(card))]
    return list(_cut_all([(text, "")]))


def _decoded(path: Path, data: bytes) -> str:
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path} is no text: it has zero bytes")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # what old Windows programs wrote


def _cut_all(parts: Iterable[tuple[str, str]]) -> Iterator[Piece]:
    for text, place in parts:
        for piece in _cut(text):
            yield Piece(piece, place)


def _cut(text: str) -> Iterator[str]:
    """Pieces of at most PIECE_CHARS: paragraphs are put together, long ones cut at sentences, else at words."""
    held = ""
    for paragraph in _PARAGRAPH.split(text):
        for part in _sentences(" ".join(paragraph.split())):
            if held and len(held) + len(part) + 1 > PIECE_CHARS:
                yield held
                held = ""
            held = f"{held} {part}" if held else part
        if len(held) > PIECE_CHARS // 2:
            yield held
            held = ""
    if held:
        yield held


def _sentences(paragraph: str) -> Iterator[str]:
    for sentence in _SENTENCE_END.split(paragraph) if paragraph else ():
        rest = sentence
        while len(rest) > PIECE_CHARS:
            at = rest.rfind(" ", 1, PIECE_CHARS)
            at = PIECE_CHARS if at < 1 else at
            yield rest[:at]
            rest = rest[at:].lstrip()
        if rest:
            yield rest


def _by_heading(text: str) -> Iterator[tuple[str, str]]:
    """What stands under each heading, with the heading before it: by its words it is found, too."""
    place, at = "", 0
    for heading in _HEADING.finditer(text):
        yield f"{place}\n\n{text[at : heading.start()]}", place
        place, at = heading[1], heading.end()
    yield f"{place}\n\n{text[at:]}", place


class _Blocks(HTMLParser):
    """The words of an HTML page by blocks, with the heading above each."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, str]] = []
        self._silent = 0
        self._words: list[str] = []
        self._place = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in _SILENT:
            self._silent += 1
        elif tag in _BLOCKS:
            self.end_block(heading=False)

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in _BLOCKS:
            self.end_block(heading=len(tag) == 2 and tag[0] == "h" and tag[1].isdigit())

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._words.append(data)

    def end_block(self, *, heading: bool) -> None:
        """Keep the words so far as a block of its own."""
        text = " ".join("".join(self._words).split())
        self._words = []
        if heading and text:
            self._place = text
        if text:
            self.found.append((text, self._place))


def _by_block(text: str) -> Iterator[tuple[str, str]]:
    """Blocks under one heading as one text, so that short ones come together."""
    parser = _Blocks()
    parser.feed(text)
    parser.close()
    parser.end_block(heading=False)
    held: list[str] = []
    place = ""
    for block, under in parser.found:
        if under != place and held:
            yield "\n\n".join(held), place
            held = []
        place = under
        held.append(block)
    if held:
        yield "\n\n".join(held), place


def _parts(text: str, kind: str) -> Iterator[dict[str, list[str]]]:
    """The properties of each BEGIN:kind … END:kind of a calendar or address book, unfolded, by name."""
    fields: dict[str, list[str]] | None = None
    for line in re.sub(r"\n[ \t]", "", text).split("\n"):
        name, colon, value = line.partition(":")
        key = name.split(";")[0].rpartition(".")[2].upper()
        if line.upper() == f"BEGIN:{kind}":
            fields = {}
        elif line.upper() == f"END:{kind}" and fields is not None:
            yield fields
            fields = None
        elif fields is not None and colon and value.strip():
            fields.setdefault(key, []).append(_unescaped(value.strip()))


def _unescaped(value: str) -> str:
    return re.sub(r"\\([\\,;nN])", lambda found: " " if found[1] in "nN" else found[1], value)


def _event(fields: dict[str, list[str]]) -> Piece | None:
    if "SUMMARY" not in fields:
        return None
    words = [fields["SUMMARY"][0]]
    for key, before in (("DTSTART", "on"), ("DTEND", "until"), ("LOCATION", "at"), ("RRULE", "repeated:")):
        if key in fields:
            words.append(f"{before} {_day(fields[key][0]) if key.startswith('DT') else fields[key][0]}")
    told = " ".join(words) + (f". {fields['DESCRIPTION'][0]}" if "DESCRIPTION" in fields else "")
    return Piece(told[: 2 * PIECE_CHARS], "calendar")


def _day(value: str) -> str:
    """ "20260131T180000Z" as "2026-01-31 18:00"; what is no such time stays as it is."""
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d\dZ?)?", value)
    if found is None:
        return value
    day = f"{found[1]}-{found[2]}-{found[3]}"
    return f"{day} {found[4]}:{found[5]}" if found[4] else day


def _contact(fields: dict[str, list[str]]) -> Piece | None:
    name = (fields.get("FN") or [" ".join(fields.get("N", [""])[0].split(";")).strip()])[0]
    if not name:
        return None
    known = (
        ("TEL", "telephone"),
        ("EMAIL", "email"),
        ("ADR", "address"),
        ("BDAY", "birthday"),
        ("ORG", "works at"),
    )
    words = [
        f"{label} {', '.join(part for part in value.split(';') if part)}"
        for key, label in (*known, ("TITLE", "is"), ("NOTE", "note:"))
        for value in fields.get(key, ())
    ]
    return Piece(f"{name}: {'; '.join(words)}"[: 2 * PIECE_CHARS] if words else name, "address book")
