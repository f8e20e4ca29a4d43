"""Benchmark of recognizing alone: word errors beside the upstream tool's own, and beside Whisper's full window.

All of it runs on sound in memory, as fast as it goes. What is synthetic says so in its row.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from perslm_daemon.bench_row import Row
from perslm_daemon.config_sections import Config
from perslm_daemon.stores import open_models
from perslm_daemon.terminal import note
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, read_wav, resample, write_wav
from perslm_runtime.errors import PersLMError
from perslm_runtime.lane import Stop
from perslm_runtime.stt import SHORTEST_WINDOW_S, SpeechToText, open_recognizer
from perslm_runtime.tts import Piper

SPHINX = Path("/usr/share/pocketsphinx/test/data")
"""Where Debian's pocketsphinx-testdata lies: people reading, with what they read."""

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

_UPSTREAM_IS = {
    "whisper": "faster-whisper's own transcribe on the same files",
    "vosk": "Vosk's own example on the same files",
}


def word_rows(config: Config, clips: Mapping[str, Pcm]) -> list[Row]:
    """Word error rate of our recognizers on synthetic `clips` and on people, beside upstream's on the same files.

    Each clip counts clean, in noise and clipped. What no Korean is said in tells nothing of the Korean model; that
    its words come through our path unchanged, beside those of Vosk's own example, it tells.
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
        try:
            rows += _rows_of(engine, store.folder(model), config, clips)
        except PersLMError as error:
            note(f"perslm: no word errors of {model}: {error}")
    return rows


def _rows_of(engine: str, folder: Path, config: Config, clips: Mapping[str, Pcm]) -> list[Row]:
    threads = config.stt.threads
    if folder.name.endswith("-ko"):
        files = [(said, sound) for said, sound in clips.items()]
        ours = _heard_by(lambda: open_recognizer(engine, folder, threads), files)
        theirs = _upstream(engine, folder, threads, files)
        backwards = _upstream(engine, folder, threads, files[::-1])
        if theirs is None or backwards is None:
            return []
        name = f"words of {folder.name} that are others than upstream's"
        # Kaldi adds noise from the process's one generator to what it hears: words depend on what came before.
        itself = _rate(theirs, backwards[::-1])
        what = f"{_UPSTREAM_IS[engine]}, the last one first"
        return [Row(name, "of all", _rate(theirs, ours), itself, what)]
    rows: list[Row] = []
    all_said: list[str] = []
    all_ours: list[str] = []
    all_full: list[str] = []
    for what, files in (("synthetic", variants(clips.items())), ("people", variants(people()))):
        if not files:
            note("perslm: no word errors of people: run `apt-get install pocketsphinx-testdata`")
            continue
        said = [text for text, _ in files]
        ours = _heard_by(lambda: open_recognizer(engine, folder, threads, config.stt.language), files)
        theirs = _upstream(engine, folder, threads, files)
        beside = None if theirs is None else _rate(said, theirs)
        name = f"word error rate of {folder.name} on {len(files)} clips ({what}: clean, noisy, clipped)"
        rows.append(Row(name, "", _rate(said, ours), beside, _UPSTREAM_IS[engine]))
        if engine == "whisper":
            all_said += said
            all_ours += ours
            all_full += _heard_by(lambda: _whole_window(folder, threads, config.stt.language), files)
    if all_said:
        name = f"  of all {len(all_said)}, in windows of {SHORTEST_WINDOW_S:g} s or more"
        rows.append(Row(name, "", _rate(all_said, all_ours), _rate(all_said, all_full), "ours in the full window"))
    return rows


def _whole_window(folder: Path, threads: int, language: str) -> SpeechToText:
    from perslm_runtime.stt_whisper import Whisper  # noqa: PLC0415 - its library takes 50 MB

    return Whisper(folder, threads, language, shortest_window_s=30.0)


def _heard_by(build: Callable[[], SpeechToText], files: Sequence[tuple[str, Pcm]]) -> list[str]:
    recognizer = build()
    try:
        return [_transcribed(recognizer, sound) for _, sound in files]
    finally:
        recognizer.close()


def people() -> list[tuple[str, Pcm]]:
    """What people read and how it sounds, ten clips of 2 to 10 s; none where the recordings are not installed."""
    found: list[tuple[str, Pcm]] = []
    for lines in (SPHINX / "librivox/transcription", SPHINX / "cards/cards.transcription"):
        for line in lines.read_text("utf-8").splitlines() if lines.is_file() else ():
            words, _, name = line.rpartition("(")
            said = words.replace("<s>", "").replace("</s>", "").strip()
            found.append((said, resample(read_wav(lines.parent / f"{name.rstrip(')')}.wav"), SPEECH_RATE_HZ)))
    return found


def variants(clips: Iterable[tuple[str, Pcm]]) -> list[tuple[str, Pcm]]:
    """Each clip as it is, in white noise at 20 dB, and clipped as by a microphone that is turned up too far."""
    return [
        (said, variant)
        for seed, (said, sound) in enumerate(clips)
        for variant in (sound, noisy(sound, 20.0, seed, 0.3), clipped(sound))
    ]


def noisy(sound: Pcm, ratio_db: float, seed: int, around_s: float = 1.0) -> Pcm:
    """White noise under the sound and under `around_s` of silence before and after it."""
    padded = np.pad(sound.samples, round(around_s * SPEECH_RATE_HZ)).astype(np.float64)
    loud = np.sqrt(np.mean(np.square(sound.samples.astype(np.float64))))
    noise = np.random.default_rng(seed).normal(0, loud * 10 ** (-ratio_db / 20), len(padded))
    return Pcm(np.clip(padded + noise, -32768, 32767).astype(np.int16), SPEECH_RATE_HZ)


def clipped(sound: Pcm) -> Pcm:
    """Its loudest tenth of samples cut off."""
    most = max(1.0, float(np.quantile(np.abs(sound.samples.astype(np.float64)), 0.9)))
    return Pcm((np.clip(sound.samples / most, -1, 1) * 20_000).astype(np.int16), SPEECH_RATE_HZ)


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


def _upstream(engine: str, folder: Path, threads: int, clips: Sequence[tuple[str, Pcm]]) -> list[str] | None:
    """What the tool itself hears in the clips, in a process of its own; None where that fails."""
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as name:
        files = [Path(name) / f"{number}.wav" for number in range(len(clips))]
        for file, (_, clip) in zip(files, clips, strict=True):
            write_wav(file, clip)
        spec = json.dumps({"model": str(folder), "threads": threads, "files": [str(file) for file in files]})
        ended = subprocess.run(
            [sys.executable, "-c", _UPSTREAM[engine], spec], capture_output=True, text=True, check=False
        )
    if ended.returncode:
        why = (ended.stderr.strip() or "no message").splitlines()[-1]
        note(f"perslm: upstream's {engine} hears nothing: {why}")
        return None
    heard: list[str] = json.loads(ended.stdout)
    return heard


def spoken(voice: Piper, text: str) -> Pcm:
    """A sentence by a voice, at the rate that speech is recognized at."""
    pieces = [piece.samples for piece in voice.speak(text, Stop())]
    return resample(Pcm(np.concatenate(pieces), voice.rate_hz), SPEECH_RATE_HZ)
