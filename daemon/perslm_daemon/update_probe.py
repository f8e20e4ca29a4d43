"""The probe of a bundle: `python -m perslm_daemon.update_probe`, a process whose crash or excess costs nothing.

It loads what the daemon would, does what the manifest's trial has for its kind (questions, sentences, clips), and
prints one line of JSON: what was right, how fast it was and what it took. It judges nothing; `update_trial` does.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from perslm_daemon.config_sections import Config
from perslm_daemon.update_book import PART
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, read_wav, resample
from perslm_runtime.bundle import Manifest, wake_model
from perslm_runtime.bundle_trial import ANYTHING, Expected, word_errors
from perslm_runtime.errors import BundleRefused, PersLMError
from perslm_runtime.lane import Stop

if TYPE_CHECKING:
    from perslm_runtime.understanding import Understanding

_ANSWER_TOKENS = 48
_ENOUGH_TOKENS = 16  # fewer say nothing of the speed
_LONGEST_CLIP_S = 60.0
_AFTER_CLIP_S = 0.5  # a wake word fires up to a quarter of a second after its end
_SPOKEN = "The quick brown fox jumps over the lazy dog, and then it sleeps for an hour."
_ROOMS = ("Kitchen", "Living Room", "Bedroom", "Bathroom", "Hall", "Garage")
_DEVICES = {
    "Ceiling Light": "light",
    "Reading Lamp": "light",
    "Blind": "cover",
    "Heating": "climate",
    "Fan": "fan",
}
# Nobody's sentences may take these, whatever a bundle's own trial says: they are talk.
_TALK = (
    *("how are you today", "what is the capital of france", "tell me about your day", "my brother came to visit"),
    *("i am tired", "thank you very much", "why is the sky blue", "that is a long story"),
)
_SHOWN = 3  # of what was wrong


@dataclass(slots=True)
class Measured:
    """What came of a probe. None: it was not measured, or there was too little of it. Memory in MB."""

    right: int = 0
    asked: int = 0
    tokens_per_s: float | None = None
    word_errors: float | None = None
    real_time: float | None = None
    sentence_ms: float | None = None
    memory_mb: float = 0.0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def judge(self, what: str, *, right: bool) -> None:
        """One question, sentence or clip; the first that are wrong are kept for people."""
        self.asked += 1
        self.right += right
        if not right and len(self.wrong) < _SHOWN:
            self.wrong.append(what)

    def figures(self) -> dict[str, float | None]:
        """The numbers alone, as they are kept."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "wrong"}


def main() -> None:
    """Read what to try, try it, print one line of JSON."""
    values, manifest, gentle = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent wrote it
    _give_way(gentle=gentle)
    _goes_first()
    try:
        config = Config(**values)
        said = msgspec.to_builtins(probe(config, msgspec.json.decode(manifest, type=Manifest)))
    except PersLMError as error:
        said = {"error": str(error)}
    sys.stdout.write("\n" + json.dumps(said) + "\n")


def _give_way(*, gentle: bool) -> None:
    """A turn that comes meanwhile goes first: at nice 10 turns took 1.8 times as long.

    On a board that is busy with other things the idle class gets nothing at all: beside eight computing
    processes a trial of four seconds had no result after 200. There, turns stop this process and that is all.
    """
    if gentle:
        os.nice(19)
        if hasattr(os, "SCHED_IDLE"):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _goes_first() -> None:
    """Where memory runs out, the kernel ends this process and not the daemon; Linux alone has such a file."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def probe(config: Config, manifest: Manifest) -> Measured:
    """Load what the bundle brings, as `config` names it, and try it. Raises what loading it raises."""
    from perslm_daemon.engine_builds import build_engine, own_engines  # noqa: PLC0415 - the parent has no use for engines here
    from perslm_daemon.process import resident_bytes  # noqa: PLC0415 - as above

    _require_base(config, manifest)
    began, before = time.monotonic(), resident_bytes()
    engine = build_engine(own_engines(config), PART.get(manifest.kind, manifest.kind))
    found = Measured()
    try:
        engine.prove()
        _TRIED[manifest.kind](engine, config, manifest, found)
        found.memory_mb = round((resident_bytes() - before) / 1e6, 1)
    finally:
        engine.close()
    found.seconds = round(time.monotonic() - began, 2)
    return found


def _require_base(config: Config, manifest: Manifest) -> None:
    if manifest.kind == "adapter":
        from perslm_daemon.laid_over import rests  # noqa: PLC0415 - as above
        from perslm_daemon.stores import open_models  # noqa: PLC0415 - as above

        if why := rests(config, open_models(config)):
            raise BundleRefused(why)


def _answers(model: Any, _config: Config, manifest: Manifest, found: Measured) -> None:
    """Questions answered right, and the decoding speed over all of them."""
    tokens, decode_ms = 0, 0.0
    for question in manifest.trial.questions:
        model.begin(Stop())
        *_, end = model.reply(Stop(), question.ask, _ANSWER_TOKENS)
        tokens, decode_ms = tokens + end.generated_tokens, decode_ms + end.decode_ms
        said = end.text.casefold()
        found.judge(question.ask, right=any(word.casefold() in said for word in question.any_of))
    if tokens >= _ENOUGH_TOKENS and decode_ms:
        found.tokens_per_s = tokens / decode_ms * 1000


def _hears(recognizer: Any, config: Config, manifest: Manifest, found: Measured) -> None:
    """Words that are wrong over all clips, and how many seconds of sound a second takes."""
    wrong, words, sound_s, took_s = 0, 0, 0.0, 0.0
    for clip in manifest.trial.clips:
        pcm = _sound(config, manifest, clip.path)
        began = time.perf_counter()
        utterance = recognizer.listen()
        utterance.accept(pcm, Stop())
        heard = utterance.finish(Stop()).text
        took_s, sound_s = took_s + time.perf_counter() - began, sound_s + pcm.seconds
        errors, said = word_errors(clip.words, heard)
        wrong, words = wrong + errors, words + said
        found.judge(clip.path, right=errors == 0)
    if manifest.trial.clips:
        found.word_errors = round(wrong / max(words, 1), 3)
        found.real_time = sound_s / max(took_s, 1e-6)


def _is_called(wake: Any, config: Config, manifest: Manifest, found: Measured) -> None:
    """Whether the new word alone is heard where it is said, and nowhere else."""
    own = str(config.models_dir / manifest.name / wake_model(manifest.name))
    wake.choose([own])
    sound_s, took_s = 0.0, 0.0
    silence = Pcm(np.zeros(round(_AFTER_CLIP_S * SPEECH_RATE_HZ), np.int16), SPEECH_RATE_HZ)
    for clip in manifest.trial.clips:
        pcm = _sound(config, manifest, clip.path)
        wake.reset()
        began = time.perf_counter()
        heard = [one.word for piece in (silence, pcm, silence) for one in wake.accept(piece)]
        took_s, sound_s = took_s + time.perf_counter() - began, sound_s + pcm.seconds + 2 * _AFTER_CLIP_S
        found.judge(clip.path, right=(own in heard) is bool(clip.words))
    if manifest.trial.clips:
        found.real_time = sound_s / max(took_s, 1e-6)


def _understands(engine: Understanding, _config: Config, manifest: Manifest, found: Measured) -> None:
    """Sentences that mean what they have to, talk that is left alone, and the slowest of them."""
    home = _entries()
    slowest = 0.0
    for one in (*manifest.trial.sentences, *(Expected(text) for text in _TALK)):
        began = time.perf_counter()
        intent, slots = _meaning(engine, one.say, home)
        slowest = max(slowest, time.perf_counter() - began)
        fits = all(name in slots and wanted in (ANYTHING, slots[name]) for name, wanted in one.slots.items())
        found.judge(one.say, right=intent == one.intent and fits)
    found.sentence_ms = round(slowest * 1000, 1)


def _meaning(engine: Understanding, text: str, home: Any) -> tuple[str, dict[str, str]]:
    """The intent and slots of a sentence as text, everyday ones first, as a turn asks; "" for talk."""
    if (intent := engine.recognize(text)) is not None:
        from perslm_runtime.intent import slots_data  # noqa: PLC0415 - as above

        return intent.name, {name: str(value) for name, value in slots_data(intent).items()}
    wishes = engine.wishes(text, "probe", home)
    if not wishes:
        return "", {}
    wish = wishes[0]
    every = (*wish.targets, *([wish.place] if wish.place else ()))
    slots = {
        "area": ",".join(area for target in every for area in target.areas),
        "device": ",".join(id_ for target in every for id_ in target.ids),
        "noun": ",".join(target.noun for target in every if target.noun),
        "number": "" if wish.number is None else f"{wish.number:g}",
        "word": wish.word,
    }
    return wish.name, {name: value for name, value in slots.items() if value}


def _entries() -> tuple[Any, ...]:
    """The home that sentences are tried in: six rooms, five devices, called by their names."""
    from perslm_runtime.home_names import Entry, Kind  # noqa: PLC0415 - as above

    rooms = (Entry(name, Kind.AREA, name) for name in _ROOMS)
    devices = (Entry(name, Kind.DEVICE, name, domain=domain) for name, domain in _DEVICES.items())
    return (*rooms, *devices)


def _speaks(voice: Any, _config: Config, _manifest: Manifest, found: Measured) -> None:
    """How many seconds of speech a second makes."""
    began = time.perf_counter()
    spoken_s = sum(piece.seconds for piece in voice.speak(_SPOKEN, Stop()))
    found.real_time = spoken_s / max(time.perf_counter() - began, 1e-6)


def _only_loads(_engine: Any, _config: Config, _manifest: Manifest, _found: Measured) -> None:
    """An embedder has proved itself by then."""


def _sound(config: Config, manifest: Manifest, path: str) -> Pcm:
    file: Path = config.models_dir / manifest.name / path
    return resample(read_wav(file, longest_s=_LONGEST_CLIP_S), SPEECH_RATE_HZ)


_TRIED: dict[str, Callable[[Any, Config, Manifest, Measured], None]] = {
    "llm": _answers,
    "adapter": _answers,
    "stt": _hears,
    "wake": _is_called,
    "intents": _understands,
    "tts": _speaks,
    "embed": _only_loads,
}


if __name__ == "__main__":
    main()
