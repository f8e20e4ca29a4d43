"""Sentences that reach plug-ins: recognized by what the plug-ins bring, done through the one gate for tools."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from perslm_daemon import engine_calls
from perslm_daemon.plugin_tools import full_name, packed
from perslm_daemon.plugins import Plugins
from perslm_daemon.tools import Caller, Tools
from perslm_daemon.turn import Answered, Ask
from perslm_runtime.completeness import Ending, ends_in_a_number
from perslm_runtime.errors import PersLMError
from perslm_runtime.intent import Intent
from perslm_runtime.lane import Lane
from perslm_runtime.plugin_sentences import Wanted

log = logging.getLogger("perslm.plugins")


@dataclass(frozen=True, slots=True)
class PluginAnswers:
    """Answers what plug-ins understand; None leaves the sentence to others."""

    recognizer: Lane[Any]
    plugins: Plugins
    tools: Tools

    async def __call__(self, ask: Ask, *, own: bool) -> Answered | None:
        """Do it, and say what came of it. `own` asks PersLM's plug-ins, else all others."""
        wanted = await self._wanted(ask.text, own=own)
        if wanted is None:
            return None
        caller = Caller(ask.person, ask.source, ask.turn, ask.conversation)
        one = self.plugins.plugged[wanted.plugin]
        intent = Intent(full_name(one.called, wanted.tool), dict(wanted.arguments))
        tool = next(tool for tool in (one.shape.tools if one.shape else ()) if tool.name == wanted.tool)
        try:
            name = full_name(one.called, wanted.tool)
            result = await self.tools.call(name, packed(tool, wanted.arguments), caller)
        except PersLMError as error:
            said = str(error).rstrip(".")
            return Answered(intent, f"{said[:1].upper()}{said[1:]}.")
        return Answered(intent, result.text, source=result.source)

    async def ending(self, text: str) -> Ending | None:
        """How finished `text` is as a sentence for a plug-in."""
        return None if ends_in_a_number(text) or not await self.knows(text) else Ending.FINISHED

    async def knows(self, text: str) -> bool:
        """Whether a plug-in would answer a sentence; nothing is asked of it."""
        return (await self._wanted(text, own=True) or await self._wanted(text, own=False)) is not None

    async def _wanted(self, text: str, *, own: bool) -> Wanted | None:
        tables = [
            one.sentences
            for one in self.plugins.plugged.values()
            if one.sentences is not None and one.own is own and one.lane is not None
        ]
        if not tables:
            return None
        try:
            return await self.recognizer.call(engine_calls.wanted_of_plugins, tables, text)
        except PersLMError as error:
            log.warning("not_recognized error=%s", type(error).__name__)
            return None
