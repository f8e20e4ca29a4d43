"""What the verbs do: ask, say, stop, timer, remember, recall, forget, status, model, config, restart.

Each is a few lines over the pipeline; later capabilities add theirs. A verb whose part is missing stays out of the
table, with the reason that its error gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import anyio
import anyio.to_thread
import msgspec

from perslm_daemon.app import Assistant
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.changes import Changes
from perslm_daemon.config_sections import Config
from perslm_daemon.config_verb import ConfigArgs, ConfigVerb
from perslm_daemon.home import Home
from perslm_daemon.home_verbs import DeviceArgs, DevicesArgs, HomeArgs, HomeVerbs
from perslm_daemon.live import Live
from perslm_daemon.llms import llms
from perslm_daemon.memory_verb import ForgetArgs, MemoryArgs, MemoryVerbs, RecallArgs, RememberArgs
from perslm_daemon.mouth import Mouth
from perslm_daemon.notify import Notifications
from perslm_daemon.notify_verb import NotifyArgs, notify
from perslm_daemon.plugins import Plugins
from perslm_daemon.plugins_verb import PluginArgs, PluginsArgs, plugin, plugins
from perslm_daemon.schedule import Schedule
from perslm_daemon.share_verb import ShareArgs, share
from perslm_daemon.sharing import Sharing
from perslm_daemon.sync_verb import SyncArgs, sync
from perslm_daemon.timer_verb import TimerArgs, timer
from perslm_daemon.tools import Tools
from perslm_daemon.tools_verb import ApproveArgs, ToolsArgs, ToolVerbs
from perslm_daemon.turn import (
    GUEST,
    Ask,
    Event,
    Heard,
    Sentence,
    Spoken,
    Tell,
    Told,
    Turn,
    intent_data,
    intents_data,
    timings_data,
)
from perslm_daemon.updates import Updates
from perslm_daemon.utterance import Priority
from perslm_daemon.verbs import Args, Request, TextArgs, Verb, Verbs
from perslm_runtime import __version__
from perslm_runtime.errors import BusyError, DeviceError, InputError, PersLMError
from perslm_runtime.memory_prune import Budget

_LONGEST_ROOM = 80
_NO_VOICE = "there is no voice: set voice.enabled=true, or see `perslm status` for why it did not start"


class AskArgs(TextArgs, frozen=True, forbid_unknown_fields=True):
    """`speak` plays the answer here; `person` is a hint that opens nothing private.

    `area` is the room it was said in, "" for this board's.
    """

    speak: bool = False
    conversation: str = ""
    person: str | None = None
    area: str = ""


class SayArgs(TextArgs, frozen=True, forbid_unknown_fields=True):
    """`priority` orders what waits to be said."""

    priority: Literal["answer", "reminder", "alarm"] = "answer"


class ModelArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`info` tells of the model in use, `list` of those on this disk, `use` changes to the one called `id`."""

    action: Literal["info", "list", "use"] = "info"
    id: str | None = None


@dataclass(slots=True)
class Table:
    """The verbs' common ground: what runs, and how to ask for a restart."""

    assistant: Assistant
    config: Config
    bulletin: Bulletin
    restart: Callable[[], None]
    changes: Changes
    mouth: Mouth | None
    started: float
    schedule: Schedule | None = None
    """Timers, alarms and reminders; None in a process that answers once."""
    live: Live | None = None
    """The voice loop, where somebody can be heard; set once it runs, before the verbs are asked for."""
    home: Home | None = None
    updates: Updates | None = None
    sharing: Sharing | None = None
    tools: Tools | None = None
    notifications: Notifications | None = None
    plugins: Plugins | None = None

    def verbs(self) -> Verbs:
        """All verbs whose part is there."""
        config = ConfigVerb(self.config, self.changes).config
        table = [
            Verb("status", Args, "how the daemon is", self.status),
            Verb("ask", AskArgs, "answer a question", self.ask, needs_model=True, changes_world=True),
            Verb("stop", Args, "end the reply that is being given", self.stop),
            Verb("model", ModelArgs, "tell of the language models, or change to another", self.model),
            Verb("config", ConfigArgs, "tell or change the configuration in force", config),
            Verb("timer", TimerArgs, "timers, alarms and reminders", self.timer, changes_world=True),
            Verb("restart", Args, "start the engines anew", self.start_again, changes_world=True),
        ]
        absent: dict[str, str] = {}
        if self.assistant.parts.memory is not None:
            budget = Budget(self.config.memory.most_rows, self.config.memory.most_mb)
            kept = MemoryVerbs(self.assistant.pipeline, self.config.person, budget)
            table += [
                Verb("remember", RememberArgs, "remember a fact", kept.remember, changes_world=True),
                Verb("recall", RecallArgs, "find memories", kept.recall),
                Verb("forget", ForgetArgs, "erase memories", kept.forget, changes_world=True),
                Verb("memory", MemoryArgs, "look at the memory and tend it", kept.memory),
            ]
        else:
            absent |= dict.fromkeys(
                ("remember", "recall", "forget", "memory"), "the memory is off or did not start"
            )
        if self.speaks:
            table.append(Verb("say", SayArgs, "speak a text", self.say, changes_world=True))
        else:
            absent["say"] = _NO_VOICE
        if self.live is not None:
            about = "hear one question without the wake word, and answer it aloud"
            table.append(Verb("listen", Args, about, self.listen, changes_world=True))
        else:
            absent["listen"] = "there are no ears: set voice.enabled=true, or see `perslm status`"
        if self.home is not None:
            works = HomeVerbs(self.home)
            table += [
                Verb("devices", DevicesArgs, "tell of the devices in the home", works.devices),
                Verb("device", DeviceArgs, "do something with devices", works.device, changes_world=True),
                Verb("home", HomeArgs, "name, confirm, take back", works.home, changes_world=True),
            ]
        else:
            absent |= dict.fromkeys(("devices", "device", "home"), "home.enabled is false")
        if self.updates is not None:
            table.append(Verb("sync", SyncArgs, "models from the training host", self.sync, changes_world=True))
        else:
            absent["sync"] = "only the running daemon takes models"
        if self.sharing is not None:
            about = "what goes to the training host of what somebody said"
            table.append(Verb("share", ShareArgs, about, self.share, changes_world=True))
        else:
            absent["share"] = "only the running daemon with a memory has examples"
        self._add_tools(table, absent)
        return Verbs({verb.name: verb for verb in table}, absent)

    def _add_tools(self, table: list[Verb], absent: dict[str, str]) -> None:
        if self.tools is not None:
            by_hand = ToolVerbs(self.tools, self.assistant.pipeline.recollection, self.config.person, self.home)
            table += [
                Verb("tools", ToolsArgs, "tell of the tools, call one", by_hand.tools, changes_world=True),
                Verb("approve", ApproveArgs, "answer what waits for a yes", by_hand.approve, changes_world=True),
            ]
            table.append(Verb("plugins", PluginsArgs, "tell of the plug-ins", self.plug_ins))
            table.append(Verb("plugin", PluginArgs, "look at a plug-in, let it run or no more", self.plug_in))
        else:
            absent |= dict.fromkeys(("tools", "approve", "plugins", "plugin"), "only the running daemon has tools")
        if self.notifications is not None:
            table.append(Verb("notify", NotifyArgs, "tell something", self.notify, changes_world=True))
        else:
            absent["notify"] = "notify.enabled is false"

    @property
    def speaks(self) -> bool:
        """Whether there is a voice; a loudspeaker may come and go."""
        return self.mouth is not None and self.assistant.parts.tts is not None

    async def status(self, _args: Args, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """State, node, version, uptime, models and what is degraded."""
        values = self.bulletin.current()
        return {
            "state": values.get("activity", "idle"),
            "node": self.config.node,
            "version": __version__,
            "uptime_s": round(time.monotonic() - self.started, 1),
            **{name: values[name] for name in ("broker", "http") if name in values},
            "models": {
                report.part: report.file.parent.name if report.file else report.name
                for report in self.assistant.reports
                if report.part != "memory"
            },
            "degraded": [{"part": one.part, "reason": one.reason} for one in self.assistant.missing],
            "health": values.get("health", {}),
            **({"sound": values["sound"]} if "sound" in values else {}),
        }

    async def ask(self, args: AskArgs, request: Request, tell: Tell) -> Mapping[str, Any]:
        """One turn; its events go to `tell`, its state to the bulletin."""
        vouched = request.person is not None or request.source == "socket"
        speak = args.speak and self.speaks
        wanted = Ask(
            args.text,
            speak=speak,
            conversation=args.conversation,
            person=request.person or self.config.person,
            vouched=vouched,
            source=request.source,
            area=args.area[:_LONGEST_ROOM],
        )
        done = await (self.turn_aloud(wanted, tell) if speak else self.turn(wanted, tell))
        if args.speak and not speak:
            done = replace(done, problems=(*done.problems, f"the reply could not be spoken: {_NO_VOICE}"))
        return ask_data(done)

    async def turn_by_voice(self, wanted: Ask, tell: Tell) -> Turn:
        """As `turn_aloud`, for the voice loop, which tells the activity itself."""
        return await self.turn_aloud(wanted, tell, tells_activity=False)

    async def turn_aloud(self, wanted: Ask, tell: Tell, *, tells_activity: bool = True) -> Turn:
        """Run a turn whose reply is said on this machine while it is made; returns when it was heard.

        Until then an interrupt counts. A loudspeaker that is not there is a problem of the turn, and the reply
        comes all the same.
        """
        if self.mouth is None:
            raise InputError(_NO_VOICE)
        words: dict[int, str] = {}
        done: Turn | None = None
        try:
            async with self.mouth.reply() as reply:

                async def told(event: Event) -> None:
                    await tell(event)
                    if isinstance(event, Sentence):
                        words[event.seq] = event.text
                    elif isinstance(event, Spoken):
                        await reply.take(event.sound, words.pop(event.seq, ""))
                    elif isinstance(event, Told):
                        await reply.heard()

                with self.mouth.thinking():
                    done = await self.turn(wanted, told, tells_activity=tells_activity)
        except DeviceError as error:
            if done is None:
                raise
            problem = f"the reply could not be spoken: {error}"
            if problem not in done.problems:
                done = replace(done, problems=(*done.problems, problem))
                self.bulletin.tell("warning", message=problem)
        return done

    async def turn(self, wanted: Ask, tell: Tell, *, tells_activity: bool = True) -> Turn:
        """Run a turn and keep the bulletin up to date."""
        pipeline, bulletin = self.assistant.pipeline, self.bulletin
        recollection = pipeline.recollection
        asker = recollection.asker(wanted.person, vouched=wanted.vouched)
        leaves_words = asker != GUEST and recollection.remembering

        async def told(event: Event) -> None:
            if isinstance(event, Sentence) and tells_activity:
                bulletin.post("activity", "responding")
            elif isinstance(event, Heard) and leaves_words:
                self._heard(event.text)
            await tell(event)

        if tells_activity:
            bulletin.post("activity", "processing")
        if wanted.text and leaves_words:
            self._heard(wanted.text)
        try:
            done = await pipeline.ask(wanted, told)
        except (InputError, BusyError):  # whoever asked is told, and nothing is wrong here
            raise
        except PersLMError as error:
            bulletin.tell("error", message=str(error), turn=wanted.turn)
            raise
        except Exception as error:
            bulletin.tell("error", message=f"this is a bug in PersLM ({type(error).__name__})", turn=wanted.turn)
            raise
        finally:
            if tells_activity:
                bulletin.post("activity", self.live.state.value if self.live else "idle")
        if leaves_words:  # both are retained on the broker
            bulletin.post("last_reply", done.reply)
        bulletin.post("latency_ms", round(_latency_ms(done)))
        for intent in intents_data(done):
            bulletin.tell("intent", turn=done.id, **intent)
        bulletin.tell("interrupted" if done.interrupted else "reply", turn=done.id)
        for problem in done.problems:
            bulletin.tell("warning", message=problem)
        if self.updates is not None:
            await self.updates.saw(done)
        if self.sharing is not None:
            self.sharing.saw(replace(wanted, person=asker), done)
        return done

    def _heard(self, text: str) -> None:
        self.bulletin.post("last_heard", text)
        self.bulletin.tell("heard", text=text)

    async def stop(self, _args: Args, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Interrupt the running turn, what is being said, and what rings."""
        stopped = self.assistant.pipeline.interrupt()
        stopped = (self.schedule is not None and bool(await self.schedule.stop())) or stopped
        mouth = self.live.stop if self.live is not None else self.mouth.silence if self.mouth is not None else None
        silenced = mouth is not None and mouth()
        return {"turn": None, "stopped": stopped or silenced}

    async def listen(self, _args: Args, _request: Request, tell: Tell) -> Mapping[str, Any]:
        """Listen once; answers with the turn when it was heard."""
        if self.live is None:
            raise InputError("there are no ears: set voice.enabled=true, or see `perslm status`")
        return ask_data(await self.live.listen(tell))

    async def timer(self, args: TimerArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Set, list, pause, resume, cancel and snooze timers, alarms and reminders."""
        if self.schedule is None:
            raise InputError("no process of PersLM runs that could ring: start it with `perslm run`")
        return await timer(self.schedule, args)

    async def say(self, args: SayArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Speak a text through the loudspeaker; answers when it was said."""
        if not args.text.strip():
            raise InputError("there is nothing to say: send a text")
        if self.mouth is None:
            raise InputError(_NO_VOICE)
        return {"spoken_ms": round(await self.mouth.say(args.text, Priority[args.priority.upper()]) * 1000)}

    async def model(self, args: ModelArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """The language model in use, those that could be, or a change to another of them."""
        if args.action == "list":
            found = await anyio.to_thread.run_sync(llms, self.config)
            in_use = self.config.model.id
            return {"models": [{**msgspec.to_builtins(one), "in_use": one.id == in_use} for one in found]}
        if args.action == "use":
            if not args.id:
                raise InputError("which model? Send its id; the action list tells those on this disk")
            return {"id": args.id, "changing": await self.use_model(args.id)}

        def info(engine: Any, _stop: object) -> dict[str, Any]:
            return {"description": engine.description, "head_tokens": engine.head_tokens}

        return {"id": self.config.model.id, **await self.assistant.parts.model.call(info)}

    async def use_model(self, model_id: str) -> bool:
        """Change to a model on this disk; False where it is in use already. All else goes on while it loads.

        Raises `InputError` for one that is not here or does not fit this board.
        """
        if model_id == self.config.model.id:
            return False
        found = {one.id: one for one in await anyio.to_thread.run_sync(llms, self.config)}
        if model_id not in found:
            raise InputError(
                f"there is no language model {model_id[:80]!r} on this disk: here are {', '.join(found)}; "
                "`perslm models pull ID` fetches another"
            )
        if found[model_id].problem:
            raise InputError(found[model_id].problem)
        if not found[model_id].fits:
            raise InputError(
                f"{model_id} would take {found[model_id].needs_mb:.0f} MB with all else, and board.budget_mb "
                f"allows {self.config.board.budget_mb}"
            )
        await self.changes.set("model.id", model_id)
        return True

    async def plug_ins(self, args: PluginsArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Which plug-ins run, and how they are."""
        return await plugins(self.config, self.plugins, args)

    async def plug_in(self, args: PluginArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """One plug-in: what it would bring, and whether it runs."""
        return await plugin(self.config, self.changes, args, request)

    async def notify(self, args: NotifyArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Tell something, or what was told."""
        return await notify(self.notifications, args)

    async def sync(self, args: SyncArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """What the training host offers, and what became of it."""
        if self.updates is None:
            raise InputError("only the running daemon takes models")
        return await sync(self.updates, args)

    async def share(self, args: ShareArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """What somebody lets go to the training host."""
        if self.sharing is None:
            raise InputError("only the running daemon with a memory has examples")
        return await share(self.sharing, self.changes, self.config.person, args, request)

    async def start_again(self, _args: Args, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Answer first, then start the engines anew."""
        self.restart()
        return {"restarting": True}


def ask_data(turn: Turn) -> dict[str, Any]:
    """A turn as the verb `ask` answers it."""
    return {
        "turn": turn.id,
        "text": turn.reply,
        "heard": turn.heard,
        "recalled": [
            {"id": memory.id, "text": memory.text, "score": round(memory.score, 3)} for memory in turn.recalled
        ],
        "model": turn.model,
        "intent": intent_data(turn),
        "timings_ms": timings_data(turn.timings),
        "interrupted": turn.interrupted,
        "problems": list(turn.problems),
    }


def _latency_ms(turn: Turn) -> float:
    """Milliseconds until the answer began to be heard or, unspoken, to be there."""
    times = turn.timings
    return times.first_audio or times.first_token or times.intent or 0.0
