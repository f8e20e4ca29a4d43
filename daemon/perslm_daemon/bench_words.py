"""Benchmarks of the ears' parts alone: wake words found and false, and word errors beside the upstream tool's own.

All of it runs on sound in memory, as fast as it goes. What is synthetic says so in its row.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from perslm_daemon.bench_row import Row
from perslm_daemon.config_sections import Config
from perslm_daemon.stores import open_models
from perslm_daemon.terminal import note
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, read_wav, resample, write_wav
from perslm_runtime.errors import PersLMError
from perslm_runtime.lane import Stop
from perslm_runtime.stt import open_recognizer
from perslm_runtime.tts import Piper
from perslm_runtime.wake import BUILT_IN, MicroWakeWord

_PACES = (0.75, 0.9, 1.0, 1.15, 1.35)
_NOISES_DB = (40.0, 25.0, 15.0)  # signal to noise
_PIECE = SPEECH_RATE_HZ * 60 // 1000
_TALK = (
    "The weather was fine yesterday, and we went for a walk along the river until it was dark. ",
    "She said that the book on the kitchen table belongs to her brother, who never reads it. ",
    "When the train arrives, please call me, and I will come to the station with the car. ",
    "Nobody knows how the old clock was repaired, but it has kept good time ever since. ",
    "They have been thinking about a new roof for years, and now the rain has decided for them. ",
    "Could you bring some bread, a bottle of milk and a newspaper when you come home tonight? ",
)

# Upstream's own way, as its README shows it: one call on the file.
_UPSTREAM = """
import json, sys
from faster_whisper import WhisperModel
spec = json.loads(sys.argv[1])
model = WhisperModel(spec["model"], device="cpu", compute_type="int8", cpu_threads=spec["threads"])
print(json.dumps([
    " ".join(part.text.strip() for part in model.transcribe(file, language="en", beam_size=1)[0])
    for file in spec["files"]
]))
"""


def wake_rows(config: Config, rounds: int) -> list[Row]:
    """Each phrase at five paces and three noises, and speech that says none of them."""
    voices = open_models(config).folder(config.tts.id)
    with MicroWakeWord(BUILT_IN) as engine:
        phrases = dict(engine.words)
        found = said = 0
        talk = np.zeros(0, np.int16)
        for pace in _PACES:
            voice = Piper(voices, 2, length_scale=pace)
            for number, (word, phrase) in enumerate(phrases.items()):
                sound = _said(voice, f"{phrase}.")
                for at, ratio_db in enumerate(_NOISES_DB):
                    said += 1
                    heard = _heard(engine, _noisy(sound, ratio_db, seed=10 * number + at))
                    found += heard[:1] == [word]
            if pace == 1.0:
                talk = _talk(voice, rounds)
            voice.close()
        other = np.concatenate([talk, *_recordings(config)])
        false = len(_heard(engine, Pcm(other, SPEECH_RATE_HZ)))
    hours = len(other) / SPEECH_RATE_HZ / 3600
    return [
        Row("wake words heard (synthetic: 4 words, 5 paces, 3 noises)", "of all", found, said, "said"),
        Row(
            f"false wakes in {hours:.2f} h of other speech, 4 words at once",
            "times",
            false,
            None,
            f"at most {(false + 3) / hours:.0f} an hour (rule of three)",
        ),
    ]


def word_rows(config: Config, clips: Mapping[str, Pcm]) -> list[Row]:
    """Word error rate of our recognizers on the clips, beside upstream's on the same files."""
    store = open_models(config)
    rows: list[Row] = []
    for engine, model in (("whisper", config.stt.id), ("vosk", "vosk-small-en-us-0.15")):
        if not store.installed(model):
            note(f"perslm: no word errors of {model}: run `perslm models pull {model}`")
            continue
        try:
            recognizer = open_recognizer(engine, store.folder(model), config.stt.threads, config.stt.language)
        except PersLMError as error:
            note(f"perslm: no word errors of {model}: {error}")
            continue
        ours = []
        for said, clip in clips.items():
            utterance = recognizer.listen()
            utterance.accept(clip, Stop())
            ours.append(word_errors(said, utterance.finish(Stop()).text))
        recognizer.close()
        theirs = _upstream(store.folder(model), config.stt.threads, clips) if engine == "whisper" else None
        what = "faster-whisper's own transcribe on the same files" if theirs is not None else ""
        rows.append(Row(f"word error rate of {model} (synthetic)", "", float(np.mean(ours)), theirs, what))
    return rows


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


def _upstream(folder: Path, threads: int, clips: Mapping[str, Pcm]) -> float | None:
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as name:
        files = [Path(name) / f"{number}.wav" for number in range(len(clips))]
        for file, clip in zip(files, clips.values(), strict=True):
            write_wav(file, clip)
        spec = json.dumps({"model": str(folder), "threads": threads, "files": [str(file) for file in files]})
        ended = subprocess.run(
            [sys.executable, "-c", _UPSTREAM, spec], capture_output=True, text=True, check=False
        )
    if ended.returncode:
        return None
    heard: Sequence[str] = json.loads(ended.stdout)
    return float(np.mean([word_errors(said, text) for said, text in zip(clips, heard, strict=True)]))


def _heard(engine: MicroWakeWord, sound: Pcm) -> list[str]:
    engine.reset()
    return [
        found.word
        for start in range(0, len(sound.samples), _PIECE)
        for found in engine.accept(Pcm(sound.samples[start : start + _PIECE], SPEECH_RATE_HZ))
    ]


def _noisy(sound: Pcm, ratio_db: float, seed: int) -> Pcm:
    """A second of room before and after, and white noise over all of it."""
    padded = np.pad(sound.samples, SPEECH_RATE_HZ).astype(np.float64)
    loud = np.sqrt(np.mean(np.square(sound.samples.astype(np.float64))))
    noise = np.random.default_rng(seed).normal(0, loud * 10 ** (-ratio_db / 20), len(padded))
    return Pcm(np.clip(padded + noise, -32768, 32767).astype(np.int16), SPEECH_RATE_HZ)


def _talk(voice: Piper, rounds: int) -> np.ndarray:
    """Speech that calls nobody: a minute for each of the first rounds of a short run, more in a long one."""
    said = [_said(voice, text).samples for text in _TALK]
    return np.concatenate(said * max(1, rounds // 2))


def _recordings(config: Config) -> list[np.ndarray]:
    folder = config.models_dir / "recorded-speech"
    return [resample(read_wav(file), SPEECH_RATE_HZ).samples for file in sorted(folder.glob("*.wav"))]


def _said(voice: Piper, text: str) -> Pcm:
    pieces = [piece.samples for piece in voice.speak(text, Stop())]
    return resample(Pcm(np.concatenate(pieces), voice.rate_hz), SPEECH_RATE_HZ)
