"""What `make flash-test` makes of the emulated sound card: the part of QEMU's WAV file that belongs to a turn."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

from perslm_build.flash_sound import alike, cycle, piece, room


def endless(path: Path, frames: int) -> Path:
    """A WAV file as QEMU writes it while the card plays: stereo, 48 kHz, and lengths of zero until it ends."""
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 2, 48000, 192000, 4, 16, b"data", 0
    )
    path.write_bytes(head + b"".join(struct.pack("<hh", one, -one) for one in range(frames)))
    return path


def test_a_turns_sound_is_cut_out_at_a_frame_whatever_the_header_says(tmp_path: Path) -> None:
    heard = endless(tmp_path / "heard.wav", 1000)
    begun = 44 + 4 * 600 + 3  # QEMU was in the middle of a frame
    with wave.open(str(piece(heard, begun, tmp_path / "answer.wav"))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 48000, 400)
        assert struct.unpack("<hh", file.readframes(1)) == (600, -600)


def test_a_frame_that_is_not_written_yet_is_left_out(tmp_path: Path) -> None:
    heard = endless(tmp_path / "heard.wav", 10)
    with heard.open("ab") as file:
        file.write(b"\x01\x02\x03")
    with wave.open(str(piece(heard, 0, tmp_path / "answer.wav"))) as file:
        assert file.getnframes() == 10


def test_half_of_the_words_have_to_be_heard() -> None:
    assert alike("The capital of France is Paris.", "the capital, of Friends is Paris")
    assert not alike("The capital of France is Paris.", "the cat")
    assert not alike("", "anything")


def test_the_length_of_a_cycle_is_read_from_the_running_cards_last_table() -> None:
    head = "S   ID  QUANT   RATE    WAIT    BUSY   W/Q   B/Q  ERR FORMAT           NAME"
    card = "R   51    {}  48000   1.4ms  51.5us  0.14  0.01    0    S16LE 2 48000 alsa_output.pci"
    other = "R   73    960  48000 302.0us 852.3us  0.03  0.09    0     F32P 1 48000  + echo-cancel-capture"
    first = "\n".join((head, card.format(1024), other))
    assert cycle("\n".join((first, head, card.format(480), other))) == {"alsa_output.pci": 480}
    assert cycle(first.replace("R   51", "S   51")) == {}, "it sleeps"


def test_a_quiet_room_is_no_digital_silence_and_softer_than_speech(tmp_path: Path) -> None:
    with wave.open(str(room(tmp_path / "room.wav"))) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, 16_000)
        samples = struct.unpack(f"<{file.getnframes()}h", file.readframes(file.getnframes()))
    assert len(samples) == 20 * 16_000
    assert all(any(samples[at : at + 160]) for at in range(0, len(samples), 160))
    assert max(map(abs, samples)) < 100
