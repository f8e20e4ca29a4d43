"""Where no sentence fits: a model that has proven to choose may call tools, held by their grammar, a few in a
turn.

It never sees the conversation, only what was said and what its own calls brought; whatever it asks for goes
through the registry's gate as a model's wish. After it has read what strangers wrote, or where it is not clear
that anything was wanted, it changes nothing without a person's yes.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field, replace

import anyio.to_thread

from perslm_daemon import engine_calls
from perslm_daemon.tool_talk import caller_of, piece_of, sentence, spoken
from perslm_daemon.tools import Manifest, Result, Tools, Who, clipped, sources_said
from perslm_daemon.turn import Answered, Ask, Gathered, Parts
from perslm_runtime.errors import PersLMError, ToolRefused
from perslm_runtime.intent import Intent
from perslm_runtime.router import Route, Router
from perslm_runtime.tool_call import Names, ToolCall, Whole
from perslm_runtime.tool_grammar import ToolSet

log = logging.getLogger("perslm.tools")

_MOST_STEPS = 3
_CALL_TOKENS = 96
_READ_CHARACTERS = 800  # of a result that the next choice sees: 200 tokens
_MOST_OFFERED = 24  # more do not fit beside their examples in 2,048 tokens
# A question that names what only a tool can see is for tools, though it sounds like talk to the router.
_NAMES_ONE = re.compile(
    r"\b(?:my (?:notes?|files?|lists?)|(?:shopping|to-?do|packing) list|the (?:file|page|website|note)|https?://"
    r"|[\w-]+\.(?:txt|md|html?|pdf|csv|ics|com|org|net))\b",
    re.IGNORECASE,
)
SYSTEM = "You choose a tool for what was said. Answer with one call. Talk and general questions are none()."
_ALWAYS = (("How are you today?", "none()"), ("Who painted the Mona Lisa?", "none()"))


@dataclass(slots=True)
class ToolChooser:
    """Chooses and calls; None leaves a sentence to the talk."""

    parts: Parts
    router: Router
    tools: Tools
    _made: tuple[object, ToolSet, str, tuple[tuple[str, str], ...]] | None = field(default=None)

    async def __call__(self, ask: Ask) -> Answered | Gathered | None:
        """Let the model call tools until there is an answer, or something to answer from."""
        try:
            sure = await self._is_for_tools(ask.text)
            if sure is None:
                return None
            results = await self._results(ask, sure=sure)
        except PersLMError as error:  # an answer of the model is the worst that may come of it
            log.info("not_chosen error=%s", type(error).__name__)
            return None
        if not results:
            return None
        last, source = results[-1], sources_said(results)
        intent = Intent(last.tool, {"chosen_by": "model"})
        if last.approval is not None or last.speaks:
            return Answered(intent, spoken(last), source=source)
        return Gathered(intent, tuple(piece_of(one) for one in results), source)

    async def _is_for_tools(self, text: str) -> bool | None:
        """Whether a tool is wanted for sure (True) or perhaps (False); None for talk."""
        if _NAMES_ONE.search(text):
            return False
        if self.parts.embed is None:
            return None
        vectors = await self.parts.embed.call(engine_calls.embed, [text])
        route = self.router.route(vectors[0])
        return None if route is Route.CHAT else route is Route.COMMAND

    async def _results(self, ask: Ask, *, sure: bool) -> list[Result]:
        offered = await self._offered(ask.person)
        results: list[Result] = []
        caller = replace(caller_of(ask), who=Who.MODEL, sure=sure)
        said = ask.text
        for _ in range(_MOST_STEPS):
            call = await self._chosen(offered, said)
            if call.is_none or any(one.tool == call.tool for one in results):
                break
            log.info("chosen tool=%s", call.tool)
            try:
                result = await self.tools.call(call.tool, call.arguments, caller)
            except ToolRefused as error:
                result = Result(call.tool, sentence(str(error)))
            results.append(result)
            if result.approval is not None or result.speaks:
                break
            read = clipped(" ".join(result.text.split()), _READ_CHARACTERS)
            said = f"{ask.text}\n{result.tool} gave: {read}"
        return results

    async def _chosen(self, offered: tuple[ToolSet, str, tuple[tuple[str, str], ...]], said: str) -> ToolCall:
        tools, system, examples = offered
        model = self.parts.model
        return await model.call(engine_calls.choose_among, tools, system, examples, said, _CALL_TOKENS)

    async def _offered(self, person: str) -> tuple[ToolSet, str, tuple[tuple[str, str], ...]]:
        """The tools, and the prompt that teaches them; made anew when a tool came or went."""
        stamp = (self.tools.changed, person)
        if self._made is None or self._made[0] != stamp:
            manifests = self.tools.offered(person)[:_MOST_OFFERED]
            made = await anyio.to_thread.run_sync(ToolSet, [one.tool for one in manifests])
            self._made = (stamp, made, system_of(manifests), examples_of(manifests))
        return self._made[1:]


def system_of(manifests: tuple[Manifest, ...]) -> str:
    """The prompt's system text: a line for each tool."""
    lines = [f"{one.name}({', '.join(map(_argument, one.tool.arguments))}): {one.about}" for one in manifests]
    return "\n".join([SYSTEM, *lines, "none()"])


def examples_of(manifests: tuple[Manifest, ...]) -> tuple[tuple[str, str], ...]:
    """What was said and the call it is, of every tool that brings such, and of talk."""
    return (*(example for one in manifests for example in one.examples), *_ALWAYS)


def _argument(argument: object) -> str:
    if isinstance(argument, Names) and len(argument.options) <= 8:
        return " | ".join(f'"{option}"' for option in argument.options)
    return (
        f"{argument.name} {argument.least}-{argument.most}"
        if isinstance(argument, Whole)
        else str(getattr(argument, "name", ""))
    )
