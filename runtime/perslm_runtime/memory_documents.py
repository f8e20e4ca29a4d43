"""Documents that were learned: which file, as it was when it was read, and its pieces as memories (chunks).

A file that changed is read again whole; one that only was touched is not. Knows no file format (documents.py).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from perslm_runtime.documents import SUFFIXES, Piece, read_document
from perslm_runtime.errors import InputError
from perslm_runtime.memory_db import Database
from perslm_runtime.memory_erase import erase
from perslm_runtime.memory_lines import clean, from_us

_ADD_PERSON = "INSERT INTO person (name) VALUES (?) ON CONFLICT DO NOTHING"
_KNOWN = """
SELECT document.id, digest, modified_ns FROM document JOIN person ON person.id = document.person
WHERE person.name = ? AND source = ?
"""
_ADD = """
INSERT INTO document (uid, person, source, title, digest, modified_ns, learned_us)
VALUES (?, (SELECT id FROM person WHERE name = ?), ?, ?, ?, ?, ?) RETURNING id
"""
_CHUNK = """
INSERT INTO memory (uid, kind, person, at_us, said, reply, source, kept, document)
SELECT ?, 'chunk', person, ?, ?, '', ?, 1, id FROM document WHERE id = ?
"""
_TOUCH = "UPDATE document SET modified_ns = ? WHERE id = ?"
_PIECES = "SELECT id FROM memory WHERE document = ? ORDER BY id"
_ALL = """
SELECT document.uid, person.name, document.source, title, learned_us, count(memory.id), modified_ns
FROM document JOIN person ON person.id = document.person LEFT JOIN memory ON memory.document = document.id
GROUP BY document.id ORDER BY document.source
"""
_MOST_FILES = 10_000


@dataclass(frozen=True, slots=True)
class Document:
    """A learned document: whose, from where, when it was read, and how many pieces are remembered of it."""

    uid: str
    person: str
    source: str
    title: str
    learned: datetime
    pieces: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Learned:
    """What became of a file: "new", "changed" or "unchanged", and its pieces."""

    source: str
    what: str
    pieces: int


class Documents:
    """The documents of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Document]:
        """Every document, by its source."""
        return [
            Document(uid, person, source, title, from_us(learned), pieces, modified)
            for uid, person, source, title, learned, pieces, modified in self._database.rows(_ALL)
        ]

    def learn_file(self, path: Path, *, person: str, now_us: int) -> Learned:
        """Learn a file, or what changed of it. Raises `InputError` where it cannot be read."""
        source = clean(str(path.absolute()))
        try:
            modified_ns = path.stat().st_mtime_ns
            known = self._database.rows(_KNOWN, (person, source))
            if known and known[0][2] == modified_ns:
                return Learned(source, "unchanged", len(self._database.rows(_PIECES, (known[0][0],))))
            digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        if known and known[0][1] == digest:
            with self._database.writing():
                self._database.rows(_TOUCH, (modified_ns, known[0][0]))
            return Learned(source, "unchanged", len(self._database.rows(_PIECES, (known[0][0],))))
        pieces = read_document(path)
        return self._learn(source, path.name, pieces, digest, modified_ns, person, now_us)

    def learn_text(self, title: str, pieces: Sequence[Piece], *, person: str, now_us: int) -> Learned:
        """Learn a text that was sent under a title; another of the same title takes its place."""
        digest = hashlib.blake2b(
            "\0".join(piece.text for piece in pieces).encode("utf-8", "replace"), digest_size=16
        )
        known = self._database.rows(_KNOWN, (person, clean(title)))
        if known and known[0][1] == digest.digest():
            return Learned(title, "unchanged", len(pieces))
        return self._learn(clean(title), clean(title), pieces, digest.digest(), 0, person, now_us)

    def changed(self) -> list[Document]:
        """Documents whose file is another than when it was read; a file that is gone is none."""
        found = []
        for document in self.all():
            path = Path(document.source)
            try:
                if path.is_absolute() and path.stat().st_mtime_ns != document.modified_ns:
                    found.append(document)
            except OSError:
                continue
        return found

    def _learn(
        self,
        source: str,
        title: str,
        pieces: Sequence[Piece],
        digest: bytes,
        modified_ns: int,
        person: str,
        now_us: int,
    ) -> Learned:
        if not pieces:
            raise InputError(f"{source} holds no text")
        known = self._database.rows(_KNOWN, (person, source))
        with self._database.writing():
            if known:
                erase(self._database, [row[0] for row in self._database.rows(_PIECES, (known[0][0],))])
            self._database.rows(_ADD_PERSON, (person,))
            row = (uuid.uuid4().hex, person, source, title, digest, modified_ns, now_us)
            document = self._database.value(_ADD, row)
            for piece in pieces:
                where = f"{title}, {clean(piece.place)}" if piece.place else title
                self._database.rows(_CHUNK, (uuid.uuid4().hex, now_us, clean(piece.text), where, document))
        if known:
            self._database.wipe_freed()
        return Learned(source, "changed" if known else "new", len(pieces))


def files_in(path: Path) -> list[Path]:
    """The file itself, or the files of a folder and those below that can be learned; hidden ones are left out."""
    if not path.exists():
        raise InputError(f"{path} is not there")
    if path.is_file():
        return [path]
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if len(found) > _MOST_FILES:
        raise InputError(f"{path} holds {len(found)} files and at most {_MOST_FILES} are learned at once")
    return found
