"""A turn as data: what is asked, what happens, what came of it, and the one line that is logged of it.

Knows no engine call; pipeline.py runs turns.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy import float32
from numpy.typing import NDArray

from perslm_runtime.audio import Pcm
from perslm_runtime.context import draws_on
from perslm_runtime.embed_static import AnyEmbedder
from perslm_runtime.errors import InputError
from perslm_runtime.intent import Intent, slots_data
from perslm_runtime.lane import Lane
from perslm_runtime.memory import Memory, Recalled
from perslm_runtime.model import ChatModel, ReplyEnd
from perslm_runtime.stt import SpeechToText
from perslm_runtime.tts import Piper

log = logging.getLogger("perslm.turn")

GUEST = "(guest)"
"""Who asks where nobody is known: no configuration can name a person so. Nothing is recalled for a guest and
nothing remembered, and a guest may not unlock, disarm or open anything."""

Vector = NDArray[float32]


_SPOKEN = ("voice", "satellite", "wyoming")


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants: `text`, or `sound` to be recognized. `speak` asks for audio events.

    `conversation` names a conversation to go on with; "" is this process's own. `source` is the way it came in by,
    for the log ("mqtt", "socket", "wyoming", "satellite", "cli", "demo"); `turn` is the id of its turn. `vouched`
    says that the way in knows who `person` is.
    for the log ("mqtt", "socket", "wyoming", "satellite", "cli", "demo"); `area` the room it was said in, ""
    where the configuration knows that; `turn` is the id of its turn.
    """

    text: str = ""
    sound: Pcm | None = None
    speak: bool = False
    conversation: str = ""
    person: str = "owner"
    vouched: bool = False
    source: str = "local"
    area: str = ""
    turn: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    @property
    def goes_first(self) -> bool:
        """Whether somebody waits who has spoken: before programs, and they give way."""
        return self.speak or self.sound is not None or self.source in _SPOKEN


@dataclass(frozen=True, slots=True)
class Heard:
    """The sound was recognized as `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was recalled for this turn, best first."""

    memories: tuple[Recalled, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the reply, as written; `seq` counts from 0."""

    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """The sound of sentence `seq`; long sentences come in several pieces."""

    seq: int
    sound: Pcm


@dataclass(frozen=True, slots=True)
class Told:
    """The reply that was asked for aloud is complete. Who plays it returns once it was heard: until then an
    interrupt still counts."""


@dataclass(frozen=True, slots=True)
class Partial:
    """What is heard so far; it may still change."""

    text: str


Event = Heard | Remembered | Sentence | Spoken | Told | Partial
Tell = Callable[[Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Done:
    """What came of one intent about the home: the devices it meant, and how that ended.

    `outcome` is done, partly, failed, told (nobody reports back), asked (it waits for a yes), planned (for another
    time), unclear, nothing, forbidden or answered.
    """

    intent: Intent
    targets: tuple[str, ...] = ()
    outcome: str = "done"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a skill answered to an intent; "" says nothing, as after "stop". `done` has each of several.

    `source` names the tools that the text is from.
    """

    intent: Intent
    text: str
    done: tuple[Done, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What tools have read for a question that the model is to answer, each piece with its source."""

    intent: Intent
    pieces: tuple[Recalled, ...]
    source: str


Skills = Callable[[Ask], Awaitable[Answered | Gathered | None]]
"""What is asked before the model: its answer, what it gathered for it, or None where the model has all to do."""
Preview = Callable[[str], Awaitable[str | None]]
"""What would be answered now: "" where something would be done for it, None where it is the model's."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds of one turn; None where it did not happen.

    `stt`, `intent` (finding it and doing it) and `recall` are durations. `first_token`, `first_sentence` and
    `first_audio` count since the text was known (after `stt`), `total` from the ask to the remembered reply.
    """

    stt: float | None = None
    intent: float | None = None
    recall: float | None = None
    first_token: float | None = None
    first_sentence: float | None = None
    first_audio: float | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A finished turn. `problems` are sentences about what did not work although there is a reply.

    `intent` is what a skill answered, without the model; None for a reply of the model.
    """

    id: str
    heard: str
    reply: str
    recalled: tuple[Recalled, ...]
    model: str
    timings: Timings
    interrupted: bool = False
    remembered_as: int | None = None
    problems: tuple[str, ...] = ()
    end: ReplyEnd | None = None
    intent: Intent | None = None
    done: tuple[Done, ...] = ()


@dataclass(slots=True)
class Parts:
    """The engines a pipeline works with, each in its lane; None where this process has none of the kind."""

    model: Lane[ChatModel]
    memory: Lane[Memory] | None = None
    embed: Lane[AnyEmbedder] | None = None
    stt: Lane[SpeechToText] | None = None
    tts: Lane[Piper] | None = None


@dataclass(slots=True)
class Progress:
    """The turn while it runs. One that is `traceless` is not remembered, and what was heard is told nobody."""

    ask: Ask
    tell: Tell
    began: float
    known: float = 0.0
    timings: Timings = field(default_factory=Timings)
    recalled: tuple[Recalled, ...] = ()
    vector: Vector | None = None
    reply: str = ""
    end: ReplyEnd | None = None
    intent: Intent | None = None
    traceless: bool = False
    gathered: tuple[Recalled, ...] = ()
    source: str = ""
    said: int = 0
    """How many sentences were told."""

    done: tuple[Done, ...] = ()
    problems: list[str] = field(default_factory=list)

    def since_known_ms(self) -> float:
        """Milliseconds since the question's text was known."""
        return (time.perf_counter() - self.known) * 1000


def timings_data(timings: Timings) -> dict[str, float | None]:
    """Milliseconds by name, rounded to tenths."""
    named = {
        "stt": timings.stt,
        "intent": timings.intent,
        "recall": timings.recall,
        "first_token": timings.first_token,
        "first_sentence": timings.first_sentence,
        "first_audio": timings.first_audio,
        "total": timings.total,
    }
    return {name: None if value is None else round(value, 1) for name, value in named.items()}


def intent_data(turn: Turn) -> dict[str, Any] | None:
    """The (first) intent that was answered; None for a reply of the model."""
    return next(iter(intents_data(turn)), None)


def intents_data(turn: Turn) -> list[dict[str, Any]]:
    """Every intent that was answered, by name and slots; of those about the home also devices and outcome."""
    if turn.done:
        return [
            {
                "name": one.intent.name,
                "slots": slots_data(one.intent),
                "targets": list(one.targets),
                "outcome": one.outcome,
            }
            for one in turn.done
        ]
    return [] if turn.intent is None else [{"name": turn.intent.name, "slots": slots_data(turn.intent)}]


def without_echoes(found: Sequence[Recalled]) -> tuple[Recalled, ...]:
    """What was recalled, less the turns that only say a recalled fact again ("remember that ...")."""
    facts = [memory.text.strip(" .").lower() for memory in found if memory.kind == "fact"]
    return tuple(
        memory
        for memory in found
        if memory.kind == "fact" or not any(fact in memory.text.lower() for fact in facts)
    )


def source_sentence(question: str, reply: str, recalled: Sequence[Recalled]) -> str:
    """The sentence that names the document which a reply draws on, with the place in it; "" for none.

    A small model is told where a piece is from and seldom says it, so it is said after the reply.
    """
    pieces = (memory for memory in recalled if memory.kind == "chunk")
    found = next((memory for memory in pieces if draws_on(reply, question, memory.text)), None)
    return "" if found is None or found.source in reply else f"That is in {found.source}."


def log_failed(ask: Ask, error: BaseException) -> None:
    """The line of a turn that failed. A bug's own log has its traceback."""
    level = logging.INFO if isinstance(error, InputError) else logging.ERROR
    log.log(level, "turn=%s source=%s failed=%s", ask.turn, ask.source, type(error).__name__)


def log_turn(turn: Turn, source: str) -> None:
    """One line per turn: sizes and times, never the words. `source` is the way it came in by."""
    times = turn.timings
    end = turn.end
    log.info(
        "turn=%s source=%s intent=%s heard_chars=%d reply_chars=%d recalled=%d interrupted=%s"
        " stt_ms=%s intent_ms=%s recall_ms=%s first_token_ms=%s first_audio_ms=%s total_ms=%s"
        " prefilled=%s reused=%s generated=%s problems=%d",
        turn.id,
        source,
        None if turn.intent is None else turn.intent.name,
        len(turn.heard),
        len(turn.reply),
        len(turn.recalled),
        turn.interrupted,
        *(
            None if value is None else round(value)
            for value in (times.stt, times.intent, times.recall, times.first_token, times.first_audio, times.total)
        ),
        *((end.prefilled_tokens, end.reused_tokens, end.generated_tokens) if end else (None, None, None)),
        len(turn.problems),
    )


def only_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error in a task group's exception group; the group itself when there are several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def ms_since(began: float) -> float:
    """Milliseconds since a `time.perf_counter()`."""
    return (time.perf_counter() - began) * 1000
