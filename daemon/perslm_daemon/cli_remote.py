"""Commands through a running PersLM: finding it, asking it, and showing its turns as this process shows its own.

Knows no engine; a typed question imports neither numpy nor a model.
"""

from __future__ import annotations

import sys
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from perslm_daemon import control_client
from perslm_daemon.cli_session import Session
from perslm_daemon.config_sections import ENGINE_KEYS
from perslm_daemon.control_client import Connection, NotRunningError
from perslm_daemon.terminal import note, printable, put, put_json
from perslm_runtime.errors import InputError

if TYPE_CHECKING:
    from perslm_daemon.turn import Event as TurnEvent
    from perslm_runtime.audio import Pcm

LOCAL_HELP = "Start the engines in this process even if PersLM runs."
_NOT_HEEDED = ("board", *ENGINE_KEYS)


def running(
    session: Session, *, local: bool = False, hears: bool = False, speaks: bool = False
) -> Connection | None:
    """The PersLM that runs with this data folder and can do it; None when this process has to do it itself.

    It has to with `local`, and when this command line sets engine keys that the running one would not heed.
    """
    own = any(one.partition("=")[0].partition(".")[0].strip() in _NOT_HEEDED for one in session.flags.settings)
    if local or own:
        return None
    connection = control_client.connect(session.config.data_dir)
    if connection is None:
        return None
    missing = [part for part, wanted in (("hears", hears), ("speaks", speaks)) if wanted]
    if not all(connection.greeting.get(part) for part in missing):
        connection.close()
        return None
    if session.verbose:
        note(f"asking the PersLM that runs (pid {connection.greeting.get('pid')})")
    return connection


def required(session: Session) -> Connection:
    """The PersLM that runs with this data folder. Raises `NotRunningError` when there is none."""
    connection = control_client.connect(session.config.data_dir)
    if connection is None:
        raise NotRunningError(
            f"no PersLM runs with the data folder {session.config.data_dir}: start it with `perslm run`"
        )
    return connection


def new_conversation() -> str:
    """A conversation of this command alone, as a process of its own has it."""
    return uuid.uuid4().hex[:12]


class Shown:
    """Shows a turn's events as they come and keeps its sound."""

    def __init__(self, *, printing: bool) -> None:
        self._printing = printing
        self._sound: list[bytes] = []
        self._rate_hz = 0

    async def event(self, event: TurnEvent) -> None:
        """Show an event of a turn in this process."""
        from perslm_daemon.turn import Heard, Remembered, Sentence, Spoken

        match event:
            case Spoken(_, sound):
                self._spoken(sound.samples.astype("<i2").tobytes(), sound.rate_hz)
            case Heard(text):
                self._heard(text)
            case Remembered(memories):
                for memory in memories:
                    self._recalled(memory.score, memory.text)
            case Sentence(_, text):
                self._sentence(text)

    def line(self, event: control_client.Event, frame: bytes) -> None:
        """Show an event of a turn in the running PersLM; events of later versions are passed over."""
        match event:
            case {"event": "spoken", "rate_hz": int(rate_hz)}:
                self._spoken(frame, rate_hz)
            case {"event": "heard", "text": str(text)}:
                self._heard(text)
            case {"event": "recalled", "memories": list(memories)}:
                for memory in memories:
                    self._recalled(memory["score"], memory["text"])
            case {"event": "sentence", "text": str(text)}:
                self._sentence(text)

    def end(self) -> None:
        """End the line of the reply."""
        if self._printing:
            put()

    def write(self, target: Path) -> None:
        """Write everything that was spoken into a WAV file."""
        from perslm_runtime.audio import write_wav

        sound = self.sound()
        if sound is None:
            raise InputError("the answer has no words that could be spoken: it was printed only")
        write_wav(target, sound)

    def sound(self) -> Pcm | None:
        """Everything that was spoken, in one piece."""
        return sound_of(b"".join(self._sound), self._rate_hz) if self._sound else None

    def _heard(self, text: str) -> None:
        if self._printing:
            note(f"heard: {text}")

    def _recalled(self, score: float, text: str) -> None:
        if self._printing:
            note(f"recalled ({score:.2f}): {text}")

    def _sentence(self, text: str) -> None:
        if self._printing:
            sys.stdout.write(printable(text))
            sys.stdout.flush()

    def _spoken(self, samples: bytes, rate_hz: int) -> None:
        self._sound.append(samples)
        self._rate_hz = rate_hz


def sound_of(samples: bytes, rate_hz: int) -> Pcm:
    """Bytes of little-endian 16-bit mono as sound."""
    import numpy as np

    from perslm_runtime.audio import Pcm

    return Pcm(np.frombuffer(samples, "<i2"), rate_hz)


def ask(
    session: Session,
    connection: Connection,
    text: str,
    sound: Pcm | None,
    speak: Path | None,
    conversation: str,
    area: str = "",
) -> None:
    """`perslm ask` by the running PersLM."""
    payload = {
        "text": text,
        "speak": speak is not None,
        "conversation": conversation or new_conversation(),
        "person": session.config.person,
        "area": area,
    }
    samples = None if sound is None else sound.samples.astype("<i2").tobytes()
    shown = Shown(printing=not session.json)
    with connection:
        turn = connection.ask("turn", payload, sound=samples, on_event=shown.line)
    if speak is not None:
        shown.write(speak)
    if session.json:
        put_json(turn_as_json(turn, speak))
        return
    shown.end()
    for problem in turn["problems"]:
        note(f"perslm: {problem}")


def turn_as_json(turn: dict[str, Any], spoken: Path | None = None) -> dict[str, Any]:
    """A turn's data as `ask --json` prints it: with the file of the spoken answer."""
    return {
        **{name: turn[name] for name in turn if name != "problems"},
        "spoken": spoken,
        "problems": turn["problems"],
    }


class Turns:
    """A chat's turns by the running PersLM; each has a connection of its own."""

    def __init__(self, session: Session, connection: Connection) -> None:
        self._session = session
        self._own = new_conversation()
        self._connection: Connection | None = None
        connection.close()

    def interrupt(self) -> bool:
        """Hang up on the reply that is being given; False when none is."""
        if self._connection is None:
            return False
        self._connection.close()
        return True

    async def turn(self, text: str, conversation: str) -> None:
        """Ask and show the answer. Raises `InputError` for a question that cannot be used."""
        session = self._session
        shown = Shown(printing=not session.json)
        connection = required(session)
        payload = {"text": text, "conversation": conversation or self._own, "person": session.config.person}
        self._connection = connection
        try:
            asking = partial(connection.ask, "turn", payload, on_event=shown.line)
            turn = await anyio.to_thread.run_sync(asking, abandon_on_cancel=True)
        except NotRunningError:
            if connection.open:
                raise
            put(" ...")
            return
        finally:
            self._connection = None
            connection.close()
        if session.json:
            put_json(turn_as_json(turn))
        else:
            put(" ..." if turn["interrupted"] else "")
        for problem in turn["problems"]:
            note(f"perslm: {problem}")
