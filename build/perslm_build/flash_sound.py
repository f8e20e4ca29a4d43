"""The emulated board hears and speaks, through the installed unit and the sound server of its user.

Its microphone is a null sink of that server, into which a spoken question is played; its loudspeaker an emulated
sound card, whose sound QEMU writes into a file. This machine's PersLM speaks the question and hears the answer.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import time
import wave
from array import array
from pathlib import Path
from typing import Any

from perslm_build import locks
from perslm_build.emulated_board import Board, Listener
from perslm_build.environment import RUN
from perslm_build.terminal import SetupError

_QUESTION = "What is the capital of France?"
_LIMIT_S = 900.0
_TRIES = 3
_SINK = "sink_name=mic rate=16000 channels=1"
# As the user of the sound server, in whose folder its socket lies.
_AS_USER = (
    "setpriv --reuid=perslm --regid=perslm --init-groups env XDG_RUNTIME_DIR=/run/user/$(id -u perslm) "
    "HOME=/var/lib/perslm"
)
# A room is never digitally silent: a microphone of nothing but zeros is opened anew, at times amid a question.
_ROOM = (
    "systemd-run --quiet --collect --unit=perslm-test-room -p User=perslm -p Restart=always "
    "-E XDG_RUNTIME_DIR=/run/user/$(id -u perslm) paplay --device=mic /run/room.wav"
)
_ROOM_S, _ROOM_LEVEL, _RATE_HZ = 20, 12, 16_000


def converse(board: Board, listener: Listener, folder: Path) -> dict[str, object]:
    """Ask by voice and listen to the answer; returns what was understood, answered and heard.

    Raises SetupError where the microphone or loudspeaker does not open, or where neither the question nor the
    answer comes through in three tries.
    """
    board.put(spoken(_QUESTION, folder / "question.wav"), "/run/question.wav")
    board.put(room(folder / "room.wav"), "/run/room.wav")
    board.ssh(_ROOM)
    opened = _opened(listener)
    facts: dict[str, object] = {}
    for attempt in range(1, _TRIES + 1):
        facts = {
            "echo_cancel": opened.get("echo_cancel"),
            "sound_tries": attempt,
            **_turn(board, listener, folder, f"listen-{attempt}"),
            "sound_frames_a_cycle": cycle(board.ssh(f"{_AS_USER} pw-top -b -n 2")),
        }
        if alike(_QUESTION, str(facts["understood"])) and alike(str(facts["spoken"]), str(facts["card_played"])):
            board.ssh("systemctl stop perslm-test-room")
            return facts
    raise SetupError(f"the board does not hear or speak as it should: {facts}")


def plug_in(board: Board) -> None:
    """Give the board its microphone, from now on and after each start; the service has to find it at its own."""
    loads = f'{{ cmd = "load-module" args = "module-null-sink {_SINK}" flags = [ ] }}'
    folder = "/etc/pipewire/pipewire-pulse.conf.d"
    board.ssh(f"mkdir -p {folder} && echo 'pulse.cmd = [ {loads} ]' > {folder}/microphone.conf")
    board.ssh(f"{_AS_USER} pactl load-module module-null-sink {_SINK}")
    board.ssh(f"{_AS_USER} pactl set-default-source mic.monitor; sleep 5; sync")


def _opened(listener: Listener) -> dict[str, Any]:
    """Wait until the service has microphone and loudspeaker; what it says of its sound."""
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        asked = f"sound-{time.monotonic_ns()}"  # one that was answered already would not be answered again
        listener.send("status", asked)
        answer = listener.until("response/status", _LIMIT_S, transaction=asked)
        sound = answer.get("data", {}).get("sound") or {}
        if sound.get("microphone") and sound.get("loudspeaker"):
            return dict(sound)
        time.sleep(10)
    raise SetupError(f"the service has no microphone or no loudspeaker: {sound}")


def _turn(board: Board, listener: Listener, folder: Path, transaction: str) -> dict[str, object]:
    """One question by voice: what was understood, what was answered, and what of it came out of the card."""
    before = board.heard.stat().st_size
    # After the board's chime, and before its 5 s without a word are over.
    with board.on_call(f"sleep 1.5; {_AS_USER} paplay --device=mic /run/question.wav") as ask:
        listener.send("listen", transaction)
        if _listens(listener, transaction):
            ask()  # within the seconds that the board waits for somebody to begin
    answer = listener.until("response/listen", _LIMIT_S, transaction=transaction)
    if answer.get("status") != "ok":  # nothing was heard in time
        return {"understood": "", "spoken": "", "card_played": "", "refused": answer.get("error")}
    deadline = time.monotonic() + _LIMIT_S
    while listener.values.get("activity") != "idle" and time.monotonic() < deadline:
        time.sleep(1)
    time.sleep(5)  # what the card's buffers still hold
    file = piece(board.heard, before, folder / "answer.wav")
    said = (answer.get("data") or {}).get("text")
    return {"understood": listener.values.get("last_heard"), "spoken": said, "card_played": written(file)}


def cycle(table: str) -> dict[str, int]:
    """Frames a cycle of each running sound card, by pw-top's last table: "R ID QUANT … NAME" a line."""
    rows = [line.split() for line in table.rpartition("QUANT")[2].splitlines()]
    return {row[-1]: int(row[2]) for row in rows if row[:1] == ["R"] and row[-1].startswith("alsa_")}


def _listens(listener: Listener, transaction: str) -> bool:
    """Wait until the board listens; false where it refused, as while a silent microphone is opened anew."""
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        if listener.values.get("activity") == "listening":
            return True
        if transaction in listener.values.get("response/listen", ""):
            return False
        time.sleep(0.1)
    raise SetupError("the board neither listens nor says why")


def piece(heard: Path, begin: int, target: Path) -> Path:
    """The sound of QEMU's WAV file from byte `begin` on, as a file: its own header is only right at the end."""
    raw = heard.read_bytes()
    head = raw.index(b"data") + 8
    channels, rate_hz = int.from_bytes(raw[22:24], "little"), int.from_bytes(raw[24:28], "little")
    frame = 2 * channels
    first = max(head, begin - (begin - head) % frame)
    with wave.open(str(target), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(raw[first : first + (len(raw) - first) // frame * frame])
    return target


def room(target: Path) -> Path:
    """A WAV file of a quiet room: noise at -69 dB, the same each time."""
    drawn = random.Random(1)  # noqa: S311 - a noise, not a secret
    samples = array("h", (round(drawn.gauss(0, _ROOM_LEVEL)) for _ in range(_ROOM_S * _RATE_HZ)))
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE_HZ)
        file.writeframes(samples.tobytes())
    return target


def spoken(text: str, target: Path) -> Path:
    """A WAV file in which this machine's PersLM says `text`."""
    _perslm("say", "--local", text, "--out", str(target))
    return target


def written(file: Path) -> str:
    """What this machine's PersLM hears in a recording; "" where that is no speech."""
    try:
        return str(json.loads(_perslm("--json", "transcribe", str(file)))["text"])
    except SetupError as error:
        if "no speech was found" in str(error):
            return ""
        raise


def alike(said: str, heard: str) -> bool:
    """Whether at least half of the words that were said were heard."""
    words = re.findall(r"[a-z0-9']+", said.lower())
    there = set(re.findall(r"[a-z0-9']+", heard.lower()))
    return bool(words) and sum(word in there for word in words) * 2 >= len(words)


def _perslm(*arguments: str) -> str:
    path = os.pathsep.join(str(locks.ROOT / folder) for folder in ("runtime", "daemon"))
    argv: list[str | Path] = [
        RUN.python,
        "-c",
        "from perslm_daemon.cli import main; main()",
        "--config",
        os.devnull,
        *arguments,
    ]
    found = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    if found.returncode != 0:
        raise SetupError(f"PersLM on this machine cannot do its part: {found.stderr.strip()[-400:]}")
    return str(found.stdout)
