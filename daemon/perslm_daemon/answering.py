"""Who answers a sentence before the model: everyday skills, the home, PersLM itself; the first to understand.

The home comes first where the conversation is about it: "yes" after its question, "turn that off" after a lamp.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import anyio.to_thread

from perslm_daemon.about import About
from perslm_daemon.app import Assistant
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Config
from perslm_daemon.home import Home
from perslm_daemon.home_choose import PROVEN_PERCENT, Chooser
from perslm_daemon.home_intents import HomeIntents
from perslm_daemon.home_plans import Plans
from perslm_daemon.home_strange import NoHome
from perslm_daemon.moment import Moment
from perslm_daemon.mouth import Mouth
from perslm_daemon.planned import Planned
from perslm_daemon.plugin_answers import PluginAnswers
from perslm_daemon.plugins import Plugins
from perslm_daemon.schedule import Schedule
from perslm_daemon.skills import Skills
from perslm_daemon.stores import open_models
from perslm_daemon.tool_choose import ToolChooser
from perslm_daemon.tool_talk import ToolTalk
from perslm_daemon.tools import Tools
from perslm_daemon.turn import Answered, Ask, Gathered
from perslm_daemon.utterance import Priority
from perslm_runtime.completeness import Ending
from perslm_runtime.errors import PersLMError
from perslm_runtime.home_tools import EXAMPLES
from perslm_runtime.intent import Intent
from perslm_runtime.router import Router
from perslm_runtime.tongues import tongue

log = logging.getLogger("perslm.skills")

_THAT = re.compile(r"\W*(please )?(turn|switch|shut) (that|it) (off|on|down|up)\W*( please)?\W*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answering:
    """Asks each in turn; given to the pipeline as its skills."""

    skills: Skills
    home: HomeIntents | None
    about: About
    talk: ToolTalk | None = None
    chooser: ToolChooser | None = None
    plugins: PluginAnswers | None = None
    strange: Callable[[Ask], Awaitable[Answered | None]] | None = None
    """What is said of a thing that no device is, before a model says something of it."""

    async def __call__(self, ask: Ask) -> Answered | Gathered | None:
        """The first answer there is; a question of a tool that stands has the first word."""
        if self.talk is not None and self.talk.waits(ask) and (taken := await self.talk(ask)) is not None:
            return taken
        if (answered := await self._by_sentence(ask)) is not None:
            return answered
        if self.strange is not None and (answered := await self.strange(ask)) is not None:
            return answered
        return await self.chooser(ask) if self.chooser is not None else None

    async def _by_sentence(self, ask: Ask) -> Answered | Gathered | None:
        """Each in turn. Our plug-ins come before the home, to which "what is on tomorrow" is about lamps."""
        home, plugins = self.home, self.plugins
        first = home is not None and (
            home.waits(ask) or (home.speaks_of_it(ask) and bool(_THAT.fullmatch(ask.text)))
        )
        asked: list[Callable[[Ask], Awaitable[Answered | Gathered | None]]] = []
        asked += [home] if home is not None and first else []
        asked += [self.skills]
        asked += [self.talk] if self.talk is not None else []
        asked += [partial(plugins, own=True)] if plugins is not None else []
        asked += [self.about]
        asked += [home] if home is not None and not first else []
        asked += [partial(plugins, own=False)] if plugins is not None else []
        for one in asked:
            if (answered := await one(ask)) is not None:
                return answered
        return None

    async def ending(self, text: str) -> Ending | None:
        """How finished `text` is as a command: None where it is none, or where a number at its end may go on."""
        found = await self.skills.ending(text)
        if found is None and self.talk is not None:
            found = self.talk.ending(text)
        if found is None and self.plugins is not None:
            found = await self.plugins.ending(text)
        return await self.home.ending(text) if found is None and self.home is not None else found

    async def preview(self, text: str) -> str | None:
        """What a question that only reads would be answered now; "" for what is done, None for what is neither."""
        found = await self.skills.preview(text)
        if found is None and self.talk is not None:
            found = await self.talk.preview(text)
        if found is None and self.plugins is not None and await self.plugins.knows(text):
            found = ""
        return await self.home.preview(text) if found is None and self.home is not None else found


async def answering_of(
    config: Config,
    assistant: Assistant,
    home: Home | None,
    skills: Skills,
    tools: Tools | None = None,
    plugins: Plugins | None = None,
    plans: Plans | None = None,
) -> Answering:
    """What answers in a daemon with these parts; a model chooses actions and tools only where it can."""
    if assistant.intents is None:
        raise ValueError("nobody understands sentences here")
    about = About(assistant.intents, assistant.pipeline.recollection, home)
    router = await anyio.to_thread.run_sync(_router, config, assistant, config.home.tools)
    talk = chooser = plugged = None
    if tools is not None:
        of_tools = await anyio.to_thread.run_sync(_router, config, assistant, config.tools.model)
        talk = ToolTalk(tools, answers_from_text=of_tools is not None)
        chooser = None if of_tools is None else ToolChooser(assistant.parts, of_tools, tools)
        plugged = None if plugins is None else PluginAnswers(assistant.intents, plugins, tools)
    if home is None:
        none = NoHome(assistant.intents) if config.stt.language == "en" else None
        return Answering(skills, None, about, talk, chooser, plugged, none)
    spoken = await anyio.to_thread.run_sync(tongue, config.stt.language)  # the first one reads a file
    understood = HomeIntents(assistant.intents, home, config.home.area, spoken, plans=plans)
    if plans is not None:
        skills.planned = Planned(plans)
    if router is not None:

        async def do(intent: Intent, ask: Ask) -> Answered | None:
            return await about.do(intent, ask) if intent.name == "remember" else await skills.do(intent)

        examples = EXAMPLES if config.home.examples else ()
        understood.asks = config.home.tools_ask
        understood.otherwise = Chooser(assistant.parts, router, home, config.home.area, do, examples)
    return Answering(skills, understood, about, talk, chooser, plugged, understood.strange)


def plans_of(
    assistant: Assistant, home: Home | None, schedule: Schedule, bulletin: Bulletin, mouth: Mouth | None
) -> Plans | None:
    """What takes commands for another time, and is given to the schedule to do them; None without a home."""
    if home is None or assistant.intents is None:
        return None
    plans = Plans(assistant.intents, home, schedule, bulletin)
    schedule.worker = plans.work
    schedule.aloud = None if mouth is None else partial(mouth.say, priority=Priority.REMINDER)
    return plans


def moment_of(config: Config) -> Moment | None:
    """What is said where a device keeps somebody waiting; nothing in a language that has no word for it here."""
    spoken = tongue(config.stt.language)
    if spoken is None and config.stt.language != "en":
        return None
    return Moment("One moment." if spoken is None else spoken.say("moment"), config.home.moment_s)


def may_choose(config: Config, wanted: str) -> bool:
    """Whether the model may choose what is done: as is `wanted`, or by the catalogue's word of it. Reads files."""
    if wanted != "auto":
        return wanted == "on"
    try:
        return open_models(config).catalog[config.model.id].tools >= PROVEN_PERCENT
    except PersLMError:
        return False


def _router(config: Config, assistant: Assistant, wanted: str) -> Router | None:
    """What lets commands through to the model; None where it may not choose. Reads files."""
    if assistant.parts.embed is None or config.plugins.embeds or not may_choose(config, wanted):
        return None  # the router knows the vectors of our own embedder
    try:
        return Router(config.embed.id)
    except PersLMError as error:
        log.warning("no_router reason=%s", error)
        return None
