"""WAV in and out, rate conversion, and what is said about files that cannot be used."""

from __future__ import annotations

import io
import os
import resource
import stat
import struct
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perslm_runtime.audio import Pcm, clock, from_bytes, read_wav, require_speech, resample, write_wav
from perslm_runtime.errors import InputError

QUIET = settings(max_examples=40, deadline=None, database=None)


def tone(hertz: float, rate_hz: int, seconds: float = 1.0, loudness: float = 0.5) -> Pcm:
    at = np.arange(round(rate_hz * seconds)) / rate_hz
    return Pcm((loudness * 32767 * np.sin(2 * np.pi * hertz * at)).astype(np.int16), rate_hz)


def wav_bytes(tag: int, channels: int, rate_hz: int, bits: int, data: bytes, *, before: bytes = b"") -> bytes:
    align = channels * ((bits + 7) // 8)
    form = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * align % 2**32, align % 2**16, bits)
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def encode(samples: NDArray[np.int16], tag: int, bits: int) -> bytes:
    """Write 16-bit values in another form, exactly, for every form that can hold them."""
    if tag == 3:
        return (samples / 32768.0).astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return ((samples.astype(np.int32) >> 8) + 128).astype(np.uint8).tobytes()
    wide = (samples.astype("<i4") << 16).view(np.uint8).reshape(-1, 4)
    return wide[:, 4 - bits // 8 :].tobytes()


@QUIET
@given(
    form=st.sampled_from([(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)]),
    channels=st.integers(1, 9),
    rate_hz=st.integers(4_000, 192_000),
    values=st.lists(st.integers(-32768, 32767), min_size=1, max_size=50),
    extensible=st.booleans(),
)
def test_every_width_rate_and_channel_count_gives_the_same_samples(form, channels, rate_hz, values, extensible):
    tag, bits = form
    mono = np.array(values, np.int16)
    if bits == 8:
        mono = (mono >> 8) << 8
    content = wav_bytes(tag, channels, rate_hz, bits, encode(np.repeat(mono, channels), tag, bits))
    if extensible:
        guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
        form_chunk = struct.pack("<H", 0xFFFE) + content[22:36] + struct.pack("<HHI", 22, bits, 0) + guid
        content = content[:16] + struct.pack("<I", 40) + form_chunk + content[36:]
    pcm = read_wav(io.BytesIO(content))
    assert pcm.rate_hz == rate_hz
    np.testing.assert_array_equal(pcm.samples, mono)


@QUIET
@given(rate_hz=st.integers(4_000, 192_000), values=st.lists(st.integers(-32768, 32767), min_size=1, max_size=200))
def test_what_is_written_reads_back_and_other_readers_agree(tmp_path_factory, rate_hz, values):
    path = tmp_path_factory.mktemp("wav") / "out.wav"
    pcm = Pcm(np.array(values, np.int16), rate_hz)
    write_wav(path, pcm)
    back = read_wav(path)
    assert back.rate_hz == rate_hz
    np.testing.assert_array_equal(back.samples, pcm.samples)
    with wave.open(str(path)) as other:
        assert (other.getframerate(), other.getnchannels(), other.getsampwidth()) == (rate_hz, 1, 2)
        assert other.readframes(len(values)) == pcm.samples.tobytes()


@settings(max_examples=300, deadline=None, database=None)
@given(st.binary(max_size=120), st.integers(0, 119), st.integers(0, 80))
@example(b"", 0, 0)
def test_random_bytes_raise_nothing_but_input_errors(noise, at, cut):
    good = wav_bytes(1, 2, 16_000, 24, bytes(60))
    for content in (
        noise,
        b"RIFF" + noise[:4].ljust(4) + b"WAVE" + noise,
        good[:at] + noise + good[at + len(noise) :],
    ):
        try:
            pcm = read_wav(io.BytesIO(content[: len(content) - cut]))
        except InputError:
            continue
        assert pcm.samples.dtype == np.int16
        assert pcm.samples.ndim == 1
        assert 4_000 <= pcm.rate_hz <= 192_000


def test_channels_are_mixed_and_numbers_that_are_none_are_silent():
    left = np.array([0.5, np.nan, np.inf, -np.inf, 4.0], "<f4")
    right = np.array([0.0, 0.5, 0.0, -1.0, 1.0], "<f4")
    data = np.stack([left, right], axis=1).tobytes()
    pcm = read_wav(io.BytesIO(wav_bytes(3, 2, 16_000, 32, data)))
    assert pcm.samples.tolist() == [8192, 8192, 16384, -32768, 32767]


@given(width=st.integers(1, 4), channels=st.integers(1, 8), torn=st.integers(0, 31), raw=st.binary(max_size=2000))
def test_raw_frames_are_read_as_those_of_a_file(width, channels, torn, raw):
    whole = len(raw) // (width * channels) * width * channels
    sound = from_bytes(
        raw[:whole] + raw[: min(torn, width * channels - 1)], rate_hz=16_000, width=width, channels=channels
    )
    if not whole:
        assert len(sound.samples) == 0
        return
    file = read_wav(io.BytesIO(wav_bytes(1, channels, 16_000, width * 8, raw[:whole])))
    assert np.array_equal(sound.samples, file.samples)


def test_odd_chunks_before_the_sound_are_stepped_over():
    extra = b"LIST" + struct.pack("<I", 5) + b"INFOx" + b"\0" + b"fact" + struct.pack("<I", 4) + bytes(4)
    samples = np.arange(10, dtype="<i2")
    pcm = read_wav(io.BytesIO(wav_bytes(1, 1, 8_000, 16, samples.tobytes(), before=extra)))
    np.testing.assert_array_equal(pcm.samples, samples)


def test_a_recording_that_was_cut_off_gives_what_is_there():
    whole = wav_bytes(1, 1, 16_000, 16, np.arange(100, dtype="<i2").tobytes())
    assert read_wav(io.BytesIO(whole[:-51])).samples.tolist() == list(range(74))


@pytest.mark.parametrize(("riff", "data"), [(0xFFFF_FFFF, 0xFFFF_FFFF), (0, 0), (36, 0)])
def test_a_recorder_that_never_wrote_the_length_is_read_to_the_end(riff, data):
    content = bytearray(wav_bytes(1, 1, 16_000, 16, np.arange(50, dtype="<i2").tobytes()))
    struct.pack_into("<I", content, 4, riff)
    struct.pack_into("<I", content, 40, data)
    assert len(read_wav(io.BytesIO(bytes(content))).samples) == 50


def test_a_pipe_is_read_as_well_as_a_file():
    ours, theirs = os.pipe()
    content = wav_bytes(1, 1, 16_000, 16, np.arange(50, dtype="<i2").tobytes())
    writer = threading.Thread(target=lambda: (os.write(theirs, content), os.close(theirs)))
    writer.start()
    with os.fdopen(ours, "rb") as stream:
        assert len(read_wav(stream).samples) == 50
    writer.join()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty: record it again"),
        (b"ID3\x04" + bytes(50), "is an MP3 file: convert it with `ffmpeg -i"),
        (b"\xff\xfb\x90" + bytes(50), "is an MP3 file"),
        (b"fLaC" + bytes(50), "is a FLAC file"),
        (b"OggS" + bytes(50), "is an Ogg file"),
        (b"\0\0\0\x20ftypM4A " + bytes(50), "is an MP4 or M4A file"),
        (b"\x89PNG\r\n" + bytes(50), "is a PNG image, not a recording: name a WAV file"),
        ("Wie spät ist es?\n".encode() * 60, "is a text file, not a recording"),
        (bytes(range(256)), "is not a WAV file: if it is a recording, convert it"),
        (wav_bytes(1, 1, 16_000, 16, b""), "has a WAV header but no sound in it"),
        (wav_bytes(1, 1, 16_000, 16, b"")[:36], "is a WAV file without a sound"),
        (b"RIFF\0\0\0\0WAVE", "is a WAV file without a description of its format"),
        (wav_bytes(7, 1, 8_000, 8, bytes(9)), "is a WAV file with mu-law sound in it: convert it"),
        (wav_bytes(0x1234, 1, 8_000, 8, bytes(9)), "is a WAV file with code 0x1234 sound in it"),
        (wav_bytes(1, 1, 16_000, 64, bytes(64)), "has 64-bit samples"),
        (wav_bytes(3, 1, 16_000, 16, bytes(64)), "has 16-bit samples"),
        (wav_bytes(1, 0, 16_000, 16, bytes(64)), "says that it has no channels"),
        (wav_bytes(1, 1, 1_000, 16, bytes(64)), "has 1000 samples a second; 4000 to 192000 can be used"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_what_to_do(tmp_path, content, says):
    path = tmp_path / "in.wav"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_wav(path)
    assert str(error.value).startswith(f"{path} {says}")


def test_a_missing_file_and_a_folder_say_so(tmp_path):
    with pytest.raises(InputError, match="does not exist: check the name"):
        read_wav(tmp_path / "none.wav")
    with pytest.raises(InputError, match="is a folder: name the WAV file"):
        read_wav(tmp_path)


def test_an_unreadable_file_says_how_to_read_it(tmp_path):
    path = tmp_path / "in.wav"
    path.write_bytes(b"RIFF")
    path.chmod(0)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65_534)  # root may read everything, nobody may not
    try:
        with pytest.raises(InputError, match=r"may not be read: run `chmod \+r"):
            read_wav(path)
    finally:
        os.seteuid(me)


def test_silence_and_ten_minutes_get_a_clear_answer(tmp_path):
    path = tmp_path / "long.wav"
    write_wav(path, Pcm(np.zeros(600 * 4_000, np.int16), 4_000))
    says = r"long\.wav is 10:00 long; at most 2:00 is recognised at once: cut it"
    with pytest.raises(InputError, match=says):
        read_wav(path, longest_s=120)
    with pytest.raises(InputError, match=says):
        require_speech(read_wav(path), str(path))
    hum = Pcm(np.full(16_000, 900, np.int16) + (np.arange(16_000) % 2).astype(np.int16), 16_000)
    for silent in (hum, Pcm(np.zeros(1, np.int16), 16_000), Pcm(np.zeros(0, np.int16), 16_000)):
        with pytest.raises(InputError, match="no speech was found in it: speak closer"):
            require_speech(silent, "it")
    require_speech(tone(300, 16_000, loudness=0.01), "it")


def test_lengths_are_written_as_people_read_them():
    assert [clock(s) for s in (0, 7.4, 59.6, 120, 600, 3725)] == [
        "0:00",
        "0:07",
        "1:00",
        "2:00",
        "10:00",
        "1:02:05",
    ]


# --- writing ---------------------------------------------------------------------------------------------------


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    target = tmp_path / "out.wav"
    write_wav(target, tone(440, 16_000, 0.1))
    before = target.read_bytes()

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # the disk that is full after 100 bytes
    try:
        with pytest.raises(InputError, match="File too large"):
            write_wav(target, tone(220, 16_000, 0.2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.wav"]


def test_places_that_cannot_be_written_say_so(tmp_path):
    with pytest.raises(InputError, match="it is a folder, name a file in it"):
        write_wav(tmp_path, tone(440, 16_000, 0.1))
    with pytest.raises(InputError, match=r"the folder .*nowhere does not exist, create it"):
        write_wav(tmp_path / "nowhere" / "out.wav", tone(440, 16_000, 0.1))
    with pytest.raises(InputError, match="could not be written"):
        write_wav(Path("/proc/out.wav"), tone(440, 16_000, 0.1))
    with pytest.raises(InputError, match=r"No space left on device\): free some space"):
        write_wav(Path("/dev/full"), tone(440, 16_000, 0.1))
    assert list(tmp_path.iterdir()) == []


def test_a_link_keeps_pointing_and_streams_take_the_same_bytes(tmp_path):
    (tmp_path / "real.wav").write_bytes(b"old")
    link = tmp_path / "link.wav"
    link.symlink_to("real.wav")
    pcm = tone(440, 16_000, 0.1)
    write_wav(link, pcm)
    stream = io.BytesIO()
    write_wav(stream, pcm)
    assert link.is_symlink()
    assert (tmp_path / "real.wav").read_bytes() == stream.getvalue()
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "real.wav").stat().st_mode) == 0o666 & ~umask


# --- changing the rate -----------------------------------------------------------------------------------------


def level_db(pcm: Pcm) -> float:
    inner = pcm.samples[len(pcm.samples) // 10 : -len(pcm.samples) // 10].astype(np.float64)
    return float(20 * np.log10(max(inner.std(), 1e-3) / 32768))


@pytest.mark.parametrize("rate_hz", [22_050, 32_000, 44_100, 48_000, 96_000])
def test_what_could_fold_back_is_more_than_80_db_down(rate_hz):
    for hertz in (8_600, 9_500, 10_900, rate_hz / 2 - 100):
        before = tone(hertz, rate_hz)
        assert level_db(resample(before, 16_000)) < level_db(before) - 80


@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 192_000])
def test_a_tone_keeps_its_place_in_time_and_its_level(rate_hz):
    after = resample(tone(700, rate_hz), 16_000)
    ideal = tone(700, 16_000)
    assert len(after.samples) == 16_000
    error = (after.samples - ideal.samples.astype(np.float64))[800:-800]
    assert 20 * np.log10(error.std() / ideal.samples.std()) < -70


@settings(max_examples=15, deadline=None, database=None)
@given(st.integers(4_000, 192_000), st.integers(4_000, 48_000), st.integers(0, 3_000), st.integers(-32768, 32767))
def test_any_pair_of_rates_keeps_length_and_offset(from_hz, to_hz, length, offset):
    pcm = resample(Pcm(np.full(length, offset, np.int16), from_hz), to_hz)
    assert pcm.rate_hz == to_hz
    assert abs(len(pcm.samples) - length * to_hz / from_hz) <= 1
    middle = pcm.samples[len(pcm.samples) // 2 :][:1]
    if length > 200 * max(1, from_hz / to_hz):
        assert abs(int(middle[0]) - offset) <= 1
