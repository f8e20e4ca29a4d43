"""The mouth: what is to be said, in order of what matters, sentence by sentence without gaps, until silenced.

One thing is said at a time. An alarm cuts off what is less; a reminder waits for the end of what is being said and
goes before waiting answers; of the same kind, who came first is first. What was cut off does not come back. Owns
no device and no engine: it is handed a speaker and the voice's lane.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskGroup, TaskStatus

from perslm_daemon import chimes, engine_calls
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.chimes import Chime
from perslm_daemon.config_sections import Mouth as Wanted
from perslm_daemon.sound import Speaker
from perslm_daemon.sound_server import OtherStreams
from perslm_daemon.utterance import Kind, Played, Priority, Reply, Utterance
from perslm_runtime.errors import BusyError, DeviceError, EngineError, PersLMError
from perslm_runtime.lane import Lane
from perslm_runtime.sentences import SentenceSplitter
from perslm_runtime.spoken import speakable
from perslm_runtime.tts import Piper

log = logging.getLogger("perslm.mouth")

_MOST_WAITING = 32
_AHEAD_S = 4.0  # of speech that is made before it is needed; the rest of a long text waits, and the voice is free
_LATELY_S = 10.0
_CHIMES_KEPT = 8
_OTHERS_AFTER_S = 0.7  # others get louder again only when nothing follows: no pumping between two sentences


class Mouth:
    """Speaks with `voice` through `speaker`; `run` has to run beside everything else.

    `volume` (0 to 1) may be set at any time. All methods belong to one event loop.
    """

    def __init__(
        self,
        voice: Lane[Piper] | None,
        speaker: Speaker,
        wanted: Wanted,
        bulletin: Bulletin,
        *,
        others: OtherStreams | None = None,
    ) -> None:
        self._voice, self._speaker, self._wanted, self._bulletin = voice, speaker, wanted, bulletin
        self._others = others
        self._volume = wanted.volume
        self._ducks = 0
        self._numbers = 0
        self._waiting: list[Utterance] = []
        self._current: Utterance | None = None
        self._tasks: TaskGroup | None = None
        self._queued = anyio.Event()
        self._loudness = anyio.Event()
        self._said: deque[tuple[float, str]] = deque(maxlen=64)
        self._chimes: deque[Played] = deque(maxlen=_CHIMES_KEPT)

    @property
    def volume(self) -> float:
        """Loudness, 0 to 1."""
        return self._volume

    @volume.setter
    def volume(self, value: float) -> None:
        self._volume = min(1.0, max(0.0, value))
        self._set_gain()

    @property
    def speaking(self) -> bool:
        """Whether words are being said now; chimes are none."""
        return self._current is not None and self._current.kind is Kind.VOICE

    def said_lately(self) -> str:
        """The words whose saying began in the last ten seconds, or that are being said: our own echo."""
        since = time.monotonic() - _LATELY_S
        now = [] if self._current is None else self._current.words
        return " ".join([words for at, words in self._said if at >= since] + [words for _, words in now])

    def chimes_since(self, at: float) -> list[Played]:
        """Chimes that were to be heard at or after `at`: they are in what the microphone gave since then."""
        return [played for played in self._chimes if played.until >= at]

    # What is said

    async def say(self, text: str, priority: Priority = Priority.ANSWER) -> float:
        """Say a text; returns the seconds that were heard, 0.0 when it was silenced or cut off.

        Raises `DeviceError` without a loudspeaker, `EngineError` without a voice, `BusyError` when 32 things wait.
        Cancelling it ends it.
        """
        voice = self._voice
        if voice is None:
            raise EngineError("there is no voice: set voice.enabled=true, or see `perslm status`")
        async with self._uttered(priority, Kind.VOICE) as utterance:
            for part in _parts(text):
                # The voice's lane is never held while this waits: another's sentence may be what it waits for.
                async with voice.stream(engine_calls.speak, part) as sounds:
                    words = part
                    async for sound in sounds:
                        utterance.put(sound, words)
                        words = ""
                        self._offer(utterance)
                await utterance.until_queued(_AHEAD_S)
                if utterance.done.is_set():
                    break
        return 0.0 if utterance.interrupted else utterance.heard_s

    @asynccontextmanager
    async def reply(self, priority: Priority = Priority.ANSWER) -> AsyncIterator[Reply]:
        """Say what `take` is given, from the first piece on; leaving the block waits until it was heard.

        Leaving it by an error or a cancellation ends it. Raises `DeviceError` where it could not be heard.
        """
        async with self._uttered(priority, Kind.VOICE) as utterance:
            yield Reply(utterance, self._offer)

    async def ring(self, text: str) -> None:
        """Ring once: the timer's chime, then what it is, before everything else; without a voice the chime alone.

        Raises `DeviceError` without a loudspeaker.
        """
        await self.chime(Chime.TIMER, Priority.ALARM)
        if self._voice is not None:
            await self.say(text, Priority.ALARM)

    async def chime(self, kind: Chime, priority: Priority | None = None) -> Played | None:
        """Play a chime and return what was heard and when; None where they are switched off or it was cut off.

        WAKE cuts off what is being said, as an alarm does; the others wait their turn, unless `priority` says
        otherwise. Raises `DeviceError`.
        """
        if not self._wanted.chimes:
            return None
        if priority is None:
            priority = Priority.ALARM if kind is Chime.WAKE else Priority.ANSWER
        sound = chimes.chime(kind)
        async with self._uttered(priority, Kind.CHIME) as utterance:
            utterance.put(sound)
        if utterance.interrupted:
            return None
        played = Played(kind, utterance.began_at + self._speaker.latency_s, sound)
        self._chimes.append(played)
        return played

    @contextmanager
    def thinking(self) -> Iterator[None]:
        """While the block runs, make a soft sound after `mouth.thinking_after_s`, until something is said."""
        scope = anyio.CancelScope()
        if self._wanted.chimes and self._wanted.thinking_after_s and self._tasks is not None:
            self._tasks.start_soon(self._think_aloud, scope)
        try:
            yield
        finally:
            scope.cancel()

    def silence(self) -> bool:
        """End what is being said, at once, and drop answers that wait; False for nothing.

        Reminders and alarms that wait still come: whoever says "stop" means what is to be heard.
        """
        ended = False
        for utterance in [*self._waiting, *([self._current] if self._current else [])]:
            if utterance is self._current or utterance.priority <= Priority.ANSWER:
                ended = ended or utterance.kind is not Kind.THINKING
                utterance.interrupted = True
                utterance.scope.cancel()
                if utterance is not self._current:
                    self._waiting.remove(utterance)
                    utterance.end(interrupted=True)
        return ended

    @contextmanager
    def ducked(self) -> Iterator[None]:
        """While the block runs, speech is softer, and so are other programs; somebody is listened to."""
        self._ducks += 1
        self._set_gain()
        try:
            yield
        finally:
            self._ducks -= 1
            self._set_gain()

    # In order

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Say what comes until cancelled."""
        try:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._attend_others)
                task_status.started()
                while True:
                    utterance = self._first()
                    if utterance is None:
                        await self._queued.wait()
                    else:
                        await self._utter(utterance)
        finally:
            self._tasks = None
            for utterance in self._waiting:
                utterance.end(interrupted=True)
            self._waiting.clear()

    @asynccontextmanager
    async def _uttered(self, priority: Priority, kind: Kind) -> AsyncIterator[Utterance]:
        """An utterance that is filled in the block; leaving it waits for its end, leaving by an error ends it."""
        if self._tasks is None:
            raise DeviceError("the mouth is closed: PersLM is stopping")
        if len(self._waiting) >= _MOST_WAITING:
            raise BusyError(f"{_MOST_WAITING} things wait to be said already: try again in a moment")
        self._numbers += 1
        utterance = Utterance(priority, kind, self._numbers)
        self._waiting.append(utterance)
        try:
            yield utterance
            utterance.close()
            self._offer(utterance)
            await utterance.done.wait()
        finally:
            if utterance in self._waiting:
                self._waiting.remove(utterance)
                utterance.end(interrupted=True)
            utterance.scope.cancel()
        if utterance.error is not None:
            raise utterance.error

    def _offer(self, utterance: Utterance) -> None:
        """Let the runner know that `utterance` has something; it cuts off what an alarm, or any speech, may."""
        current = self._current
        cuts = current is not None and utterance in self._waiting and utterance.priority > current.priority
        if (
            current is not None
            and cuts
            and (utterance.priority is Priority.ALARM or current.kind is Kind.THINKING)
        ):
            current.scope.cancel()
        self._queued.set()
        self._queued = anyio.Event()

    def _first(self) -> Utterance | None:
        """What is to be said next; what has no sound yet holds nobody up."""
        ready = [utterance for utterance in self._waiting if utterance.ready]
        return min(ready, key=lambda one: (-one.priority, one.number), default=None)

    async def _utter(self, utterance: Utterance) -> None:
        self._waiting.remove(utterance)
        if utterance.empty:
            utterance.end(interrupted=False)
            return
        self._current = utterance
        self._set_gain()
        over = False
        aloud = utterance.kind is Kind.VOICE
        if aloud:
            self._bulletin.tell("tts_speaking", priority=utterance.priority.name.lower())
        try:
            with utterance.scope:
                utterance.heard_s = await self._speaker.play(utterance.sounds())
            utterance.interrupted = utterance.interrupted or utterance.scope.cancelled_caught
            over = True
        except PersLMError as error:
            log.warning("not_said error=%s", type(error).__name__)
            utterance.error = error
            over = True
        finally:
            self._current = None
            self._said.extend(utterance.words)
            utterance.end(interrupted=not over)
            self._set_gain()
            if aloud:
                self._bulletin.tell(
                    "tts_finished", seconds=round(utterance.heard_s, 2), interrupted=utterance.interrupted
                )

    async def _think_aloud(self, scope: anyio.CancelScope) -> None:
        with scope, suppress(PersLMError):  # the answer itself will tell that there is no loudspeaker
            await anyio.sleep(self._wanted.thinking_after_s)
            if self.speaking:
                return
            async with self._uttered(Priority.THINKING, Kind.THINKING) as utterance:
                while not utterance.done.is_set():
                    utterance.put(chimes.thinking())
                    self._offer(utterance)
                    await utterance.until_queued(0.0)

    # Loudness

    def _set_gain(self) -> None:
        kind = None if self._current is None else self._current.kind
        gain = self._volume
        if kind in (Kind.CHIME, Kind.THINKING):
            gain *= self._wanted.chime_volume
        elif self._ducks:
            gain *= self._wanted.duck_to
        self._speaker.gain = gain
        self._loudness.set()
        self._loudness = anyio.Event()

    async def _attend_others(self) -> None:
        """Keep other programs softer while we speak or listen, and give their loudness back whatever happens."""
        others, to = self._others, self._wanted.duck_others_to
        if others is None or to >= 1.0:
            return
        await others.restore()  # what a process that was killed left soft
        try:
            while True:
                while not (self._ducks or self.speaking):
                    await self._loudness.wait()
                await others.lower(to)
                await self._quiet()
                await others.restore()
        finally:
            with anyio.CancelScope(shield=True):
                await others.restore()

    async def _quiet(self) -> None:
        """Return when nobody has spoken or listened for a while."""
        while True:
            while self._ducks or self.speaking:
                await self._loudness.wait()
            with anyio.move_on_after(_OTHERS_AFTER_S):
                while not (self._ducks or self.speaking):
                    await self._loudness.wait()
            if not (self._ducks or self.speaking):
                return


def _parts(text: str) -> Iterator[str]:
    """The text by sentences as they are spoken; the splitter cuts what has no end."""
    splitter = SentenceSplitter()
    for sentence in (*splitter.feed(text), *splitter.flush()):
        words = speakable(sentence)
        if words:
            yield words
