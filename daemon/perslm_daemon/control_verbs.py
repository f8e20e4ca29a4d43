"""The control socket's own verbs: what the command line needs of a running PersLM and MQTT must not have.

They give whole turns with recorded sound in and out, speech as sound, and memories by the handful. Only who may
read this user's files anyway reaches them (the socket is 0600).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec

from perslm_daemon import engine_calls
from perslm_daemon.memory_views import found_data
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.turn import Ask, Spoken, Tell, Turn, intent_data, timings_data
from perslm_daemon.verbs import Args, Request, Verb, Verbs
from perslm_runtime.audio import Pcm
from perslm_runtime.errors import EngineError, InputError, MemoryStoreError
from perslm_runtime.lane import Lane
from perslm_runtime.memory import Memory
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_forget import Forgotten

AskTurn = Callable[[Ask, Tell], Awaitable[Turn]]
CheckBroker = Callable[[], Awaitable[Mapping[str, Any]]]


async def _no_broker() -> Mapping[str, Any]:
    raise InputError("this PersLM uses no broker: set mqtt.broker")


@dataclass(frozen=True, slots=True)
class SocketRequest(Request):
    """A request with what came after its line: `sound`, 16 kHz mono."""

    sound: Pcm | None = None


class TurnArgs(Args, frozen=True, forbid_unknown_fields=True):
    """A question as `text` or sound, asked in `area`; `speak` asks for the sound of the reply."""

    text: str = ""
    speak: bool = False
    conversation: str = ""
    person: str = "owner"
    area: str = ""


class SpeechArgs(Args, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text whose sound is wanted."""

    text: str


class FactArgs(Args, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fact about or from `person`; a shared one is everybody's."""

    text: str
    person: str = "owner"
    shared: bool = False


class SearchArgs(Args, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to look for, and how many at most."""

    text: str
    k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    person: str = "owner"


class EraseArgs(Args, frozen=True, forbid_unknown_fields=True):
    """Exactly as `perslm memory forget`: ids, or words, a person and times (ISO 8601 with zone), or everything."""

    ids: tuple[int, ...] = ()
    text: str | None = None
    person: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    everything: bool = False


class SocketVerbs:
    """The socket's own verbs over `pipeline`; `turn` runs a turn as the daemon does it (activity, events).

    `voice` names the voice for answers, `check_broker` measures how the broker answers. `hears` and `speaks` say
    which parts are there.
    """

    def __init__(
        self, pipeline: Pipeline, turn: AskTurn, *, voice: str = "", check_broker: CheckBroker = _no_broker
    ) -> None:
        self._pipeline = pipeline
        self._check_broker = check_broker
        self._turn = turn
        self._voice = voice

    @property
    def hears(self) -> bool:
        """Whether recorded sound can be recognized."""
        return self._pipeline.parts.stt is not None

    @property
    def speaks(self) -> bool:
        """Whether text can be spoken."""
        return self._pipeline.parts.tts is not None

    def table(self) -> Verbs:
        """The verbs by name."""
        verbs = (
            Verb("turn", TurnArgs, "a whole turn, with sound in and out", self.turn, needs_model=True),
            Verb("speech", SpeechArgs, "the sound of a text", self.speech),
            Verb("memory.add", FactArgs, "remember a fact", self.add),
            Verb("memory.search", SearchArgs, "find memories by words and meaning", self.search),
            Verb("memory.forget", EraseArgs, "erase memories", self.forget),
            Verb("broker", Args, "how the broker answers", self.broker),
        )
        return Verbs({verb.name: verb for verb in verbs})

    async def turn(self, args: TurnArgs, request: Request, tell: Tell) -> Mapping[str, Any]:
        """One turn; its events go to `tell`."""
        sound = request.sound if isinstance(request, SocketRequest) else None
        if sound is not None and args.text.strip():
            raise InputError("send a text or a recording, not both")
        wanted = Ask(
            args.text,
            sound,
            speak=args.speak,
            conversation=args.conversation,
            person=args.person,
            vouched=True,
            source="socket",
            area=args.area,
        )
        return turn_data(await self._turn(wanted, tell))

    async def speech(self, args: SpeechArgs, _request: Request, tell: Tell) -> Mapping[str, Any]:
        """Tell the sound of a text, piece by piece."""
        tts = self._pipeline.parts.tts
        if tts is None:
            raise EngineError("this process has no voice: set voice.enabled=true")
        seconds = 0.0
        async with tts.stream(engine_calls.speak, args.text) as sounds:
            async for sound in sounds:
                seconds += sound.seconds
                await tell(Spoken(0, sound))
        return {"voice": self._voice, "seconds": round(seconds, 3)}

    async def add(self, args: FactArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Remember a fact durably."""
        if not args.text.strip():
            raise InputError("there is nothing to remember: give a sentence")
        fact = await self._pipeline.recollection.remember(args.text, args.person, shared=args.shared)
        return {"id": fact, "with_vector": self._pipeline.parts.embed is not None}

    async def search(self, args: SearchArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Memories, best first, with their scores and why they were found."""
        memory = self._memory()
        _, vector = await self._pipeline.recollection.looking(args.text, args.person)

        def look(store: Memory, _stop: object) -> list[dict[str, Any]]:
            return found_data(store.search(args.text, vector=vector, k=args.k, person=args.person))

        return {"memories": await memory.call(look)}

    async def forget(self, args: EraseArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Erase memories, from the running conversation too."""
        wanted = Wanted(args.ids, args.text, args.person, args.since, args.until, args.everything)
        return forgotten_data(await self._pipeline.forget(wanted))

    async def broker(self, _args: Args, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """How quickly the broker answers, and what protects it, on a connection of its own."""
        return await self._check_broker()

    def _memory(self) -> Lane[Memory]:
        if self._pipeline.parts.memory is None:
            raise MemoryStoreError("the memory is switched off: set memory.enabled=true")
        return self._pipeline.parts.memory


def forgotten_data(done: Forgotten) -> dict[str, Any]:
    """A receipt as `memory.forget` answers it and `perslm memory forget --json` prints it."""
    return {
        "forgotten": done.count,
        "ids": list(done.ids),
        "at": done.at.isoformat(),
        "claims": done.claims,
        "summaries": done.summaries,
        "erased_in": list(done.erased_in),
        "deleted": list(done.deleted),
        "files": list(done.files),
        "beyond": list(done.beyond),
    }


def turn_data(turn: Turn) -> dict[str, Any]:
    """A turn as the verb `turn` answers it and `perslm ask --json` prints it."""
    return {
        "turn": turn.id,
        "heard": turn.heard,
        "reply": turn.reply,
        "recalled": [
            {"id": memory.id, "text": memory.text, "score": round(memory.score, 3), "why": memory.why}
            for memory in turn.recalled
        ],
        "model": turn.model,
        "intent": intent_data(turn),
        "timings_ms": timings_data(turn.timings),
        "remembered_as": turn.remembered_as,
        "interrupted": turn.interrupted,
        "problems": list(turn.problems),
    }
