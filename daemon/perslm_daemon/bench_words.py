"""Benchmarks of the ears' parts alone: wake words found and false, and word errors beside the upstream tool's own.

All of it runs on sound in memory, as fast as it goes. What is synthetic says so in its row.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import perslm_daemon
import perslm_runtime
from perslm_daemon.bench_row import Row
from perslm_daemon.config_sections import Config
from perslm_daemon.stores import open_models
from perslm_daemon.terminal import note
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, read_wav, resample, write_wav
from perslm_runtime.errors import PersLMError
from perslm_runtime.lane import Stop
from perslm_runtime.spoken import speakable
from perslm_runtime.stt import SpeechToText, open_recognizer
from perslm_runtime.tts import Piper
from perslm_runtime.wake import BUILT_IN, MicroWakeWord

_PACES = (0.75, 0.9, 1.0, 1.15, 1.35)
_NOISES_DB = (40.0, 25.0, 15.0)  # signal to noise
_SPEEDS = (0.8, 0.9, 1.0, 1.12, 1.25)
_WAKE_WORDS = re.compile("nabu|jarvis|mycroft|alexa", re.IGNORECASE)
_PIECE = SPEECH_RATE_HZ * 60 // 1000
TALK = (
    "The weather was fine yesterday, and we went for a walk along the river until it was dark. ",
    "She said that the book on the kitchen table belongs to her brother, who never reads it. ",
    "When the train arrives, please call me, and I will come to the station with the car. ",
    "Nobody knows how the old clock was repaired, but it has kept good time ever since. ",
    "They have been thinking about a new roof for years, and now the rain has decided for them. ",
    "Could you bring some bread, a bottle of milk and a newspaper when you come home tonight? ",
)

# Upstream's own way, as its README or example shows it.
_UPSTREAM = {
    "whisper": """
import json, sys
from faster_whisper import WhisperModel
spec = json.loads(sys.argv[1])
model = WhisperModel(spec["model"], device="cpu", compute_type="int8", cpu_threads=spec["threads"])
print(json.dumps([
    " ".join(part.text.strip() for part in model.transcribe(file, language="en", beam_size=1)[0])
    for file in spec["files"]
]))
""",
    "vosk": """
import json, sys, wave
from vosk import KaldiRecognizer, Model, SetLogLevel
SetLogLevel(-1)
spec = json.loads(sys.argv[1])
model = Model(spec["model"])
texts = []
for name in spec["files"]:
    with wave.open(name) as file:
        recognizer, parts = KaldiRecognizer(model, file.getframerate()), []
        while data := file.readframes(4000):
            if recognizer.AcceptWaveform(data):
                parts.append(json.loads(recognizer.Result())["text"])
        texts.append(" ".join([*parts, json.loads(recognizer.FinalResult())["text"]]).strip())
print(json.dumps(texts))
""",
}


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
                    heard = _heard(engine, noisy(sound, ratio_db, seed=10 * number + at))
                    found += heard[:1] == [word]
            voice.close()
    row = Row("wake words heard (synthetic: 4 words, 5 paces, 3 noises)", "of all", found, said, "said")
    return [row, *false_wake_rows(config, minutes=0.25)]


def false_wake_rows(config: Config, minutes: float) -> list[Row]:
    """Wake words in speech that has none, all four listened for: recordings, and `minutes` of synthetic prose.

    Each at its own tape speed and at four others, which are other voices to the models: five times the hours.
    """
    rows: list[Row] = []
    voice = Piper(open_models(config).folder(config.tts.id), 2)
    with MicroWakeWord(BUILT_IN) as engine:
        for what, clips in (("recordings", _recordings(config)), ("synthetic", _prose(voice, minutes))):
            false, samples = 0, 0
            for clip in clips:
                for speed in _SPEEDS:
                    sound = resample(Pcm(clip, round(SPEECH_RATE_HZ * speed)), SPEECH_RATE_HZ)
                    false += len(_heard(engine, sound))
                    samples += len(sound.samples)
            if samples:
                hours = samples / SPEECH_RATE_HZ / 3600
                most = f"at most {(false + 3) / hours:.2g} an hour (rule of three)"
                name = f"false wakes in {hours:.2f} h of speech ({what}, 5 tape speeds), 4 words at once"
                rows.append(Row(name, "times", false, None, most))
    voice.close()
    return rows


def word_rows(config: Config, clips: Mapping[str, Pcm]) -> list[Row]:
    """Word error rate of our recognizers on the clips, beside upstream's on the same files.

    What no Korean is said in tells nothing of the Korean model; that its words come through our path unchanged,
    beside those of Vosk's own example, it tells.
    """
    store = open_models(config)
    rows: list[Row] = []
    for engine, model in (
        ("whisper", config.stt.id),
        ("vosk", "vosk-small-en-us-0.15"),
        ("vosk", "vosk-small-ko"),
    ):
        if not store.installed(model):
            note(f"perslm: no word errors of {model}: run `perslm models pull {model}`")
            continue
        folder = store.folder(model)
        try:
            recognizer = open_recognizer(engine, folder, config.stt.threads, config.stt.language)
        except PersLMError as error:
            note(f"perslm: no word errors of {model}: {error}")
            continue
        ours = [_transcribed(recognizer, clip) for clip in clips.values()]
        recognizer.close()
        theirs = _upstream(engine, folder, config.stt.threads, clips)
        rows.append(_word_row(engine, model, list(clips), ours, theirs))
    return rows


def _word_row(engine: str, model: str, said: list[str], ours: list[str], theirs: list[str] | None) -> Row:
    upstream = {"whisper": "faster-whisper's own transcribe", "vosk": "Vosk's own example"}[engine]
    what = f"{upstream} on the same {len(said)} files" if theirs is not None else ""
    if model.endswith("-ko"):
        name = f"words of {model} that are others than upstream's"
        return Row(name, "of all", _rate(theirs or [], ours if theirs else []), None, what)
    beside = None if theirs is None else _rate(said, theirs)
    return Row(f"word error rate of {model} (synthetic)", "", _rate(said, ours), beside, what)


def _rate(said: Sequence[str], heard: Sequence[str]) -> float:
    """Words wrong in all texts together, per word said."""
    wrong = sum(word_errors(text, got) * len(_words(text)) for text, got in zip(said, heard, strict=True))
    return wrong / max(1, sum(len(_words(text)) for text in said))


def _transcribed(recognizer: SpeechToText, clip: Pcm) -> str:
    utterance = recognizer.listen()
    utterance.accept(clip, Stop())
    return utterance.finish(Stop()).text


def word_errors(said: str, heard: str) -> float:
    """Words wrong, missing or added per word said; letters and digits alone count."""
    wanted, got = _words(said), _words(heard)
    row = list(range(len(got) + 1))
    for at, word in enumerate(wanted, 1):
        before, row[0] = row[0], at
        for number, other in enumerate(got, 1):
            before, row[number] = row[number], min(row[number] + 1, row[number - 1] + 1, before + (word != other))
    return row[-1] / max(1, len(wanted))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub(r"['’]", "", text.lower()))


def _upstream(engine: str, folder: Path, threads: int, clips: Mapping[str, Pcm]) -> list[str] | None:
    """What the tool itself hears in the clips, in a process of its own; None where that fails."""
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as name:
        files = [Path(name) / f"{number}.wav" for number in range(len(clips))]
        for file, clip in zip(files, clips.values(), strict=True):
            write_wav(file, clip)
        spec = json.dumps({"model": str(folder), "threads": threads, "files": [str(file) for file in files]})
        ended = subprocess.run(
            [sys.executable, "-c", _UPSTREAM[engine], spec], capture_output=True, text=True, check=False
        )
    if ended.returncode:
        note(
            f"perslm: upstream's {engine} hears nothing: {(ended.stderr.strip() or 'no message').splitlines()[-1]}"
        )
        return None
    heard: list[str] = json.loads(ended.stdout)
    return heard


def _heard(engine: MicroWakeWord, sound: Pcm) -> list[str]:
    engine.reset()
    return [
        found.word
        for start in range(0, len(sound.samples), _PIECE)
        for found in engine.accept(Pcm(sound.samples[start : start + _PIECE], SPEECH_RATE_HZ))
    ]


def noisy(sound: Pcm, ratio_db: float, seed: int) -> Pcm:
    """A second of room before and after, and white noise over all of it."""
    padded = np.pad(sound.samples, SPEECH_RATE_HZ).astype(np.float64)
    loud = np.sqrt(np.mean(np.square(sound.samples.astype(np.float64))))
    noise = np.random.default_rng(seed).normal(0, loud * 10 ** (-ratio_db / 20), len(padded))
    return Pcm(np.clip(padded + noise, -32768, 32767).astype(np.int16), SPEECH_RATE_HZ)


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


def _recordings(config: Config) -> list[NDArray[np.int16]]:
    folder = config.models_dir / "recorded-speech"
    return [resample(read_wav(file), SPEECH_RATE_HZ).samples for file in sorted(folder.glob("*.wav"))]


def spoken(voice: Piper, text: str) -> Pcm:
    """A sentence by a voice, at the rate that speech is recognized at."""
    pieces = [piece.samples for piece in voice.speak(text, Stop())]
    return resample(Pcm(np.concatenate(pieces), voice.rate_hz), SPEECH_RATE_HZ)
