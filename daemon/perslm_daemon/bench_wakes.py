"""Benchmark of wake words alone: those that are said and those that are not, as fast as sound in memory goes.

What is said is synthetic: the phrases at five paces in three noises. What is not is speech of people, as far as it
is there, and synthetic prose, all of it heard as one stream per clip, every word at its default sensitivity.
`PERSLM_BENCH_SPEECH` names a folder of WAV files with speech without wake words, which are heard too.
"""

from __future__ import annotations

import ast
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import perslm_daemon
import perslm_runtime
from perslm_daemon.bench_row import Row
from perslm_daemon.bench_words import SPHINX, noisy, spoken
from perslm_daemon.config_sections import Config
from perslm_daemon.stores import open_models
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, read_wav, resample
from perslm_runtime.spoken import speakable
from perslm_runtime.tts import Piper
from perslm_runtime.wake import BUILT_IN, MicroWakeWord

_PACES = (0.75, 0.9, 1.0, 1.15, 1.35)
_NOISES_DB = (40.0, 25.0, 15.0)  # signal to noise
_SPEEDS = (0.8, 0.9, 1.0, 1.12, 1.25)
_WAKE_WORDS = re.compile("nabu|jarvis|mycroft|alexa", re.IGNORECASE)
_PIECE = SPEECH_RATE_HZ * 60 // 1000
_ROOM_S = 1.0  # before and after a clip
_SURE = 0.95


def wake_rows(config: Config) -> list[Row]:
    """Each phrase at five paces and three noises, and speech that says none of them."""
    voices = open_models(config).folder(config.tts.id)
    with MicroWakeWord(BUILT_IN) as engine:
        phrases = dict(engine.words)
        found = said = 0
        for pace in _PACES:
            voice = Piper(voices, 2, length_scale=pace)
            for number, (word, phrase) in enumerate(phrases.items()):
                sound = spoken(voice, f"{phrase}.")
                for at, ratio_db in enumerate(_NOISES_DB):
                    said += 1
                    heard = _heard(engine, noisy(sound, ratio_db, 10 * number + at))
                    found += heard[:1] == [word]
            voice.close()
    row = Row("wake words heard (synthetic: 4 words, 5 paces, 3 noises)", "of all", found, said, "said")
    return [row, *false_wake_rows(config, minutes=1.0)]


def false_wake_rows(config: Config, minutes: float) -> list[Row]:
    """False wakes of each word in people's speech, and in `minutes` of synthetic prose.

    The prose is heard at its own tape speed and at four others, which are other voices to the models: five times
    the hours.
    """
    voice = Piper(open_models(config).folder(config.tts.id), 2)
    try:
        rows = _false(recordings(config), "recordings", (1.0,))
        return rows + _false(_prose(voice, minutes), "synthetic, 5 tape speeds", _SPEEDS)
    finally:
        voice.close()


def _false(clips: Iterator[NDArray[np.int16]], what: str, speeds: tuple[float, ...]) -> list[Row]:
    false: Counter[str] = Counter()
    samples = 0
    with MicroWakeWord(BUILT_IN) as engine:
        for clip in clips:
            for speed in speeds:
                sound = resample(Pcm(clip, round(SPEECH_RATE_HZ * speed)), SPEECH_RATE_HZ)
                false.update(
                    _heard(engine, Pcm(np.pad(sound.samples, round(_ROOM_S * SPEECH_RATE_HZ)), SPEECH_RATE_HZ))
                )
                samples += len(sound.samples)
        hours = samples / SPEECH_RATE_HZ / 3600
        return [
            Row(
                f"false wakes of {word} in {hours:.2f} h of speech ({what})",
                "times",
                false[word],
                None,
                f"at most {most_events(false[word]) / hours:.2g} an hour ({_SURE:.0%} sure)",
            )
            for word in engine.words
            if samples
        ]


def most_events(seen: int) -> float:
    """How many events a stretch may bring on average in which `seen` were seen: 95 % sure. None seen: three."""
    low, high = float(seen), 3.0 * seen + 10.0
    for _ in range(60):
        mean = (low + high) / 2
        as_few = sum(
            math.exp(-mean + count * math.log(mean) - math.lgamma(count + 1)) for count in range(seen + 1)
        )
        low, high = (mean, high) if as_few > 1 - _SURE else (low, mean)
    return high


def _heard(engine: MicroWakeWord, sound: Pcm) -> list[str]:
    engine.reset()
    return [
        found.word
        for start in range(0, len(sound.samples), _PIECE)
        for found in engine.accept(Pcm(sound.samples[start : start + _PIECE], SPEECH_RATE_HZ))
    ]


def _prose(voice: Piper, minutes: float) -> Iterator[NDArray[np.int16]]:
    """So much speech of our own docstrings, a sentence at a time: English prose that every installation has."""
    said_s = 0.0
    for text in _docstrings(Path(perslm_daemon.__file__).parent, Path(perslm_runtime.__file__).parent):
        for sentence in re.split(r"(?<=[.:;!?])\s+", " ".join(text.split())):
            words = speakable(sentence)
            if said_s >= 60 * minutes:
                return
            if len(words) > 20 and not _WAKE_WORDS.search(words):
                sound = spoken(voice, words).samples
                said_s += len(sound) / SPEECH_RATE_HZ
                yield sound


def _docstrings(*folders: Path) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for folder in folders:
        for file in sorted(folder.glob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, documented) and (text := ast.get_docstring(node)):
                    yield text


def recordings(config: Config) -> Iterator[NDArray[np.int16]]:
    """People's speech as far as it is here: the catalogue's, pocketsphinx-testdata, and one's own folder."""
    folders = [config.models_dir / "recorded-speech", SPHINX]
    if own := os.environ.get("PERSLM_BENCH_SPEECH"):
        folders.append(Path(own))
    for folder in folders:
        for file in sorted(folder.rglob("*.wav")):
            yield resample(read_wav(file), SPEECH_RATE_HZ).samples
