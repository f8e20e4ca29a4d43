"""Whisper through faster-whisper and CTranslate2, in 8 bits. Only importer of faster_whisper.

Whisper was trained on windows of 30 seconds and every library pads to that, so that a command of three seconds
costs ten times its length. CTranslate2 takes shorter windows, but in windows as short as the clip Whisper loops.
Ten seconds, and never less than one after the words, give the full window's words in a third of its time.

What looks wrong (more tokens than anybody speaks, repetition, low probability) is decoded again, first with no
three tokens allowed twice, then in the full window. Forbidding that from the start costs words where people repeat
themselves ("it was the age of wisdom, it was the age of ..."): 7.1 % wrong against 5.4 on 13 recordings, 15.0
against 14.1 on 35 spoken replies (the full window: 4.5 and 14.2, in two and a half to four times the time).

Without time stamps Whisper may also end at a full stop and leave out the clause behind it, sure of itself. What
its last word paid attention to says where it ended; half a second of speech after that is decoded with time
stamps. To ask takes 5 to 10 % of a decoding. Letters per second of speech could not tell such clips from others.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from faster_whisper import WhisperModel  # type: ignore[import-untyped]  # the package says nothing of its types
from faster_whisper.tokenizer import Tokenizer  # type: ignore[import-untyped]  # as above
from numpy.typing import NDArray

from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import ConfigError, EngineError
from perslm_runtime.lane import Stop
from perslm_runtime.stt import SHORTEST_WINDOW_S, Transcript, join, require_rate

_FRAMES_PER_S = 100
_HOP = SPEECH_RATE_HZ // _FRAMES_PER_S  # samples of a frame
_FULL_WINDOW = 3000  # frames of 10 ms
_MARGIN = 100  # frames of silence after the words: without them the last ones are lost
_AT_ONCE_S = 15.0  # longer sound is decoded with time stamps: without, Whisper may end in the middle of it
_LONGEST_S = 28.0  # of sound in one window
_TOKENS_PER_S = 6  # fast speech is 4 to 5
_PARTIAL_EVERY_S = 0.8
_DOUBT = -0.8  # log-probability; words heard well are above -0.6
_PLACE_S = 0.02  # a step of the encoder
_CLAUSES_S = 2.0  # of speech may hold more than one clause
_UNWRITTEN_S = 0.5  # of speech after the last word: where all is written 0.3 at most, without the clause 0.7
_FULLER = 1.15  # so many times the letters is more words, not another spelling
_LETTERS_PER_S = 25  # of speech; Piper's fastest is 20, a sentence written twice has 30
_STAMPS = 10  # tokens more for time stamps
_AROUND_S = 0.3  # of sound around speech that is decoded with time stamps: behind a long silence they double it
_SMOOTH, _PAUSE, _BURST = 5, 30, 10  # frames
_MARKS = " .,;:!?…-\"'"


@dataclass(frozen=True, slots=True)
class _Guess:
    """One decoding. `log_probability` is the mean per token, `no_speech` the chance that nobody spoke."""

    text: str
    log_probability: float
    no_speech: float
    complete: bool
    words: tuple[int, ...] = ()  # tokens
    encoded: Any = None  # the sound as the decoder saw it, for asking where in it the words are

    @property
    def letters(self) -> int:
        return sum(c.isalnum() for c in self.text)

    @property
    def silent(self) -> bool:
        """Whether these are the words that Whisper makes up where there are none."""
        unsure = self.log_probability < -2.0 or (self.no_speech > 0.8 and self.log_probability < -0.7)
        return unsure or not any(c.isalnum() for c in self.text)

    @property
    def loops(self) -> bool:
        text = self.text.encode()
        return len(text) / len(zlib.compress(text)) > 2.4  # Whisper's own threshold

    @property
    def doubtful(self) -> bool:
        return self.log_probability < _DOUBT or self.loops or not self.complete


class Whisper:
    """A Whisper model from its CTranslate2 folder (`model.bin`, `tokenizer.json`, ...).

    `language` is a code such as "en"; English-only models ignore it. With `partials`, `accept` decodes what
    there is whenever 0.8 s of new sound have come, and twice the time that the last decoding took.
    No window is shorter than `shortest_window_s` (30 is Whisper's own). Raises `EngineError` when the model cannot
    be loaded, `ConfigError` for a language it does not know.
    """

    def __init__(
        self,
        folder: Path,
        threads: int,
        language: str = "en",
        *,
        partials: bool = False,
        shortest_window_s: float = SHORTEST_WINDOW_S,
    ) -> None:
        self.name = folder.name
        self.file: Path | None = folder / "model.bin"
        if not (folder / "model.bin").is_file() or not (folder / "tokenizer.json").is_file():
            # faster-whisper would try to download what is missing.
            raise EngineError(
                f"the speech model in {folder} is incomplete: run `perslm models pull {folder.name}`"
            )
        try:
            model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineError(
                f"the speech model {folder} could not be loaded ({error}): run `perslm models verify {self.name}`"
            ) from error
        if model.model.is_multilingual and language not in model.supported_languages:
            raise ConfigError(
                f"{self.name} does not know the language {language}: choose a code such as en, de, fr"
            )
        self._model: WhisperModel | None = model
        self._tokenizer = Tokenizer(model.hf_tokenizer, model.model.is_multilingual, "transcribe", language)
        self._partials = partials
        self._shortest = round(shortest_window_s * _FRAMES_PER_S)
        self._language = language if model.model.is_multilingual else "en"

    def listen(self, vocabulary: Sequence[str] = ()) -> WhisperUtterance:
        """Begin an utterance; `vocabulary` is shown to Whisper first: give rare names, not common words."""
        return WhisperUtterance(self, _hotwords(vocabulary), self._partials)

    def decode(
        self, samples: NDArray[np.int16], hotwords: str, stop: Stop, known: _Guess | None = None
    ) -> Transcript:
        """Return the words in at most 28 s of 16 kHz sound [n], looked at again while the result is doubtful.

        `known` is what one decoding of all of it gave, if there was one.
        """
        if (known is None or known.doubtful) and len(samples) > _AT_ONCE_S * SPEECH_RATE_HZ:
            return join(self.sentences(samples, hotwords, stop))
        features = self.features(samples)
        guesses = [known or self.guess(features, hotwords)]
        for no_repeat, window in ((3, self._shortest), (0, _FULL_WINDOW)):
            if guesses[-1].silent or not guesses[-1].doubtful:
                break
            stop.check()
            guesses.append(self.guess(features, hotwords, no_repeat=no_repeat, window=window))
        best = max(guesses, key=lambda guess: (guess.complete and not guess.loops, guess.log_probability))
        return _as_transcript(self._whole(best, samples, hotwords, stop), len(samples) / SPEECH_RATE_HZ)

    def _whole(self, guess: _Guess, samples: NDArray[np.int16], hotwords: str, stop: Stop) -> _Guess:
        """Return `guess`, or what Whisper writes with time stamps where speech goes on after `guess` ends."""
        stretches = speech_in(samples)
        speech_s = sum(end - start for start, end in stretches)
        if guess.silent or speech_s < _CLAUSES_S:
            return guess
        written_s = self._last_word_ends(guess, len(samples) // _HOP)
        if sum(max(0.0, end - max(start, written_s)) for start, end in stretches) < _UNWRITTEN_S:
            return guess
        stop.check()
        first = round(max(0.0, stretches[0][0] - _AROUND_S) * SPEECH_RATE_HZ)
        last = round((stretches[-1][1] + _AROUND_S) * SPEECH_RATE_HZ)
        again = self.guess(self.features(samples[first:last]), hotwords, stamps=True)
        fuller = _FULLER * guess.letters <= again.letters <= _LETTERS_PER_S * speech_s
        return again if fuller and not again.doubtful and not again.silent else guess

    def _last_word_ends(self, guess: _Guess, frames: int) -> float:
        """Return the second at which the last word of `guess` ends, by what its tokens paid attention to."""
        count = len(guess.words)
        while count and not self._tokenizer.decode(guess.words[count - 1 : count]).strip(_MARKS):
            count -= 1
        aligned = self._ready().model.align(
            guess.encoded, self._tokenizer.sot_sequence, [list(guess.words)], [frames + _MARGIN]
        )[0]
        return next((at * _PLACE_S for token, at in aligned.alignments if token >= count), math.inf)

    def sentences(self, samples: NDArray[np.int16], hotwords: str, stop: Stop) -> list[Transcript]:
        """Return the words in 16 kHz sound [n] as parts that follow each other, cut by Whisper's time stamps."""
        found, _ = self._ready().transcribe(
            samples.astype(np.float32) / 32768.0, language=self._language, beam_size=1, temperature=0.0,
            condition_on_previous_text=False, hotwords=hotwords or None,
        )  # fmt: skip
        total_s = len(samples) / SPEECH_RATE_HZ
        parts: list[Transcript] = []
        at = 0.0
        for segment in found:
            stop.check()
            guess = _Guess(segment.text.strip(), segment.avg_logprob, segment.no_speech_prob, complete=True)
            end = min(max(segment.end, at), total_s)
            parts.append(_as_transcript(guess, end - at))
            at = end
        if at < total_s:
            parts.append(Transcript("", total_s - at, None))
        return parts

    def features(self, samples: NDArray[np.int16]) -> NDArray[np.float32]:
        """Return the log-mel features [80, frames] of 16 kHz sound [n], one frame per 10 ms."""
        features: NDArray[np.float32] = self._ready().feature_extractor(samples.astype(np.float32) / 32768.0)
        return features

    def prove(self) -> str:
        """Decode a second of silence; raises `EngineError` unless no words come of it."""
        began = time.perf_counter()
        heard = self.decode(np.zeros(SPEECH_RATE_HZ, np.int16), "", Stop())
        if heard.text:
            raise EngineError(f"{self.name} hears words in silence: run `perslm models verify {self.name}`")
        return f"heard a second of silence as silence in {(time.perf_counter() - began) * 1000:.0f} ms"

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        if self._model is not None:
            self._model.model.unload_model()
            self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _ready(self) -> WhisperModel:
        if self._model is None:
            raise EngineError(f"the recognizer {self.name} is closed")
        return self._model

    def guess(
        self,
        features: NDArray[np.float32],
        hotwords: str,
        *,
        no_repeat: int = 0,
        window: int = 0,
        stamps: bool = False,
    ) -> _Guess:
        """Decode log-mel features [80, frames] once, in `window` frames (else the shortest) or more.

        With `no_repeat`, no so many tokens in a row come twice; with `stamps` Whisper writes time stamps too.
        """
        model = self._ready()
        frames = features.shape[1]
        padded = np.zeros(
            (features.shape[0], min(_FULL_WINDOW, max(window or self._shortest, frames + _MARGIN))), np.float32
        )
        padded[:, :frames] = features
        prompt = model.get_prompt(self._tokenizer, [], without_timestamps=not stamps, hotwords=hotwords or None)
        most = math.ceil(frames / _FRAMES_PER_S * _TOKENS_PER_S) + 6 + (_STAMPS if stamps else 0)
        most = min(most, model.max_length // 2)
        # CTranslate2 generates at most half of max_length, and never beyond it with the prompt.
        limit = max(2 * most, len(prompt) + most)
        encoded = model.encode(padded)
        result: Any = model.model.generate(
            encoded, [prompt], beam_size=1, no_repeat_ngram_size=no_repeat, max_length=limit,
            return_scores=True, return_no_speech_prob=True,
        )[0]  # fmt: skip
        tokens = result.sequences_ids[0]
        # The score is the mean over the tokens; the end mark counts as one more, as in Whisper.
        log_probability = result.scores[0] * len(tokens) / (len(tokens) + 1)
        words = tuple(token for token in tokens if token < self._tokenizer.eot)
        text = self._tokenizer.decode(words).strip()
        return _Guess(text, log_probability, result.no_speech_prob, len(tokens) < most, words, encoded)


class WhisperUtterance:
    """Sound collected for a `Whisper`. Past 28 s it is cut between sentences and decoded as it comes."""

    def __init__(self, whisper: Whisper, hotwords: str, partials: bool) -> None:
        self._whisper = whisper
        self._hotwords = hotwords
        self._partials = partials
        self._done: list[Transcript] = []
        self._open = np.zeros(0, np.int16)
        self._last: _Guess | None = None  # of the first `_looked_at` samples of `_open`
        self._looked_at = 0
        self._whole: Transcript | None = None  # of all of `_open`
        self._took_s = 0.0

    def accept(self, pcm: Pcm, stop: Stop) -> str:
        """Collect `pcm`; without `partials`, the text so far is that of the windows already complete."""
        require_rate(pcm)
        stop.check()
        self._open = np.concatenate([self._open, pcm.samples])
        self._whole = None
        self._close_windows(stop)
        new_s = (len(self._open) - self._looked_at) / SPEECH_RATE_HZ
        if self._partials and new_s >= max(_PARTIAL_EVERY_S, 2 * self._took_s):
            self._glance()
        texts = [part.text for part in self._done]
        if self._last is not None and not self._last.silent:
            texts.append(self._last.text)
        return " ".join(text for text in texts if text)

    def look(self, stop: Stop) -> Transcript:
        """Decode what is left, join it to the rest, and keep it for a `finish` that follows."""
        stop.check()
        if self._whole is None and len(self._open):
            known = self._last if self._looked_at == len(self._open) else None
            self._whole = self._whisper.decode(self._open, self._hotwords, stop, known)
        return join(self._done if self._whole is None else [*self._done, self._whole])

    def finish(self, stop: Stop) -> Transcript:
        """Decode what is left and join it to the rest."""
        heard = self.look(stop)
        self._open = self._open[:0]
        return heard

    def _glance(self) -> None:
        """Decode what there is once, quickly."""
        began = time.perf_counter()
        self._last = self._whisper.guess(self._whisper.features(self._open), self._hotwords)
        self._looked_at = len(self._open)
        self._took_s = time.perf_counter() - began

    def _close_windows(self, stop: Stop) -> None:
        longest = round(_LONGEST_S * SPEECH_RATE_HZ)
        while len(self._open) > longest:
            parts = self._whisper.sentences(self._open[:longest], self._hotwords, stop)
            # The last sentence may go on after the window: it is heard again, whole, in the next one.
            if sum(part.seconds for part in parts[:-1]) >= 1.0:
                parts = parts[:-1]
            self._done += parts
            cut = round(sum(part.seconds for part in parts) * SPEECH_RATE_HZ)
            self._open = self._open[cut:]
            self._last, self._looked_at = None, 0


def speech_in(samples: NDArray[np.int16]) -> list[tuple[float, float]]:
    """Find speech in 16 kHz sound [n] by its level, as (start_s, end_s).

    Level is judged between the sound's own quietest and loudest twentieth, so that steady noise does not count.
    Pauses under 0.3 s belong to speech, bursts under 0.1 s do not.
    """
    count = len(samples) // _HOP
    if count < _SMOOTH:
        return []
    power = np.square(samples[: count * _HOP].astype(np.float32)).reshape(count, _HOP).mean(axis=1)
    level_db = np.convolve(10 * np.log10(power + 1), np.full(_SMOOTH, 1 / _SMOOTH), "same")
    quiet_db, loud_db = np.quantile(level_db, (0.05, 0.95))
    quiet_db = max(quiet_db, loud_db - 40)
    share = (level_db - quiet_db) / max(loud_db - quiet_db, 1.0)
    stretches: list[list[int]] = []
    inside = False
    for at, level in enumerate(share):
        inside = bool(level > (0.35 if inside else 0.5))
        if not inside:
            continue
        if stretches and at - stretches[-1][1] < _PAUSE:
            stretches[-1][1] = at + 1
        else:
            stretches.append([at, at + 1])
    return [(a / _FRAMES_PER_S, b / _FRAMES_PER_S) for a, b in stretches if b - a >= _BURST]


def _as_transcript(guess: _Guess, seconds: float) -> Transcript:
    if guess.silent:
        return Transcript("", seconds, None)
    return Transcript(guess.text, seconds, min(1.0, math.exp(guess.log_probability)))


def _hotwords(vocabulary: Sequence[str]) -> str:
    """Write the words to expect as a sentence of 400 letters at most: a long prompt costs time and gets recited.

    As a sentence, because a bare list makes tiny.en recite: with six household names in it, 12 % of the words in
    sentences with such names were wrong instead of 42, with the list 29. Words of every day do not belong in it:
    they cost 4 % more wrong elsewhere.
    """
    kept: list[str] = []
    room = 400
    for phrase in dict.fromkeys(" ".join(phrase.split()) for phrase in vocabulary):
        room -= len(phrase) + 2
        if room < 0:
            break
        if phrase:
            kept.append(phrase)
    return f"Glossary: {', '.join(kept)}." if kept else ""
