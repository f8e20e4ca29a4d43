"""The text of a PDF, page by page. Only importer of pypdf."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from perslm_runtime.errors import InputError


def pages_of(path: Path, data: bytes) -> Iterator[tuple[int, str]]:
    """(page from 1, its text). Raises `InputError` for what is no PDF, is locked, or holds pictures only."""
    try:
        from pypdf import PdfReader  # noqa: PLC0415 - 60 ms, for those who read a PDF
        from pypdf.errors import PyPdfError  # noqa: PLC0415 - as above
    except ImportError as error:
        raise InputError("PDF files need pypdf: `pip install 'perslm[board]'`") from error
    found = False
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise InputError(f"{path} is locked with a password: save a copy without one")
        for number, page in enumerate(reader.pages, start=1):
            text = page.extract_text()
            found = found or bool(text.strip())
            yield number, text
    except (PyPdfError, ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise InputError(f"{path} cannot be read as a PDF ({type(error).__name__}): save it anew") from error
    if not found:
        raise InputError(f"{path} holds no text, only pictures of it perhaps: it would need recognizing first")
