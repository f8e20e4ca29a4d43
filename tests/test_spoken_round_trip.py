"""Written, spoken and heard again: replies as a model writes them, through the splitter, the words for the voice,
Piper, a WAV file and Whisper, against the replies themselves.

Both sides are read by `reading.as_read` and then `wer.normalise`, and neither knows `spoken`. Whisper listens as
its makers use it, in its full window of 30 s; four replies share one, which halves its time. Measured: 0.02 of the
words are wrong, and 0.16 where the pieces are handed to Piper as they are written.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, read_wav, resample, write_wav
from perslm_runtime.lane import Stop
from perslm_runtime.sentences import SentenceSplitter
from perslm_runtime.spoken import speakable
from perslm_runtime.stt_whisper import Whisper
from perslm_runtime.tts import Piper
from reading import as_read
from real_models import model_path
from wer import normalise, word_error_rate

AT_ONCE = 4
ROUNDS = int(os.environ.get("PERSLM_STRESS_ROUNDS", "10"))
REPLIES = (Path(__file__).parent / "golden/replies.txt").read_text("utf-8").split("\n%\n")[:ROUNDS]


@pytest.mark.stress
@pytest.mark.timeout(120)
def test_spoken_replies_are_heard_as_they_were_written(tmp_path: Path) -> None:
    assert len(REPLIES) == min(ROUNDS, 20)
    wrong, words, report = 0.0, 0, []
    with (
        Piper(model_path("piper-en_US-joe-medium"), threads=2) as voice,
        Whisper(model_path("whisper-tiny.en"), threads=2) as ears,
    ):
        for start in range(0, len(REPLIES), AT_ONCE):
            replies = REPLIES[start : start + AT_ONCE]
            wav = tmp_path / f"{start}.wav"
            write_wav(wav, speak(voice, replies))
            written, heard = as_read("\n".join(replies)), as_read(hear(ears, read_wav(wav)))
            count = len(normalise(written).split())
            wrong, words = wrong + count * word_error_rate(written, heard), words + count
            report.append(f"{normalise(written)}\n{normalise(heard)}\n")
    assert wrong / words <= 0.10, "\n".join(report)


def speak(voice: Piper, replies: list[str]) -> Pcm:
    """The sound of replies, piece by piece as in a turn, with a breath of silence after each piece."""
    splitter, sound = SentenceSplitter(), []
    for reply in replies:
        for piece in splitter.feed(reply) + splitter.flush():
            if words := speakable(piece):
                sound += [part.samples for part in voice.speak(words, Stop())]
                sound.append(np.zeros(voice.rate_hz // 5, np.int16))
    return Pcm(np.concatenate(sound), voice.rate_hz)


def hear(ears: Whisper, pcm: Pcm) -> str:
    parts = ears.sentences(resample(pcm, SPEECH_RATE_HZ).samples, "", Stop())
    return " ".join(part.text for part in parts)
