"""`perslm listen`: one turn from the microphone, with the words shown as they are heard.

Through the running PersLM, which owns the sound card; where none runs, this process opens it for one turn.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from perslm_daemon.cli_remote import LOCAL_HELP, Shown, running, turn_as_json
from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.terminal import note, printable, put_json
from perslm_runtime.errors import DeviceError

if TYPE_CHECKING:
    from perslm_daemon.control_client import Connection
    from perslm_daemon.control_client import Event as Line
    from perslm_daemon.turn import Event

_OPENS_S = 5.0  # until a microphone is there: PulseAudio takes 0.8 s, a USB device that wakes up 1 s


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("listen")(listen)


def listen(
    context: typer.Context,
    *,
    local: Annotated[bool, typer.Option("--local", help=LOCAL_HELP)] = False,
) -> None:
    """Hear one question from the microphone, without the wake word, and answer it aloud."""
    session = session_of(context)
    shown = _Live(printing=not session.json)
    daemon = running(session, local=local, hears=True, speaks=True)
    turn = _there(daemon, shown) if daemon is not None else anyio.run(_here, session, shown)
    if session.json:
        put_json(turn)
        return
    shown.end()
    for problem in turn["problems"]:
        note(f"perslm: {problem}")


class _Live(Shown):
    """Shows a turn, and before it the words on one line of the terminal as they come."""

    def __init__(self, *, printing: bool) -> None:
        super().__init__(printing=printing)
        self._line = sys.stderr.isatty() and printing
        self._open = False

    def ready(self) -> None:
        """Tell that it may be spoken to."""
        if self._printing:
            note("listening ...")

    async def event(self, event: Event) -> None:
        """Show an event of a turn in this process."""
        from perslm_daemon.turn import Partial

        if isinstance(event, Partial):
            self._partial(event.text)
        else:
            self._close()
            await super().event(event)

    def line(self, event: Line, frame: bytes) -> None:
        """Show an event of a turn in the running PersLM."""
        if event.get("event") == "partial":
            self._partial(str(event.get("text", "")))
        else:
            self._close()
            super().line(event, frame)

    def _partial(self, text: str) -> None:
        if self._line:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write("\r\x1b[K" + printable(text.replace("\n", " "))[-width:])
            sys.stderr.flush()
            self._open = True

    def _close(self) -> None:
        if self._open:
            sys.stderr.write("\r\x1b[K")
            self._open = False


def _there(daemon: Connection, shown: _Live) -> dict[str, Any]:
    shown.ready()
    with daemon:
        answer = daemon.ask("listen", on_event=shown.line)
    return _as_turn(answer)


async def _here(session: Session, shown: _Live) -> dict[str, Any]:
    """Start engines and sound for one turn."""
    import time

    from perslm_daemon import tools_alone
    from perslm_daemon.app import start
    from perslm_daemon.bulletin import Bulletin
    from perslm_daemon.changes import Changes
    from perslm_daemon.verb_table import Table, ask_data
    from perslm_daemon.voice import open_live, open_sound

    config, bulletin = session.config, Bulletin()
    async with (
        start(config, hears=True, speaks=True, understands=True) as assistant,
        open_sound(config, assistant, bulletin) as sound,
        tools_alone.of(config, assistant.intents) as answering,
    ):
        if sound is None:
            raise DeviceError("there are no ears: set voice.enabled=true")
        assistant.pipeline.skills = answering
        changes = Changes(config, lambda: config, lambda: None)
        table = Table(assistant, config, bulletin, lambda: None, changes, sound.mouth, time.monotonic())
        async with open_live(config, assistant, sound, bulletin, table.turn_by_voice) as live:
            if live is None:
                raise DeviceError("there are no ears: see `perslm doctor`")
            with anyio.move_on_after(_OPENS_S):
                while sound.card.state.microphone is None:  # noqa: ASYNC110 - the card tells nobody in particular
                    await anyio.sleep(0.05)
            shown.ready()
            answer = ask_data(await live.listen(shown.event))
    return _as_turn(answer)


def _as_turn(answer: dict[str, Any]) -> dict[str, Any]:
    """The verb's answer as `perslm ask --json` prints a turn: its text is the reply."""
    return {name if name != "text" else "reply": value for name, value in turn_as_json(answer).items()}
