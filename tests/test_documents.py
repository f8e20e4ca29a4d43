"""Documents become pieces with their place; what changed is learned anew; what was forgotten stays away."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memories import raw_bytes
from perslm_runtime.documents import PIECE_CHARS, pieces_of, read_document
from perslm_runtime.errors import InputError
from perslm_runtime.memory import EVERYBODY, Memory
from perslm_runtime.memory_documents import files_in
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_forget import forget_everywhere

ICS = """BEGIN:VCALENDAR
BEGIN:VEVENT
SUMMARY:Dentist\\, Dr. May
DTSTART;TZID=Europe/Zurich:20260131T180000
LOCATION:Bern
DESCRIPTION:bring the
  card
END:VEVENT
BEGIN:VTODO
SUMMARY:not an event
END:VTODO
END:VCALENDAR
"""
VCF = """BEGIN:VCARD\r
FN:Ana Meier\r
TEL;TYPE=cell:079 1\r
item1.EMAIL:a@b.ch\r
ADR:;;Hauptstr. 1;Bern;;3000;\r
END:VCARD\r
"""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with closing(Memory(tmp_path / "data" / "memory.db")) as made:
        yield made


def pdf(*pages: str) -> bytes:
    """A PDF with a line of text on each page, written by hand."""
    bodies = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    bodies += [f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode()]
    bodies += [b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    for number, text in enumerate(pages):
        stream = zlib.compress(f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode())
        where = f"/Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R"
        bodies.append(f"<< /Type /Page {where} /Resources << /Font << /F1 3 0 R >> >> >>".encode())
        bodies.append(b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream))
    data, at = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, start=1):
        at.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(at) + 1) + b"".join(
        b"%010d 00000 n \n" % one for one in at
    )
    return data + b"trailer << /Root 1 0 R /Size %d >>\nstartxref\n%d\n%%%%EOF\n" % (len(at) + 1, start)


def said(memory: Memory) -> list[str]:
    return sorted(entry.said for entry in memory.list("chunk"))


def test_a_heading_is_the_place_and_is_found_by_its_words() -> None:
    one, two = pieces_of("# Garden\n\nRoses are watered.\n\n## Tools\nThe spade hangs here.\n", ".md")
    assert (one.text, one.place) == ("Garden Roses are watered.", "Garden")
    assert (two.text, two.place) == ("Tools The spade hangs here.", "Tools")


def test_a_page_of_html_gives_its_words_and_no_script() -> None:
    head = "<html><head><title>x</title></head><h1>Roses</h1><p>Water &amp; sun.</p>"
    page = f"{head}<script>evil()</script><ul><li>one<li>two"
    (piece,) = pieces_of(page, ".html")
    assert (piece.text, piece.place) == ("Roses Water & sun. one two", "Roses")


def test_calendars_and_address_books_give_a_piece_for_each_entry() -> None:
    (event,) = pieces_of(ICS, ".ics")
    assert event.text == "Dentist, Dr. May on 2026-01-31 18:00 at Bern. bring the card"
    (card,) = pieces_of(VCF, ".vcf")
    assert card.text == "Ana Meier: telephone 079 1; email a@b.ch; address Hauptstr. 1, Bern, 3000"


def test_a_pdf_gives_its_pages(tmp_path: Path) -> None:
    pytest.importorskip("pypdf", reason="pypdf is not installed: `pip install 'perslm[board]'`")
    file = tmp_path / "manual.pdf"
    file.write_bytes(pdf("Press the red button.", "Then wait a minute."))
    assert [(piece.text, piece.place) for piece in read_document(file)] == [
        ("Press the red button.", "page 1"),
        ("Then wait a minute.", "page 2"),
    ]
    for broken in (b"%PDF-1.4 nothing", b"", pdf("")):
        file.write_bytes(broken)
        with pytest.raises(InputError, match=r"PDF|no text"):
            read_document(file)


@settings(max_examples=15, deadline=None, database=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=3000))
def test_no_word_is_lost_in_cutting(text: str) -> None:
    pieces = pieces_of(text)
    assert all(0 < len(piece.text) <= PIECE_CHARS for piece in pieces)
    assert "".join("".join(piece.text.split()) for piece in pieces) == "".join(text.split())


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.txt", b"", "no text"),
        ("a.txt", b"ab\0cd", "zero bytes"),
        ("a.exe", b"words", "of no kind"),
        ("a.ics", b"BEGIN:VEVENT", "no text"),
    ],
)
def test_what_is_no_document_is_refused_by_name(
    memory: Memory, tmp_path: Path, name: str, data: bytes, why: str
) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(InputError, match=why):
        memory.learn_file(file)
    assert memory.count() == 0
    assert memory.documents.all() == []


def test_a_file_that_changed_is_learned_anew_and_one_that_was_touched_is_not(
    memory: Memory, tmp_path: Path
) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes("The spade hangs in the shed. Caf\xe9.".encode("cp1252"))
    assert memory.learn_file(file).what == "new"
    assert memory.learn_file(file).what == "unchanged"
    before = memory.list("chunk")
    os.utime(file, ns=(1, 1))
    assert memory.learn_file(file).what == "unchanged"
    assert memory.list("chunk") == before
    assert memory.documents.changed() == []
    file.write_text("The rake hangs in the barn.")
    assert [one.source for one in memory.documents.changed()] == [str(file)]
    assert memory.learn_file(file).what == "changed"
    assert said(memory) == ["The rake hangs in the barn."]
    assert b"spade" not in raw_bytes(memory.file)  # type: ignore[arg-type]  # it has a file
    memory.check()


def test_a_folder_gives_what_can_be_read_and_no_hidden_file(tmp_path: Path) -> None:
    for name in ("b.md", "sub/a.txt", ".hidden/x.txt", "sub/.y.txt", "c.exe"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("words")
    assert [str(file.relative_to(tmp_path)) for file in files_in(tmp_path)] == ["b.md", "sub/a.txt"]
    with pytest.raises(InputError, match="not there"):
        files_in(tmp_path / "none")


def test_pieces_are_recalled_by_whoever_may_and_forgotten_by_the_name_of_the_file(
    memory: Memory, tmp_path: Path
) -> None:
    file, other = tmp_path / "ludwig-letter.txt", tmp_path / "boiler.txt"
    file.write_text("The treasure lies under the oak.")
    other.write_text("Ludwig repaired the boiler.")
    memory.learn_file(file, person="ana")
    memory.learn_file(other, shared=True)
    assert [found.text for found in memory.search("oak", person="ana")][:1] == ["The treasure lies under the oak."]
    assert "oak" not in str(memory.search("oak treasure", person="ben"))
    assert memory.search("boiler", person="ben")[0].text == "Ludwig repaired the boiler."
    assert {entry.person for entry in memory.list("chunk")} == {"ana", EVERYBODY}
    done = forget_everywhere(memory, Wanted(text="Ludwig"))
    assert done.count == 2
    assert done.files == (str(other), str(file))
    assert memory.documents.all() == []
    assert b"udwig" not in raw_bytes(memory.file)  # type: ignore[arg-type]  # it has a file


def test_a_text_under_the_same_title_takes_the_place_of_the_former(memory: Memory) -> None:
    assert memory.learn_text("wifi", "The password is hunter2.").what == "new"
    assert memory.learn_text("wifi", "The password is hunter2.").what == "unchanged"
    assert memory.learn_text("wifi", "The password is hunter3.").what == "changed"
    assert said(memory) == ["The password is hunter3."]


@pytest.mark.slow
def test_a_document_of_ten_million_characters_is_learned(memory: Memory, tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text(
        "".join(f"Sentence number {number} tells of thing {number % 977}.\n" for number in range(240_000))
    )
    assert file.stat().st_size > 10_000_000
    learned = memory.learn_file(file)
    assert learned.pieces > 16_000
    assert "number 123456 " in memory.search("number 123456")[0].text
    memory.check()
