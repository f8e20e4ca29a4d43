"""How what is said ends."""

from __future__ import annotations


def stopped(text: str) -> str:
    """The text with a full stop, where it has no end of its own."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
