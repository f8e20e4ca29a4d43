"""Wake words said by Piper's voice are heard, other sentences are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from perslm_runtime.audio import Pcm
from perslm_runtime.errors import ConfigError, EngineError, InputError
from perslm_runtime.wake import BUILT_IN, MicroWakeWord
from recordings import pieces, recorded, spoken


@pytest.fixture(scope="module")
def every_word() -> Iterator[MicroWakeWord]:
    with MicroWakeWord(BUILT_IN) as engine:
        yield engine


@pytest.fixture
def ears(every_word: MicroWakeWord) -> MicroWakeWord:
    every_word.reset()
    return every_word


def heard(engine: MicroWakeWord, pcm: Pcm, seconds: float = 0.08) -> list[str]:
    return [found.word for piece in pieces(pcm, seconds) for found in engine.accept(piece)]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Okay Nabu.", ["okay_nabu"]),
        ("Hey Jarvis.", ["hey_jarvis"]),
        ("Hey Mycroft.", ["hey_mycroft"]),
        ("Alexa.", ["alexa"]),
        ("Alexa, turn on the light.", ["alexa"]),
        ("Turn on the kitchen light, please.", []),
        ("What time is it?", []),
    ],
)
def test_each_word_is_heard_once_and_only_when_said(ears, said, words):
    assert heard(ears, spoken(said)) == words


def test_ten_seconds_of_a_real_reading_wake_nobody(ears):
    assert heard(ears, recorded("beckett")) == []


@pytest.mark.parametrize("seconds", [0.007, 0.5, 10.0])
def test_the_length_of_the_pieces_does_not_matter(ears, seconds):
    assert heard(ears, spoken("Hey Jarvis."), seconds) == ["hey_jarvis"]


def test_a_cutoff_is_each_words_own():
    with MicroWakeWord(["alexa", "hey_jarvis"], {"alexa": 0.9999}) as engine:
        assert heard(engine, spoken("Alexa.")) == []
        assert heard(engine, spoken("Hey Jarvis.")) == ["hey_jarvis"]


def test_silence_for_a_reset_forgets_the_half_said_word(ears):
    said = spoken("Hey Jarvis.")
    half = len(said.samples) * 45 // 100
    ears.accept(Pcm(said.samples[:half], 16_000))
    ears.reset()
    assert heard(ears, Pcm(said.samples[half:], 16_000)) == []


def test_a_model_of_ones_own_is_a_path_with_its_manifest(tmp_path):
    import pymicro_wakeword  # noqa: TID251 - the models to copy lie in it

    models = Path(pymicro_wakeword.__file__).parent / "models"
    for suffix in (".tflite", ".json"):
        shutil.copy(models / f"alexa{suffix}", tmp_path / f"alexa{suffix}")
    path = str(tmp_path / "alexa.tflite")
    with MicroWakeWord([path, "okay_nabu"]) as engine:
        assert engine.words == {path: "Alexa", "okay_nabu": "Okay Nabu"}
        assert heard(engine, spoken("Alexa.")) == [path]
    (tmp_path / "alexa.json").unlink()
    with pytest.raises(ConfigError, match=r"manifest .*alexa\.json is missing"):
        MicroWakeWord([path])


@pytest.mark.parametrize("content", [b"", b"hello" * 1000, b"\0\0\0\0TFL3" + bytes(500)])
def test_a_broken_model_is_an_error_and_no_crash(tmp_path, content):
    (tmp_path / "bad.tflite").write_bytes(content)
    manifest = {
        "model": "bad.tflite",
        "wake_word": "Bad",
        "micro": {"probability_cutoff": 0.9, "sliding_window_size": 5},
    }
    (tmp_path / "bad.json").write_text(json.dumps(manifest))
    with pytest.raises(EngineError, match=r"bad\.tflite is missing or no TensorFlow Lite model"):
        MicroWakeWord([str(tmp_path / "bad.tflite")])
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(EngineError, match=r"bad\.json could not be loaded"):
        MicroWakeWord([str(tmp_path / "bad.tflite")])


@pytest.mark.parametrize(
    ("words", "cutoffs", "says"),
    [
        ([], {}, "no wake word is named: choose one of okay_nabu"),
        (["computer"], {}, "the wake word computer is unknown: choose one of okay_nabu"),
        (["alexa", "alexa"], {}, "named twice"),
        (["alexa"], {"okay_nabu": 0.5}, "which is not among alexa"),
        (["alexa"], {"alexa": 1.5}, "must be between 0 and 1"),
    ],
)
def test_a_wrong_setting_says_what_is_allowed(words, cutoffs, says):
    with pytest.raises(ConfigError, match=says):
        MicroWakeWord(words, cutoffs)


def test_it_proves_itself_and_refuses_another_rate(ears):
    assert ears.prove().startswith("listens for Okay Nabu, Hey Jarvis, Hey Mycroft, Alexa; half a second took")
    with pytest.raises(InputError, match="resample it"):
        ears.accept(Pcm(np.zeros(100, np.int16), 44_100))
