"""Benchmark of the voice: from the end of what somebody says to the first sound of the answer, all between.

Questions in Piper's voice are played in real time into a null sink, heard through its monitor by the sound card's
own code, answered, and played into the same clock's other channel. The peers hear the same clips in the same run,
one service after the other, as Home Assistant drives them. `PERSLM_BENCH_ROUNDS` (default 8) sets how many.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np

from perslm_daemon.bench_peers import PINNED, Peers, described_s, peers
from perslm_daemon.bench_row import Row
from perslm_daemon.bench_sound import NullSound, Recorder, null_sound
from perslm_daemon.bench_wakes import wake_rows
from perslm_daemon.bench_words import TALK, word_rows
from perslm_daemon.broker import free_port
from perslm_daemon.bulletin import Happening, Value
from perslm_daemon.cli_session import Session
from perslm_daemon.config_sections import Config
from perslm_daemon.serve import Wish, Wishes, serve
from perslm_daemon.stores import open_models
from perslm_daemon.terminal import note
from perslm_daemon.ways import Running
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, resample
from perslm_runtime.errors import EngineError, PersLMError
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.model import ChatModel
from perslm_runtime.spoken import speakable
from perslm_runtime.tts import Piper

_HA_SILENCE_S = 0.7  # Home Assistant's default before it takes a command as over
CALL = "Okay Nabu."
_PAUSE_S = 0.35
INTENTS = (
    "What time is it?",
    "What day is it today?",
    "How much time is left on my timer?",
    "What is the date today?",
)
_QUESTIONS = (
    "What is the capital of Spain?",
    "Who wrote Romeo and Juliet?",
    "What is the largest ocean?",
    "How many legs does a spider have?",
    "What is the capital of France?",
    "Why is the sky blue?",
    "What do bees make?",
    "What is the tallest mountain?",
)
_STORY = "Tell me a long story about a dog."
_ANSWER_S = 30.0
_IDLE_S = 20.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: its parts in milliseconds, and what the whole took on one clock."""

    said: str
    heard: str
    reply: str
    whole_ms: float
    parts_ms: dict[str, float]
    intent: bool


@dataclass(slots=True)
class _Told:
    """What the daemon told since `clear`, with the times at which it did."""

    events: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    timings: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def clear(self) -> None:
        self.events.clear()
        self.timings = {}

    def when(self, event_type: str) -> float | None:
        return next((at for at, kind, _ in self.events if kind == event_type), None)


def voice(session: Session) -> list[Row]:
    """Speech in, speech out, beside the peers; barge-in, idle listening, wake words and word errors."""
    rounds = int(os.environ.get("PERSLM_BENCH_ROUNDS", "8"))
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as folder, null_sound() as sound:
        config = quiet_config(session.config, Path(folder))
        clips = clips_of(config, (*INTENTS, *_QUESTIONS, *TALK, _STORY, CALL))
        bench = Bench(config, sound, clips, rounds)
        anyio.run(bench.run)
        rows = bench.rows()
        rows += _peer_rows(session.config, bench, clips)
    rows += word_rows(session.config, {said: clip for said, clip in clips.items() if said != CALL})
    rows += wake_rows(session.config)
    return rows


def quiet_config(config: Config, folder: Path) -> Config:
    """The configuration with a voice and a data folder of its own, and nothing that is heard beside answers."""
    return dataclasses.replace(
        config,
        data_dir=folder,
        node="bench",
        voice=dataclasses.replace(config.voice, enabled=True),
        mqtt=dataclasses.replace(config.mqtt, broker=""),
        discovery=dataclasses.replace(config.discovery, enabled=False),
        wyoming=dataclasses.replace(config.wyoming, allow=("127.0.0.1",), port=free_port()),
        # Our speech is another program's to the sound server: it must not be softened while it is listened to.
        # Without chimes what is heard after an interruption is the answer that should have ended.
        mouth=dataclasses.replace(config.mouth, thinking_after_s=0.0, duck_others_to=1.0, chimes=False),
    )


class Bench:
    """Talks to a whole daemon in this process over the null sink, and keeps what it measured."""

    def __init__(self, config: Config, sound: NullSound, clips: dict[str, Pcm], rounds: int) -> None:
        self._config, self._sound, self._clips, self._rounds = config, sound, clips, rounds
        self._told = _Told()
        self.asked: list[Asked] = []
        self.barge_ms: list[float] = []
        self.model_ms: list[float] = []
        self.describe_ms: list[float] = []
        self.idle_percent = 0.0

    async def run(self) -> None:
        """Start the daemon, measure, and stop it."""
        wishes = Wishes()
        ready = anyio.Event()
        found: list[Running] = []

        def on_ready(running: Running) -> None:
            found.append(running)
            ready.set()

        async def measure() -> None:
            await ready.wait()
            try:
                await self._measure(found[0])
            finally:
                wishes.ask(Wish.STOP)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(measure)
            await serve(lambda: self._config, wishes, on_ready=on_ready)

    async def _measure(self, running: Running) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, running)
            await anyio.sleep(2.0)
            with ExitStack() as stack:
                # A room is never quite silent; a microphone that gives zeros is taken for broken.
                await anyio.to_thread.run_sync(stack.enter_context, self._sound.room())
                await self._idle()
                recording = self._sound.recording()
                recorder = await anyio.to_thread.run_sync(stack.enter_context, recording)
                await self._ask(recorder, _QUESTIONS[0], warm=True)
                for number in range(self._rounds):
                    await self._ask(recorder, INTENTS[number % len(INTENTS)])
                    await self._ask(recorder, _QUESTIONS[number % len(_QUESTIONS)])
                for _ in range(max(2, self._rounds // 2)):
                    await self._interrupt(running, recorder)
            tasks.cancel_scope.cancel()

    async def _listen(self, running: Running) -> None:
        async with running.bulletin.listen() as notices:
            async for notice in notices:
                match notice:
                    case Happening(kind, fields):
                        self._told.events.append((time.monotonic(), kind, dict(fields)))
                    case Value("voice_timings", value):
                        self._told.timings = dict(value)
                    case Value(name, value):
                        self._told.values[name] = value

    async def _idle(self) -> None:
        """Processor time of listening to a quiet room: this process does nothing else meanwhile."""
        began, used = time.monotonic(), time.process_time()
        await anyio.sleep(min(_IDLE_S, 2.5 * self._rounds))
        self.idle_percent = 100 * (time.process_time() - used) / (time.monotonic() - began)

    async def _ask(self, recorder: Recorder, said: str, *, warm: bool = False) -> None:
        """Call, ask, and wait for the end of the answer."""
        self._told.clear()
        before = recorder.taken()
        offset_s = len(before.said) / 48_000
        clip = joined(self._clips[CALL], silence(_PAUSE_S), self._clips[said])
        await self._play(recorder, clip)
        with anyio.move_on_after(_ANSWER_S) as waiting:
            await self._until("idle")
        await anyio.sleep(0.4)
        recorded = recorder.taken()
        end_s = recorded.end_of_speech_s()
        first_s = recorded.first_sound_s(max(offset_s, end_s + 0.02))
        times = self._told.timings
        if waiting.cancelled_caught or first_s is None or not times:
            note(f"perslm: no answer to {said!r} was heard: it is left out")
            return
        whole_ms = (first_s - end_s) * 1000
        if warm:
            return
        parts = {name: float(times[name]) for name in ("endpoint", "stt", "recall", "first_sentence", "first_pcm")}
        parts["devices"] = whole_ms - sum(parts.values())
        last_heard = str(self._told.values.get("last_heard", ""))
        reply = str(self._told.values.get("last_reply", ""))
        self.asked.append(Asked(said, last_heard, reply, whole_ms, parts, said in INTENTS))

    async def _interrupt(self, running: Running, recorder: Recorder) -> None:
        """Ask for a story, call over it, and see how soon it is silent and the model at rest."""
        self._told.clear()
        model = running.assistant.parts.model
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._describe, model)
            await self._play(recorder, joined(self._clips[CALL], silence(_PAUSE_S), self._clips[_STORY]))
            with anyio.move_on_after(_ANSWER_S):
                await self._until("tts_speaking")
            await anyio.sleep(1.2)
            tasks.cancel_scope.cancel()
        self._told.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._play, recorder, self._clips[CALL])
            with anyio.move_on_after(_ANSWER_S) as waiting:
                await self._until("wake_word_detected")
            detected = self._told.when("wake_word_detected")
            while model.busy_since is not None:  # noqa: ASYNC110 - measured to 2 ms
                await anyio.sleep(0.002)
            rested = time.monotonic()
        await anyio.sleep(0.3)
        if not waiting.cancelled_caught and detected is not None:
            recorder.look()
            recorded = recorder.taken()
            at_s = detected - recorded.began
            last_s = recorded.last_sound_s(at_s + 0.5, at_s - 0.5)
            if last_s is not None:
                self.barge_ms.append(max(0.0, last_s - at_s) * 1000)
            self.model_ms.append((rested - detected) * 1000)
        if running.table.live is not None:
            running.table.live.stop()
        with anyio.move_on_after(_ANSWER_S):
            await self._until("idle")
        await anyio.sleep(0.5)

    async def _describe(self, model: Lane[ChatModel]) -> None:
        """Ask again and again over Wyoming what is here; the answers count that came while the model was at it."""
        while True:
            await anyio.sleep(0.02)
            since = model.busy_since
            if since is not None:
                took_s = await anyio.to_thread.run_sync(described_s, self._config.wyoming.port)
                self.describe_ms += [took_s * 1000] if model.busy_since == since else []

    async def _play(self, recorder: Recorder, clip: Pcm) -> None:
        player = await anyio.to_thread.run_sync(self._sound.say, clip)
        await anyio.to_thread.run_sync(player.wait)
        recorder.look()

    async def _until(self, event_type: str) -> None:
        while self._told.when(event_type) is None:  # noqa: ASYNC110 - the listener keeps times, not waiters
            await anyio.sleep(0.01)

    def of(self, *, intent: bool) -> list[Asked]:
        """The answers of one kind."""
        return [one for one in self.asked if one.intent is intent]

    def rows(self) -> list[Row]:
        """Everything measured on the daemon itself."""
        goals = {True: 400.0, False: 800.0}
        rows: list[Row] = []
        for intent, what in ((True, "an intent's answer"), (False, "the model's answer")):
            some = self.of(intent=intent)
            if not some:
                note(f"perslm: {what} cannot be measured: none of the questions got one")
                continue
            wholes = [one.whole_ms for one in some]
            name = f"end of speech to first sound, {what}"
            rows.append(
                Row(f"{name}, p50 of {len(some)}", "ms", statistics.median(wholes), goals[intent], "the goal")
            )
            rows.append(Row(f"{name}, p95", "ms", _p95(wholes), None, ""))
            for part in some[0].parts_ms:
                values = [one.parts_ms[part] for one in some]
                rows.append(Row(f"  of that {part}, mean", "ms", statistics.mean(values), None, _PARTS[part]))
            added = statistics.mean(sum(one.parts_ms.values()) for one in some)
            rows.append(Row("  parts added up, mean", "ms", added, statistics.mean(wholes), "the whole, mean"))
        if self.barge_ms:
            worst = max(self.barge_ms)
            rows.append(Row("wake word over an answer: detected to silence, worst", "ms", worst, 60.0, "the goal"))
            rest = statistics.median(self.model_ms)
            rows.append(
                Row("  detected to the model at rest, p50", "ms", rest, None, "one token and its clean-up")
            )
        if self.describe_ms:
            name = f"Wyoming's describe while the model generates, worst of {len(self.describe_ms)}"
            rows.append(Row(name, "ms", max(self.describe_ms), 200.0, "the goal"))
        rows.append(
            Row("listening to a quiet room, whole process", "% of a core", self.idle_percent, 3.0, "the goal")
        )
        return rows


_PARTS = {
    "endpoint": "silence until the end was sure",
    "stt": "recognition after that",
    "recall": "memories and what was not read ahead, or the intent",
    "first_sentence": "until the first sentence was written",
    "first_pcm": "until its first sound was made",
    "devices": "microphone and loudspeaker, and what is left",
}


def _peer_rows(config: Config, bench: Bench, clips: dict[str, Pcm]) -> list[Row]:
    """The same clips by Wyoming services, one after the other; the model's share is ours, in the peers' favour."""
    store = open_models(config)
    whisper, piper = store.folder(config.stt.id), store.file(config.tts.id)
    cache = config.data_dir / "bench"
    rows: list[Row] = []
    try:
        with peers(cache, whisper, piper.with_name("voice.onnx"), config.stt.threads) as both:
            for intent, what in ((True, "an intent's answer"), (False, "the model's answer")):
                some = bench.of(intent=intent)
                if some:
                    rows += _beside(both, some, clips, what)
    except PersLMError as error:
        note(f"perslm: nothing stands beside ours: {error}")
    return rows


def _beside(both: Peers, some: Sequence[Asked], clips: dict[str, Pcm], what: str) -> list[Row]:
    seen: dict[str, Asked] = {one.said: one for one in some}
    with_ms: list[float] = []
    without_ms: list[float] = []
    for one in seen.values():
        model_ms = 0.0 if one.intent else one.parts_ms["first_sentence"]
        first = next(iter(speakable(one.reply).split(". ")), one.reply) or "Yes."
        _, waited_s = both.transcribe(clips[one.said], _HA_SILENCE_S)
        _, at_once_s = both.transcribe(clips[one.said], 0.0)
        speech_s = both.first_sound_s(first)
        with_ms.append((waited_s + speech_s) * 1000 + model_ms)
        without_ms.append((at_once_s + speech_s) * 1000 + model_ms)
    ours = statistics.median(one.whole_ms for one in some)
    names = " + ".join(PINNED)
    return [
        Row(f"{what} beside peers", "ms", ours, statistics.median(with_ms), f"{names}, 0.7 s of silence as in HA"),
        Row(f"{what} beside peers, no silence", "ms", ours, statistics.median(without_ms), f"{names}, no silence"),
    ]


def clips_of(config: Config, texts: Sequence[str]) -> dict[str, Pcm]:
    """Each text in Piper's voice at 16 kHz, the same in every run, without silence around it."""
    folder = open_models(config).folder(config.tts.id)
    voice = Piper(folder, 2, varies=False)
    try:
        return {text: _trimmed(_said(voice, text)) for text in texts}
    finally:
        voice.close()


def _said(voice: Piper, text: str) -> Pcm:
    pieces = [piece.samples for piece in voice.speak(text, Stop())]
    if not pieces:
        raise EngineError("the voice says nothing: run `perslm models verify`")
    return resample(Pcm(np.concatenate(pieces), voice.rate_hz), SPEECH_RATE_HZ)


def _trimmed(sound: Pcm) -> Pcm:
    loud = np.flatnonzero(np.abs(sound.samples.astype(np.int32)) > 150)
    return Pcm(sound.samples[loud[0] : loud[-1] + 1], sound.rate_hz)


def silence(seconds: float) -> Pcm:
    """Digital silence at 16 kHz."""
    return Pcm(np.zeros(round(seconds * SPEECH_RATE_HZ), np.int16), SPEECH_RATE_HZ)


def joined(*sounds: Pcm) -> Pcm:
    """One after the other."""
    return Pcm(np.concatenate([sound.samples for sound in sounds]), SPEECH_RATE_HZ)


def _p95(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95))
