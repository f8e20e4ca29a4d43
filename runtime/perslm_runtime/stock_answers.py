"""Home Assistant's own answers in one language, for intents that were done; they say no more than that.

For the languages that have no phrases of ours (tongues.py). Its templates come with its package and are trusted;
what is put in (names, numbers) is only data to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perslm_runtime.intents import responses
from perslm_runtime.templates import ChatTemplateError, chat_environment


class StockAnswers:
    """Home Assistant's answers in one language; compiled on first use."""

    def __init__(self, language: str) -> None:
        self._texts = responses(language)
        self._environment = chat_environment()

    def said(self, intent: str, key: str, slots: Mapping[str, Any], state: Mapping[str, Any]) -> str:
        """What Home Assistant says after `intent` was done: its answer `key` or its usual one; "" for none.

        `slots` and `state` are what its templates read: names, numbers, a domain.
        """
        texts = self._texts.get(intent, {})
        text = texts.get(key or "default") or texts.get("default") or ""
        try:
            made = self._environment.from_string(text).render(slots=slots, state=state)
        except (ChatTemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return ""  # it reads something of Home Assistant's that there is not here
        said = " ".join(made.split())
        return "" if "none" in said.lower().split() else said
