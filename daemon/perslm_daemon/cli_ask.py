"""`perslm ask`, `chat` and `demo`: the main job from a terminal.

Knows how a turn is shown; the turn itself is the pipeline's. Engines are imported when a command runs.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import anyio
import anyio.to_thread
import typer

from perslm_daemon import cli_remote
from perslm_daemon.cli_remote import LOCAL_HELP, Shown
from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.terminal import note, put, put_json
from perslm_runtime.errors import InputError

if TYPE_CHECKING:
    from perslm_daemon.app import Assistant, Report
    from perslm_daemon.config_sections import Config
    from perslm_daemon.turn import Turn
    from perslm_runtime.audio import Pcm

_LONGEST_STDIN = 64_000  # characters: more than any context holds
_CHAT_HELP = "/new starts another conversation, /quit leaves (so does Ctrl-D); Ctrl-C stops a reply."


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ask")(ask)
    app.command("chat")(chat)
    app.command("demo")(demo)


def ask(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="The question; - reads it from standard input.")] = None,
    audio: Annotated[Path | None, typer.Option(help="A WAV file with the spoken question.")] = None,
    speak: Annotated[Path | None, typer.Option(help="Write the spoken answer to this WAV file.")] = None,
    conversation: Annotated[str, typer.Option(help="Go on with this conversation.")] = "",
    area: Annotated[str, typer.Option(help="The room that it is asked in: its light is the light.")] = "",
    *,
    local: Annotated[bool, typer.Option("--local", help=LOCAL_HELP)] = False,
) -> None:
    """Ask one question, typed or recorded, and print the answer; it is remembered."""
    session = session_of(context)
    question = _question(text, audio)
    if speak is not None:
        _check_writable(speak)
    sound = _read_question(session.config, audio) if audio else None
    daemon = cli_remote.running(session, local=local, hears=sound is not None, speaks=speak is not None)
    if daemon is not None:
        cli_remote.ask(session, daemon, question, sound, speak, conversation, area)
        return
    anyio.run(_ask, session, question, sound, speak, conversation)


def chat(
    context: typer.Context,
    conversation: Annotated[str, typer.Option(help="Go on with this conversation.")] = "",
    *,
    local: Annotated[bool, typer.Option("--local", help=LOCAL_HELP)] = False,
) -> None:
    """Talk with the assistant in the terminal."""
    session = session_of(context)
    daemon = cli_remote.running(session, local=local)
    if daemon is not None:
        anyio.run(_talk, cli_remote.Turns(session, daemon), conversation)
        return
    anyio.run(_chat, session, conversation)


def demo(
    context: typer.Context,
    *,
    no_chat: Annotated[bool, typer.Option("--no-chat", help="End after the demonstration.")] = False,
) -> None:
    """Show the main job: a spoken question is heard, something remembered is found, the answer is spoken.

    What the demonstration remembers is forgotten at its end. With a terminal, a chat follows.
    """
    session = session_of(context)
    anyio.run(_demo, session, sys.stdin.isatty() and not session.json and not no_chat)


# ask


def _question(text: str | None, audio: Path | None) -> str:
    if (text is None) == (audio is None):
        raise InputError('give a question or a recording: `perslm ask "..."` or `perslm ask --audio FILE.wav`')
    if text == "-":
        text = sys.stdin.read(_LONGEST_STDIN)
    if text is not None and not text.strip():
        raise InputError("the question is empty: say or type something")
    return text or ""


def _check_writable(target: Path) -> None:
    """Say at once that the answer could not be written, not after the work."""
    import os

    folder = target.parent
    if target.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"the answer cannot be written to {target}: choose a file in a folder that exists")


def _read_question(config: Config, audio: Path) -> Pcm:
    from perslm_runtime.audio import SPEECH_RATE_HZ, read_wav, require_speech, resample

    pcm = read_wav(audio, longest_s=config.stt.longest_s)
    require_speech(pcm, str(audio), longest_s=config.stt.longest_s)
    return resample(pcm, SPEECH_RATE_HZ)


async def _ask(session: Session, text: str, sound: Pcm | None, speak: Path | None, conversation: str) -> None:
    from perslm_daemon.turn import Ask

    wanted = Ask(
        text,
        sound,
        speak=speak is not None,
        conversation=conversation,
        person=session.config.person,
        source="cli",
    )
    show = Shown(printing=not session.json)
    async with _started(session, hears=sound is not None, speaks=speak is not None) as assistant:
        turn = await assistant.pipeline.ask(wanted, show.event)
    if speak is not None:
        show.write(speak)
    if session.json:
        put_json(turn_as_json(turn, speak))
        return
    show.end()
    for problem in turn.problems:
        note(f"perslm: {problem}")


def turn_as_json(turn: Turn, spoken: Path | None = None) -> dict[str, object]:
    """A turn as `ask --json` prints it."""
    from perslm_daemon.control_verbs import turn_data

    return cli_remote.turn_as_json(turn_data(turn), spoken)


@asynccontextmanager
async def _started(session: Session, *, hears: bool, speaks: bool) -> AsyncIterator[Assistant]:
    """The assistant; with --verbose each part's report, and always what is degraded."""
    from perslm_daemon import tools_alone
    from perslm_daemon.app import start

    on_report = _put_report if session.verbose else None
    async with start(
        session.config, hears=hears, speaks=speaks, understands=True, on_report=on_report
    ) as assistant:
        for missing in assistant.degraded:
            note(f"perslm: goes on without {missing.part}: {missing.reason}")
        async with tools_alone.of(session.config, assistant.intents) as answering:
            assistant.pipeline.skills = answering
            yield assistant


def _put_report(report: Report) -> None:
    note(report.line())


# chat


async def _chat(session: Session, conversation: str) -> None:
    async with _started(session, hears=False, speaks=False) as assistant:
        await _talk(_LocalTurns(session, assistant), conversation)


async def _talk(turns: ChatTurns, conversation: str) -> None:
    """Read questions and print answers until the input ends."""
    if sys.stdin.isatty():
        note(_CHAT_HELP)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_ctrl_c, turns, tasks.cancel_scope)
        number = 0
        while (line := await _read_line()) is not None:
            match line.strip():
                case "":
                    continue
                case "/quit" | "/exit" | "/bye":
                    break
                case "/help":
                    note(_CHAT_HELP)
                case "/new":
                    number += 1
                    conversation = f"{conversation or 'chat'}-{number}"
                case text:
                    await _chat_turn(turns, text, conversation)
        tasks.cancel_scope.cancel()


async def _chat_turn(turns: ChatTurns, text: str, conversation: str) -> None:
    try:
        await turns.turn(text, conversation)
    except InputError as error:
        note(f"perslm: {error}")


class ChatTurns(Protocol):
    """Who answers a chat: the engines of this process, or a running PersLM."""

    def interrupt(self) -> bool:
        """End the reply that is being given; False when none is."""

    async def turn(self, text: str, conversation: str) -> None:
        """Ask and show the answer. Raises `InputError` for a question that cannot be used."""


class _LocalTurns:
    """A chat's turns by the engines of this process."""

    def __init__(self, session: Session, assistant: Assistant) -> None:
        self._session = session
        self._assistant = assistant

    def interrupt(self) -> bool:
        return self._assistant.pipeline.interrupt()

    async def turn(self, text: str, conversation: str) -> None:
        from perslm_daemon.turn import Ask

        session = self._session
        show = Shown(printing=not session.json)
        wanted = Ask(text, conversation=conversation, person=session.config.person, source="cli")
        turn = await self._assistant.pipeline.ask(wanted, show.event)
        if session.json:
            put_json(turn_as_json(turn))
        else:
            put(" ..." if turn.interrupted else "")
        for problem in turn.problems:
            note(f"perslm: {problem}")


async def _stop_on_ctrl_c(turns: ChatTurns, scope: anyio.CancelScope) -> None:
    """Ctrl-C ends the reply that is being given; at the prompt it ends the chat."""
    with anyio.open_signal_receiver(signal.SIGINT) as signals:
        async for _ in signals:
            if not turns.interrupt():
                put()
                scope.cancel()


async def _read_line() -> str | None:
    """The next line; None at the end. The terminal does the editing, so that Ctrl-C needs no thread."""
    if sys.stdin.isatty():
        sys.stdout.write("> ")
        sys.stdout.flush()
        await anyio.wait_readable(sys.stdin)
        line = sys.stdin.readline()
    else:
        line = await anyio.to_thread.run_sync(sys.stdin.readline)
    return line if line else None


# demo

_DEMO_PERSON = "demonstration"
_DEMO_FACT = "My sister's name is Ana."
_DEMO_QUESTION = "What is the name of my sister?"


async def _demo(session: Session, chats: bool) -> None:
    from perslm_daemon.app import start

    note("Starting the engines:")
    async with start(session.config, hears=True, speaks=True, on_report=_put_report) as assistant:
        for missing in assistant.degraded:
            note(f"perslm: goes on without {missing.part}: {missing.reason}")
        turn = await _demo_turn(session, assistant)
        if session.json:
            put_json(turn_as_json(turn, _answer_file(session)))
        if chats:
            put("")
            put("Now it is your turn. Type a question.")
            await _talk(_LocalTurns(session, assistant), "")


async def _demo_turn(session: Session, assistant: Assistant) -> Turn:
    """Speak the question into a file, hear that file, answer, and forget what the demonstration remembered."""
    from perslm_daemon.turn import Ask
    from perslm_runtime.audio import SPEECH_RATE_HZ, read_wav, resample, write_wav

    folder = session.config.data_dir
    question = folder / "question.wav"
    write_wav(question, await _spoken_question(assistant))
    if assistant.parts.memory is not None:
        await assistant.pipeline.recollection.remember(_DEMO_FACT, _DEMO_PERSON)
    show = Shown(printing=False)
    sound = resample(read_wav(question), SPEECH_RATE_HZ)
    try:
        asked = Ask(sound=sound, speak=True, person=_DEMO_PERSON, source="demo")
        turn = await assistant.pipeline.ask(asked, show.event)
    finally:
        with anyio.CancelScope(shield=True):
            await _unlearn(assistant)
    show.write(_answer_file(session))
    answer = show.sound()
    if answer is not None:
        await anyio.to_thread.run_sync(_play, answer)
    if not session.json:
        _put_demo(turn, question, _answer_file(session))
    return turn


def _play(sound: Pcm) -> None:
    """Let the answer be heard where there is a loudspeaker; without one the WAV file has it."""
    from perslm_daemon import speaker

    try:
        speaker.play(speaker.player(), (sound,), sound.rate_hz)
    except InputError:
        note("There is no loudspeaker here: the answer is in the file named below.")


def _answer_file(session: Session) -> Path:
    return session.config.data_dir / "answer.wav"


def _put_demo(turn: Turn, question: Path, answer: Path) -> None:
    times = turn.timings
    put("")
    put(f"  you, earlier   {_DEMO_FACT}")
    put(f"  you, spoken    {question}")
    put(f"  heard          {turn.heard}   ({times.stt or 0:.0f} ms)")
    for memory in turn.recalled:
        put(f"  recalled       {memory.text}   (score {memory.score:.2f}; {memory.why})")
    put(f"  answer         {turn.reply}")
    put(f"  spoken         {answer}")
    put(
        f"  from the end of recognition: first word {times.first_token or 0:.0f} ms, "
        f"first sound {times.first_audio or 0:.0f} ms; whole turn {times.total or 0:.0f} ms"
    )


async def _spoken_question(assistant: Assistant) -> Pcm:
    import numpy as np

    from perslm_runtime.audio import Pcm

    voice = assistant.parts.tts
    if voice is None:
        raise InputError("the demonstration needs a voice: set voice.enabled=true")
    pieces = await voice.call(lambda engine, stop: list(engine.speak(_DEMO_QUESTION, stop)))
    return Pcm(np.concatenate([piece.samples for piece in pieces]), pieces[0].rate_hz)


async def _unlearn(assistant: Assistant) -> None:
    """Forget what belongs to the demonstration's person."""
    from perslm_runtime.memory_erase import Wanted

    memory = assistant.parts.memory
    if memory is None:
        return
    newest = await memory.call(lambda store, _stop: store.list(limit=20))
    ours = [entry.id for entry in newest if entry.person == _DEMO_PERSON]
    if ours:
        await assistant.pipeline.forget(Wanted(ids=tuple(ours)))
