"""Sound in the forms that browsers, phones and API clients send and want: WebM, Ogg, MP3, MP4, FLAC. Door to PyAV.

What comes is told by its first bytes and opened as nothing else: FFmpeg left to guess would also read playlists,
which name other files and addresses. Everything is used in one thread, that of the engine it is for.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler

from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, read_wav, resample, too_long
from perslm_runtime.errors import InputError

FORMS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
"""What an `Encoder` makes; pcm is 24 kHz, 16 bit, mono without a header, as OpenAI's."""

MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}

_PCM_HZ = 24_000
_OPUS_HZ = 48_000
# (container, codec, what the encoder is given)
_ENCODERS = {
    "mp3": ("mp3", "libmp3lame", "s16p"),
    "opus": ("ogg", "libopus", "s16"),
    "aac": ("adts", "aac", "fltp"),
    "flac": ("flac", "flac", "s16"),
}
_OPTIONS = {"opus": {"page_duration": "200000"}}  # microseconds: a page of a second would be a second late
_MAGIC = (
    (0, b"\x1a\x45\xdf\xa3", "matroska"),  # and WebM
    (0, b"OggS", "ogg"),
    (0, b"fLaC", "flac"),
    (0, b"ID3", "mp3"),
    (4, b"ftyp", "mp4"),
)


def decode(raw: bytes, *, longest_s: float) -> Pcm:
    """The sound of a recording's bytes, mono at 16 kHz. Raises `InputError` for what is none, or too long."""
    if raw[:4] == b"RIFF":
        return resample(read_wav(io.BytesIO(raw), longest_s=longest_s), SPEECH_RATE_HZ)
    container = _container(raw)
    if container is None:
        raise InputError("the recording is no WAV, WebM, Ogg, MP3, MP4 or FLAC: send one of these")
    parts: list[np.ndarray[Any, Any]] = []
    count = 0
    try:
        with av.open(io.BytesIO(raw), "r", format=container) as opened:
            resampler = AudioResampler(format="s16", layout="mono", rate=SPEECH_RATE_HZ)
            for frame in opened.decode(audio=0):
                for made in resampler.resample(frame):
                    parts.append(made.to_ndarray().reshape(-1))
                    count += len(parts[-1])
                if count > longest_s * SPEECH_RATE_HZ:
                    raise too_long("the recording", count / SPEECH_RATE_HZ, longest_s)
            parts += [made.to_ndarray().reshape(-1) for made in resampler.resample(None)]
    except (av.FFmpegError, IndexError, ValueError) as error:  # IndexError: no sound in it
        raise InputError(f"the recording could not be read ({type(error).__name__}): is it whole?") from error
    if not parts:
        raise InputError("the recording holds no sound")
    return Pcm(np.concatenate(parts).astype(np.int16), SPEECH_RATE_HZ)


def _container(raw: bytes) -> str | None:
    for at, magic, name in _MAGIC:
        if raw[at : at + len(magic)] == magic:
            return name
    is_mp3 = len(raw) > 2 and raw[0] == 0xFF and raw[1] & 0xE0 == 0xE0 and raw[1] & 0x06 != 0
    return "mp3" if is_mp3 else None


class Encoder:
    """Makes bytes of `form` (one of `FORMS`) out of pieces of sound of one rate, as they come."""

    def __init__(self, form: str, rate_hz: int) -> None:
        self._form, self._rate_hz = form, rate_hz
        self._sink = _Sink()
        self._begun = False
        self._container: Any = None
        if form == "pcm":
            self._resampler = AudioResampler(format="s16", layout="mono", rate=_PCM_HZ)
        elif form != "wav":
            container, codec, sample = _ENCODERS[form]
            self._container = av.open(self._sink, "w", format=container, options=_OPTIONS.get(form, {}))
            rate = _OPUS_HZ if form == "opus" else rate_hz
            self._stream = self._container.add_stream(codec, rate=rate)
            self._stream.layout = "mono"
            self._stream.format = sample
            self._resampler = AudioResampler(format=sample, layout="mono", rate=rate)

    def feed(self, sound: Pcm) -> bytes:
        """The bytes that can be given now; perhaps none."""
        if self._form == "wav":
            head = b"" if self._begun else _wav_head(self._rate_hz)
            self._begun = True
            return head + np.ascontiguousarray(sound.samples, "<i2").tobytes()
        frame = av.AudioFrame.from_ndarray(sound.samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self._rate_hz
        return b"".join(self._made(frame))

    def finish(self) -> bytes:
        """The bytes that are left."""
        if self._form == "wav":
            return b"" if self._begun else _wav_head(self._rate_hz)
        left = b"".join(self._made(None))
        if self._container is not None:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()
            left += self._sink.taken()
        return left

    def _made(self, frame: Any) -> Iterator[bytes]:
        for resampled in self._resampler.resample(frame):
            if self._container is None:
                yield resampled.to_ndarray().astype("<i2").tobytes()
                continue
            for packet in self._stream.encode(resampled):
                self._container.mux(packet)
            yield self._sink.taken()


class _Sink:
    """Where a container writes. It cannot be sought in: what was given is not changed any more."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """What was written since it was last asked."""
        made = b"".join(self._parts)
        self._parts.clear()
        return made


def _wav_head(rate_hz: int) -> bytes:
    """The header of a mono 16-bit WAV whose length is not known yet."""
    unknown = 0xFFFF_FFFF
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, rate_hz * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", unknown, b"WAVE") + form + struct.pack("<4sI", b"data", unknown)
