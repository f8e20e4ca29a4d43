"""A file that is replaced as a whole: written aside, synced, renamed; and one that is damaged, put aside."""

from __future__ import annotations

import os
from pathlib import Path


def replace_whole(file: Path, body: bytes) -> None:
    """Replace a file's content; when it returns it outlives the power going. Raises OSError, and then nothing
    changed.
    """
    fresh = file.with_name(f"{file.name}.new")
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    opened = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(opened, "wb") as out:
        out.write(body)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def put_aside(file: Path) -> str:
    """Rename a damaged file, so that nothing of it is lost; its new name."""
    aside = file.with_name(f"{file.name}.damaged")
    file.replace(aside)
    return aside.name
