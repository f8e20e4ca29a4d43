"""PCM as the rest of PersLM sees it, and WAV files in and out. Pure: no engine, no device.

One form inside: mono, 16-bit signed, at a rate that is named in hertz. `read_wav` accepts any PCM or float
WAV and makes that form of it; everything that is wrong with a file is an `InputError` saying what to do.
The container is parsed here, not by the standard library's `wave`: that refuses float and extensible files
and unfinished recordings, which are what phones, browsers and a killed recorder leave behind.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from perslm_runtime.errors import InputError

SPEECH_RATE_HZ = 16_000
"""What the recognizers, the wake word and the voice activity detector listen at."""

LOWEST_RATE_HZ = 4_000
HIGHEST_RATE_HZ = 192_000

_SILENCE_RMS = 33.0
"""Loudest 32 ms of a recording that holds nothing: -60 dB of full scale. Speech across a room is above -45 dB."""

_BLOCK_FRAMES = 1 << 18
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_OTHER_CODECS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "ADPCM", 0x31: "GSM", 0x50: "MP2", 0x55: "MP3"}
_UNKNOWN_LENGTH = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, eq=False)
class Pcm:
    """Mono 16-bit sound. `samples` has shape [n] and dtype int16; `rate_hz` is samples per second."""

    samples: NDArray[np.int16]
    rate_hz: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate_hz


def clock(seconds: float) -> str:
    """Write a length as people read it: 7.4 -> "0:07", 600 -> "10:00", 3725 -> "1:02:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def no_speech(what: str) -> InputError:
    """Build the error for a recording in which nothing was said; also for a recognizer that heard no word."""
    return InputError(
        f"no speech was found in {what}: speak closer to the microphone, or check that the right one recorded it"
    )


def too_long(what: str, seconds: float, longest_s: float) -> InputError:
    """Build the error for a recording that is longer than one utterance may be."""
    return InputError(
        f"{what} is {clock(seconds)} long; at most {clock(longest_s)} is recognised at once: "
        f"cut it, for example with `ffmpeg -i {what} -t {longest_s:.0f} part.wav`"
    )


def without_lead(pcm: Pcm) -> Pcm:
    """`pcm` without the silence before its first sound, but for 5 ms of it; as it is where all is silent."""
    loud = np.flatnonzero(np.abs(pcm.samples.astype(np.int32)) > _SILENCE_RMS)
    first = max(0, int(loud[0]) - pcm.rate_hz // 200) if len(loud) else 0
    return Pcm(pcm.samples[first:], pcm.rate_hz)


def require_speech(pcm: Pcm, what: str = "the recording", *, longest_s: float = 120.0) -> None:
    """Raise `InputError` if `pcm` is silent or longer than `longest_s`; `what` is its name in the message.

    Silence is judged by level alone (no 32 ms above -60 dB of full scale); noise without words passes here
    and is left to the voice activity detector and the recognizer.
    """
    if pcm.seconds > longest_s:
        raise too_long(what, pcm.seconds, longest_s)
    if _loudest_rms(pcm) < _SILENCE_RMS:
        raise no_speech(what)


def _loudest_rms(pcm: Pcm) -> float:
    """Root mean square of the loudest 32 ms, each frame without its own offset, in 16-bit steps."""
    frame = max(1, min(len(pcm.samples), pcm.rate_hz * 32 // 1000))
    whole = len(pcm.samples) // frame * frame
    if whole == 0:
        return 0.0
    return float(pcm.samples[:whole].reshape(-1, frame).astype(np.float32).std(axis=1).max())


# --- changing the rate -------------------------------------------------------------------------------------------


def resample(pcm: Pcm, rate_hz: int) -> Pcm:
    """Return the same sound at `rate_hz`, within half a sample of the same length.

    Windowed-sinc polyphase: 48 zero crossings a side under a Kaiser window (beta 9), cut at 0.95 of the lower
    Nyquist frequency. What could fold back is more than 80 dB down; the pass band is flat to 0.88 of Nyquist.
    """
    if rate_hz == pcm.rate_hz or len(pcm.samples) == 0:
        return Pcm(pcm.samples, rate_hz)
    # Odd pairs such as 44,101 to 16,000 would need a filter per phase of 16,000; within a hundred-thousandth of
    # the ratio, nearer than any recorder's crystal, a thousand times the ratio are enough.
    ratio = Fraction(rate_hz, pcm.rate_hz).limit_denominator(1000)
    up, down = ratio.numerator, ratio.denominator
    reach = int(np.ceil(48 * max(1.0, down / up))) + 1
    length = max(1, round(len(pcm.samples) * up / down))
    # Zeros on both sides, so that every output sample sees a whole window of input.
    padded = np.pad(pcm.samples.astype(np.float32), (reach, reach + down))
    windows = sliding_window_view(padded, 2 * reach)
    out = np.empty(length, np.float32)
    for phase in range(min(up, length)):
        # Output n sits at input position n * down / up; all n of one phase share their fraction, so one filter.
        first, fraction = divmod(phase * down, up)
        count = len(range(phase, length, up))
        taps = sinc_taps(reach, fraction / up, min(1.0, up / down))
        out[phase::up] = windows[first + 1 :: down][:count] @ taps
    return Pcm(to_int16(out / 32768.0), rate_hz)


def sinc_taps(reach: int, fraction: float, ratio: float) -> NDArray[np.float32]:
    """Low-pass taps [2 * reach] around a point `fraction` after tap `reach - 1`; they add up to one.

    `ratio` is the output rate over the input rate, at most 1.
    """
    at = np.arange(2 * reach) - (reach - 1) - fraction
    width = 48 / ratio
    window = np.i0(9.0 * np.sqrt(np.clip(1.0 - (at / width) ** 2, 0.0, None)))
    window[np.abs(at) > width] = 0.0
    taps: NDArray[np.float64] = np.sinc(at * 0.95 * ratio) * window
    taps /= taps.sum()
    return taps.astype(np.float32)


def to_int16(values: NDArray[np.floating]) -> NDArray[np.int16]:
    """Make [-1, 1] floats 16-bit: rounded, clipped, and what is not a number silent."""
    finite = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=-1.0)
    steps: NDArray[np.floating] = np.clip(np.rint(np.clip(finite, -1.0, 1.0) * 32768.0), -32768, 32767)
    return steps.astype(np.int16)


# --- writing -----------------------------------------------------------------------------------------------------


def write_wav(target: Path | BinaryIO, pcm: Pcm) -> None:
    """Write `pcm` as a 16-bit WAV; a file appears whole or not at all, and an old one stays until then.

    Raises `InputError` when the place cannot be written. A stream is written once, in order, without seeking.
    """
    data = np.ascontiguousarray(pcm.samples, "<i2").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, _PCM, 1,
                       pcm.rate_hz, pcm.rate_hz * 2, 2, 16, b"data", len(data))  # fmt: skip
    if not isinstance(target, Path):
        target.write(head + data)
        return
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(head + data)  # a pipe or a device has no half-written state to guard against
        else:
            _replace(Path(os.path.realpath(target)), head + data)
    except OSError as error:
        raise InputError(
            f"{target} could not be written ({error.strerror}): {_write_advice(target, error.errno)}"
        ) from error


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write_advice(target: Path, errno: int | None) -> str:
    if target.is_dir():
        return f"it is a folder, name a file in it, such as {target / 'reply.wav'}"
    if not target.parent.is_dir():
        return f"the folder {target.parent} does not exist, create it or choose another"
    if errno in (ENOSPC, EDQUOT):
        return "free some space"
    return "choose a folder you may write to"


# --- reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Format:
    """What a WAV's `fmt ` chunk says. `width` is bytes per sample of one channel."""

    is_float: bool
    channels: int
    rate_hz: int
    width: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.width


def read_wav(source: Path | BinaryIO, *, longest_s: float | None = None) -> Pcm:
    """Read a WAV of any rate from 4 to 192 kHz, any channels (mixed to one), 8 to 32-bit PCM or 32/64-bit float.

    A recording that was cut off gives what is there. With `longest_s`, a longer one is refused from its header,
    before its sound is read. Raises `InputError` for everything that is not such a file, with the next step.
    """
    if not isinstance(source, Path):
        return _read(_seekable(source), "the recording", longest_s)
    try:
        with source.open("rb") as stream:
            return _read(_seekable(stream), str(source), longest_s)
    except FileNotFoundError as error:
        raise InputError(f"{source} does not exist: check the name and the folder") from error
    except IsADirectoryError as error:
        raise InputError(f"{source} is a folder: name the WAV file in it") from error
    except PermissionError as error:
        raise InputError(f"{source} may not be read: run `chmod +r {source}` as its owner") from error
    except OSError as error:
        raise InputError(f"{source} could not be read ({error.strerror}): copy it to another disk") from error


def _seekable(stream: BinaryIO) -> BinaryIO:
    return stream if stream.seekable() else io.BytesIO(stream.read())


def _read(stream: BinaryIO, what: str, longest_s: float | None) -> Pcm:
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(512)
    if not head:
        raise InputError(f"{what} is empty: record it again")
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:12] != b"WAVE":
        raise InputError(f"{what} is {_looks_like(head, what)}")
    form, size = _find_sound(stream, what, end, struct.unpack_from("<I", head, 4)[0])
    frames = size // form.frame_bytes
    if frames == 0:
        raise InputError(f"{what} has a WAV header but no sound in it: record it again")
    if longest_s is not None and frames / form.rate_hz > longest_s:
        raise too_long(what, frames / form.rate_hz, longest_s)
    return Pcm(np.concatenate(list(_mono_blocks(stream, form, frames))), form.rate_hz)


def _find_sound(stream: BinaryIO, what: str, end: int, riff_size: int) -> tuple[_Format, int]:
    """Leave `stream` at the first byte of sound; return its format and how many bytes of it there are."""
    form: _Format | None = None
    at = 12
    long_size = _UNKNOWN_LENGTH
    while at + 8 <= end:
        stream.seek(at)
        kind, size = struct.unpack("<4sI", stream.read(8))
        at += 8
        if kind == b"data":
            if form is None:
                break
            stream.seek(at)
            if size == _UNKNOWN_LENGTH:
                size = long_size
            elif size == 0 and riff_size + 8 <= at:
                size = _UNKNOWN_LENGTH  # a recorder that was killed before it could fill in the two lengths
            return form, end - at if size == _UNKNOWN_LENGTH else min(size, end - at)
        if kind == b"fmt ":
            form = _parse_format(stream.read(min(size, 40)), what)
        elif kind == b"ds64" and size >= 16:
            long_size = struct.unpack("<QQ", stream.read(16).ljust(16, b"\0"))[1]
        at += size + size % 2
    missing = "sound" if form else "description of its format"
    raise InputError(f"{what} is a WAV file without a {missing}: record it again")


def _parse_format(chunk: bytes, what: str) -> _Format:
    if len(chunk) < 16:
        raise InputError(f"{what} is a WAV file with a broken header: record it again")
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = struct.unpack_from("<H", chunk, 24)[0]
    width = (bits + 7) // 8
    if tag not in (_PCM, _FLOAT):
        codec = _OTHER_CODECS.get(tag, f"code {tag:#x}")
        raise InputError(f"{what} is a WAV file with {codec} sound in it: {_convert(what)}")
    if width not in ((4, 8) if tag == _FLOAT else (1, 2, 3, 4)):
        raise InputError(f"{what} has {bits}-bit samples, which no recorder writes: {_convert(what)}")
    if channels == 0:
        raise InputError(f"{what} says that it has no channels: record it again")
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise InputError(
            f"{what} has {rate_hz} samples a second; {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} can be used: "
            f"convert it with `ffmpeg -i {what} -ar {SPEECH_RATE_HZ} out.wav`"
        )
    return _Format(tag == _FLOAT, channels, rate_hz, width)


def _mono_blocks(stream: BinaryIO, form: _Format, frames: int) -> Iterator[NDArray[np.int16]]:
    """Yield the sound as mono int16, a bounded number of bytes at a time, whatever the file's form."""
    step = max(1, _BLOCK_FRAMES // form.channels)
    while frames > 0:
        raw = stream.read(min(step, frames) * form.frame_bytes)
        count = len(raw) // form.frame_bytes
        if count == 0:
            return
        frames -= count
        yield _mono(raw[: count * form.frame_bytes], form)


def from_bytes(raw: bytes, *, rate_hz: int, width: int, channels: int) -> Pcm:
    """Make mono 16-bit sound of raw little-endian frames, as they come over a wire.

    `width` is 1 to 4 bytes per sample of one of `channels`; one byte is unsigned, as in a WAV file. A torn last
    frame is left out.
    """
    form = _Format(is_float=False, channels=channels, rate_hz=rate_hz, width=width)
    return Pcm(_mono(raw[: len(raw) // form.frame_bytes * form.frame_bytes], form), rate_hz)


def _mono(raw: bytes, form: _Format) -> NDArray[np.int16]:
    samples = _to_floats(raw, form).reshape(-1, form.channels)
    return to_int16(samples[:, 0] if form.channels == 1 else samples.mean(axis=1))


def _to_floats(raw: bytes, form: _Format) -> NDArray[np.float64]:
    """Decode samples to [-1, 1). Float samples that are not finite are made so, before channels are mixed."""
    if form.is_float:
        values = np.frombuffer(raw, f"<f{form.width}").astype(np.float64)
        return np.clip(np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    if form.width == 1:
        return np.frombuffer(raw, np.uint8) / 128.0 - 1.0
    # Left-aligned in 32 bits, whatever the width: the top byte stays the top byte.
    wide = np.zeros((len(raw) // form.width, 4), np.uint8)
    wide[:, 4 - form.width :] = np.frombuffer(raw, np.uint8).reshape(-1, form.width)
    return wide.view("<i4")[:, 0] / 2.0**31


def _convert(what: str) -> str:
    return f"convert it with `ffmpeg -i {what} -ar {SPEECH_RATE_HZ} -ac 1 -c:a pcm_s16le out.wav`"


_SOUNDS = (
    (0, b"ID3", "an MP3 file"), (0, b"\xff\xfb", "an MP3 file"), (0, b"\xff\xf3", "an MP3 file"),
    (0, b"\xff\xf2", "an MP3 file"), (0, b"\xff\xf1", "an AAC file"), (0, b"\xff\xf9", "an AAC file"),
    (0, b"fLaC", "a FLAC file"), (0, b"OggS", "an Ogg file"), (4, b"ftyp", "an MP4 or M4A file"),
    (0, b"FORM", "an AIFF file"), (0, b"caff", "a Core Audio file"), (0, b"#!AMR", "an AMR file"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM file"), (0, b".snd", "an AU file"), (0, b"wvpk", "a WavPack file"),
    (0, b"RIFX", "a big-endian WAV file"), (8, b"AVI ", "an AVI file"), (0, b"0&\xb2u", "a Windows Media file"),
)  # fmt: skip
_OTHERS = (
    (b"\x89PNG", "a PNG image"), (b"\xff\xd8\xff", "a JPEG image"), (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"), (b"PK\x03\x04", "a ZIP archive"), (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"), (b"GGUF", "a language model"),
)  # fmt: skip


def _looks_like(head: bytes, what: str) -> str:
    """Say what a file that is no WAV seems to be, and what to do about it."""
    for at, magic, name in _SOUNDS:
        if head[at : at + len(magic)] == magic:
            return f"{name}: {_convert(what)}"
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return f"{name}, not a recording: name a WAV file"
    if _is_text(head):
        return "a text file, not a recording: name a WAV file"
    return f"not a WAV file: if it is a recording, {_convert(what)}"


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", "ignore")  # "ignore": the 512 bytes may end inside a character
    return len(text.encode()) > len(head) - 4 and all(c.isprintable() or c in "\r\n\t\f" for c in text)
