"""Two recognizers behind one protocol, on recorded speech; accuracy is word error rate as `wer.py` counts it."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perslm_runtime.audio import Pcm, read_wav
from perslm_runtime.errors import Cancelled, ConfigError, EngineError, InputError
from perslm_runtime.lane import Stop
from perslm_runtime.stt import SpeechToText, Transcript, join, open_recognizer
from perslm_runtime.stt_vosk import Vosk
from perslm_runtime.stt_whisper import Whisper, speech_in
from real_models import model_path
from recordings import BECKETT, TWO_CITIES, pieces, recorded, sphinx_clips, spoken
from wer import normalise, word_error_rate

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def whisper() -> Iterator[Whisper]:
    with Whisper(model_path("whisper-tiny.en", "model.bin").parent, threads=2) as engine:
        yield engine


@pytest.fixture(scope="module")
def korean() -> Iterator[Vosk]:
    """The one Vosk model that every machine can have; English it hears as Korean, which proves the plumbing."""
    with Vosk(model_path("vosk-small-ko", "am", "final.mdl").parents[1]) as engine:
        yield engine


def heard(engine: SpeechToText, pcm: Pcm, vocabulary: tuple[str, ...] = (), seconds: float = 60.0) -> Transcript:
    utterance = engine.listen(vocabulary)
    for piece in pieces(pcm, seconds):
        utterance.accept(piece, Stop())
    return utterance.finish(Stop())


def without_silence(pcm: Pcm) -> NDArray[np.int16]:
    loud = np.flatnonzero(np.abs(pcm.samples.astype(np.int32)) > 150)
    return pcm.samples[loud[0] : loud[-1] + 1]


# --- Whisper


def test_whisper_hears_twelve_human_recordings_with_few_words_wrong(whisper):
    said, got = zip(
        *[(normalise(text), normalise(heard(whisper, pcm).text)) for text, pcm in sphinx_clips()], strict=True
    )
    assert len(said) == 12
    assert jiwer.wer(list(said), list(got)) <= 0.10  # measured 0.07; faster-whisper's own transcribe 0.06


def test_whisper_hears_a_sentence_that_repeats_itself(whisper):
    result = heard(whisper, recorded("beckett"))
    assert word_error_rate(BECKETT, result.text) <= 0.1
    assert result.seconds == pytest.approx(9.96, abs=0.01)
    assert result.confidence is not None
    assert 0.5 < result.confidence <= 1.0


def test_whisper_hears_44_seconds_arriving_bit_by_bit(whisper):
    pcm = recorded("two_cities")
    utterance = whisper.listen()
    so_far = [utterance.accept(piece, Stop()) for piece in pieces(pcm, 5.0)]
    result = utterance.finish(Stop())
    assert word_error_rate(TWO_CITIES, result.text) <= 0.05
    assert result.seconds == pytest.approx(pcm.seconds, abs=0.01)
    assert so_far[0] == ""
    assert so_far[-1] != ""
    assert result.text.startswith(so_far[-1])


def test_whisper_with_partials_tells_what_it_hears_and_ends_the_same(whisper):
    with Whisper(whisper.file.parent, 2, partials=True) as engine:
        utterance = engine.listen()
        said, pcm = next(clip for clip in sphinx_clips() if clip[0].startswith("go forward"))
        so_far = [utterance.accept(piece, Stop()) for piece in pieces(pcm, 0.4)]
        result = utterance.finish(Stop())
    assert so_far[0] == ""
    assert any(so_far)
    assert word_error_rate(said, result.text) == 0.0


@pytest.mark.parametrize("loudness", [0, 300, 3000])
def test_whisper_makes_up_no_words_for_silence_and_noise(whisper, loudness):
    noise = np.random.default_rng(4).normal(0, loudness, 48_000).astype(np.int16)
    for vocabulary in ((), ("Zyloh lamp", "Fennimore")):
        assert heard(whisper, Pcm(noise, 16_000), vocabulary) == Transcript("", 3.0, None)


def test_a_sentence_between_long_silences_is_heard_once(whisper):
    sentence = spoken("The capital of Spain is Madrid.").samples
    sound = np.concatenate([np.zeros(8 * 16_000, np.int16), sentence, np.zeros(2 * 16_000, np.int16)])
    assert normalise(heard(whisper, Pcm(sound, 16_000)).text) == "the capital of spain is madrid"


def test_a_clause_that_whisper_leaves_out_is_found_by_the_speech_behind_its_last_word(whisper):
    said = "She said that the book on the kitchen table belongs to her brother, who never reads it."
    sound = without_silence(spoken(said))
    first = whisper.guess(whisper.features(sound), "")
    assert first.text.endswith("brother.")
    assert first.log_probability > -0.3  # nothing else about it looks wrong
    behind_silence = np.concatenate([np.zeros(10 * 16_000, np.int16), sound])
    whole = []  # a processor with AVX2 alone computes a little otherwise, and finds it behind the silence only
    for samples in (sound, behind_silence):
        words = normalise(heard(whisper, Pcm(samples, 16_000)).text)
        assert words.startswith("she said that the book on the kitchen table belongs to her brother")
        assert words.count("kitchen") == 1
        whole += [samples] if words.endswith("reads it") else []
    assert whole
    with Whisper(whisper.file.parent, 2, partials=True) as engine:
        assert heard(engine, Pcm(whole[0], 16_000)).text.endswith("reads it.")


def test_speech_is_found_by_its_level_and_steady_noise_is_none():
    rng = np.random.default_rng(6)
    sound = rng.normal(0, 100, 4 * 16_000)
    sound[16_000:32_000] *= 30
    sound[40_000:40_480] *= 30  # a click of 30 ms
    (start_s, end_s), *more = speech_in(sound.astype(np.int16))
    assert not more
    assert (start_s, end_s) == (pytest.approx(1.0, abs=0.05), pytest.approx(2.0, abs=0.05))
    assert speech_in(np.zeros(16_000, np.int16)) == speech_in(np.zeros(100, np.int16)) == []


def test_whisper_hears_nothing_in_nothing(whisper):
    assert whisper.listen().finish(Stop()) == Transcript("", 0.0, None)
    for length in (1, 161, 512):
        assert heard(whisper, Pcm(np.ones(length, np.int16), 16_000)).text == ""


def test_a_vocabulary_helps_whisper_with_names(whisper):
    pcm = read_wav(GOLDEN / "call_fennimore.wav")  # Piper's voice, kept because it never says the same twice
    assert "Fennimore" not in heard(whisper, pcm).text
    assert word_error_rate("Call Fennimore please.", heard(whisper, pcm, ("Zyloh lamp", "Fennimore")).text) == 0.0
    endless = tuple(f"name number {n}" for n in range(2_000))
    assert heard(whisper, pcm, endless).text != ""


def test_a_doubtful_result_is_looked_at_again_and_the_likelier_one_kept(whisper):
    one, other = recorded("beckett").samples[:48_000], recorded("two_cities").samples[340_000:388_000]
    noise = np.random.default_rng(5).normal(0, 1_000, 48_000)
    samples = np.clip(one.astype(np.float64) + other + noise, -32768, 32767).astype(np.int16)
    features = whisper.features(samples)
    first, full = whisper.guess(features, ""), whisper.guess(features, "", window=3_000)
    assert first.doubtful
    confidence = whisper.decode(samples, "", Stop()).confidence
    assert confidence is not None
    assert math.log(confidence) >= max(first.log_probability, full.log_probability) - 1e-3
    stop = Stop()
    stop.set()
    with pytest.raises(Cancelled):
        whisper.decode(samples, "", stop)


def test_whisper_stops_and_refuses_another_rate(whisper):
    stop = Stop()
    stop.set()
    utterance = whisper.listen()
    with pytest.raises(Cancelled):
        utterance.accept(Pcm(np.zeros(1600, np.int16), 16_000), stop)
    with pytest.raises(Cancelled):
        utterance.finish(stop)
    with pytest.raises(InputError, match="resample it"):
        utterance.accept(Pcm(np.zeros(1600, np.int16), 44_100), Stop())


def test_an_incomplete_or_broken_whisper_says_what_to_do_and_downloads_nothing(whisper, tmp_path):
    folder = tmp_path / "whisper-x"
    with pytest.raises(EngineError, match="incomplete: run `perslm models pull whisper-x`"):
        open_recognizer("whisper", folder, 1)
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        shutil.copy(whisper.file.parent / name, folder)
    (folder / "model.bin").write_bytes(b"junk")
    with pytest.raises(EngineError, match="run `perslm models verify whisper-x`"):
        open_recognizer("whisper", folder, 1)


def test_whisper_proves_itself_and_a_closed_one_says_so(whisper):
    assert whisper.prove().startswith("heard a second of silence as silence in")
    engine = open_recognizer("whisper", whisper.file.parent, 1)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        heard(engine, Pcm(np.zeros(1600, np.int16), 16_000))


# --- Vosk


def test_vosk_tells_the_words_while_they_come(korean):
    pcm = Pcm(recorded("beckett").samples[:32_000], 16_000)
    utterance = korean.listen()
    so_far = [utterance.accept(piece, Stop()) for piece in pieces(pcm, 0.2)]
    result = utterance.finish(Stop())
    assert so_far[0] == ""
    assert len(set(so_far)) >= 3
    assert result.text != ""
    assert result.seconds == 2.0
    assert result.confidence is not None
    assert 0.0 < result.confidence <= 1.0


def test_a_vocabulary_is_all_that_vosk_hears(korean, caplog, capfd):
    with caplog.at_level(logging.WARNING, "perslm_runtime.stt_vosk"):
        result = heard(korean, recorded("beckett"), ("안녕 하세요", "불 켜", "예 zzzlamp", "qqqroom"))
    assert set(result.text.split()) <= {"안녕", "하세요", "불", "켜", "예"}
    assert result.text != ""
    assert "vosk-small-ko cannot hear these words, it does not know them: qqqroom, zzzlamp" in caplog.text
    assert capfd.readouterr().err == ""  # Kaldi writes to stderr past Python


def test_a_vocabulary_of_unknown_words_leaves_vosk_free(korean):
    pcm = Pcm(recorded("beckett").samples[:20_000], 16_000)
    assert heard(korean, pcm, ("qqqroom",)).text != ""


def test_vosk_hears_nothing_in_silence_and_stops(korean):
    assert korean.prove().startswith("heard half a second of silence as silence in")
    assert korean.listen().finish(Stop()) == Transcript("", 0.0, None)
    stop = Stop()
    stop.set()
    utterance = korean.listen()
    with pytest.raises(Cancelled):
        utterance.accept(Pcm(np.zeros(1600, np.int16), 16_000), stop)
    with pytest.raises(InputError, match="resample it"):
        utterance.accept(Pcm(np.zeros(1600, np.int16), 8_000), Stop())


def test_an_incomplete_or_broken_vosk_model_says_what_to_do(tmp_path):
    folder = tmp_path / "vosk-x"
    with pytest.raises(EngineError, match="incomplete: run `perslm models pull vosk-x`"):
        open_recognizer("vosk", folder, 1)
    (folder / "am").mkdir(parents=True)
    (folder / "am" / "final.mdl").write_bytes(b"junk")
    with pytest.raises(EngineError, match="run `perslm models verify vosk-x`"):
        open_recognizer("vosk", folder, 1)


def test_vosk_hears_english_with_the_english_model():
    folder = model_path("vosk-small-en-us-0.15", "am", "final.mdl").parents[1]
    with Vosk(folder) as engine:
        assert word_error_rate(BECKETT, heard(engine, recorded("beckett"), seconds=0.25).text) <= 0.25
        said = spoken("Turn on the kitchen light.")
        commands = ("turn on the kitchen light", "turn off the bedroom light")
        assert heard(engine, said, commands).text == "turn on the kitchen light"


# --- what both share


def test_an_unknown_engine_names_the_known_ones():
    with pytest.raises(ConfigError, match="there is no speech engine siri: choose one of whisper, vosk"):
        open_recognizer("siri", Path(), 1)


@settings(max_examples=40, deadline=None, database=None)
@given(
    st.lists(
        st.builds(
            Transcript,
            st.text("ab ", max_size=8).map(str.strip),
            st.floats(0, 30),
            st.none() | st.floats(0, 1),
        ),
        max_size=6,
    )
)
def test_joining_keeps_every_word_and_all_the_time(parts):
    whole = join(parts)
    assert whole.text.split() == [word for part in parts for word in part.text.split()]
    assert whole.seconds == pytest.approx(sum(part.seconds for part in parts))
    sure = [part.confidence for part in parts if part.confidence is not None and part.text]
    if not sure:
        assert whole.confidence is None
    else:
        assert min(sure) - 1e-9 <= whole.confidence <= max(sure) + 1e-9


@pytest.mark.parametrize(
    ("written", "spoken_as"),
    [
        ("It's 10:30 on the 21st.", "it is ten thirty on the twenty first"),
        ("Mr. Dashwood won't pay 3.5%", "mister dashwood will not pay three point five percent"),
        ("1,200 metres at -5°", "one thousand two hundred meters at minus five degrees"),
        ("Well, um, Mabel's café & co.", "well mabels cafe and co"),
        ("5-5", "five five"),
        ("I’d say we're OK", "i would say we are okay"),
    ],
)
def test_words_are_made_alike_before_they_are_counted(written, spoken_as):
    assert normalise(written) == spoken_as
    assert word_error_rate(spoken_as, written) == 0.0


def test_word_error_rate_counts_wrong_missing_and_added_words():
    assert word_error_rate("turn on the light", "turn of the light") == 0.25
    assert word_error_rate("turn on the light", "turn the light") == 0.25
    assert word_error_rate("turn on the light", "") == 1.0
    assert word_error_rate("...", "") == 0.0
    assert word_error_rate("...", "you") == 1.0
