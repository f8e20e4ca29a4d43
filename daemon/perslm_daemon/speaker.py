"""The loudspeaker through whatever player the system has; one process that takes raw sound as it is made."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from perslm_daemon.machine import sound_outputs
from perslm_runtime.errors import InputError

if TYPE_CHECKING:
    from perslm_runtime.audio import Pcm

# Players of raw 16-bit mono sound on standard input, the best first; {} is the rate in Hz.
_PLAYERS = (
    ("pw-cat", "--playback", "--raw", "--format=s16", "--channels=1", "--rate={}", "-"),
    ("paplay", "--raw", "--format=s16le", "--channels=1", "--rate={}"),
    ("aplay", "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", "{}"),
)


def player() -> tuple[str, ...]:
    """Return the command that plays here. Raises InputError where there is nothing to hear it on."""
    found = [command for command in _PLAYERS if shutil.which(command[0])]
    if not found or not sound_outputs():
        raise InputError("this machine has no loudspeaker that can be used: write a file with --out OUT.wav")
    return found[0]


def play(command: Sequence[str], pieces: Iterable[Pcm], rate_hz: int) -> float:
    """Play pieces of sound without gaps and return their length in seconds; leaving early is silence at once."""
    argv = [word.format(rate_hz) for word in command]
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb", buffering=0) as sink, tempfile.TemporaryFile() as words:
        with os.fdopen(read_end, "rb") as source:
            process = subprocess.Popen(argv, stdin=source, stdout=subprocess.DEVNULL, stderr=words)
        seconds = 0.0
        try:
            for piece in pieces:
                sink.write(piece.samples.astype("<i2").tobytes())
                seconds += piece.seconds
            sink.close()
            process.wait()
        except BrokenPipeError:
            process.wait()
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            words.seek(0)
            trouble = words.read().decode(errors="replace").strip() or f"exit code {process.returncode}"
            raise InputError(f"{argv[0]} could not play ({trouble}): write a file with --out OUT.wav")
    return seconds
