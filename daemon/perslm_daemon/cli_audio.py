"""`perslm audio`: which devices there are and which are chosen, and whether they work."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from perslm_daemon.cli_session import Session, command_group, session_of
from perslm_daemon.terminal import note, put, put_json, put_table
from perslm_runtime.errors import DeviceError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perslm_daemon.portaudio import Device
    from perslm_daemon.sound_card import SoundCard
    from perslm_daemon.sound_check import Echo, Level
    from perslm_runtime.audio import Pcm

_BAR = 40
_FLOOR_DBFS = -60.0
_FAINT_DBFS, _LOUD_DBFS = -50.0, -3.0


def register(app: typer.Typer) -> None:
    """Add `audio` to the command line."""
    audio = command_group(app, "audio", "Look at and try microphone and loudspeaker.")
    audio.command()(devices)
    audio.command("test")(try_sound)


def devices(context: typer.Context) -> None:
    """Show every microphone and loudspeaker, and which ones are chosen."""
    from perslm_daemon.sound_card import devices_now

    session = session_of(context)
    found = anyio.run(devices_now)
    chosen = {side: _chosen(session, found, side) for side in ("microphone", "loudspeaker")}
    if session.json:
        put_json({"devices": [asdict(device) for device in found], **chosen})
        return
    rows = [
        (
            str(device.index),
            device.name,
            str(device.inputs),
            str(device.outputs),
            str(device.rate_hz),
            "server" if device.server else device.api,
            " ".join(side for side, index in chosen.items() if index == device.index),
        )
        for device in found
    ]
    put_table(("NUMBER", "NAME", "INPUTS", "OUTPUTS", "RATE", "BY", "CHOSEN"), rows)


def _chosen(session: Session, found: Sequence[Device], side: str) -> int | None:
    """The index of the configured device; None, and why on standard error, where there is none."""
    from perslm_daemon.portaudio import chosen

    try:
        return chosen(found, getattr(session.config.audio, side), hears=side == "microphone").index
    except DeviceError as error:
        note(f"perslm: {error}")
        return None


def try_sound(
    context: typer.Context,
    *,
    seconds: Annotated[float, typer.Option(metavar="S", help="How long to listen for the level.")] = 4.0,
    say: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Speak this in place of the rising tone.")
    ] = None,
) -> None:
    """Show how loud the microphone is while you speak; then play a sound and say whether and when it came back."""
    session = session_of(context)
    if not 0.5 <= seconds <= 60:
        raise InputError("--seconds is from 0.5 to 60")
    sound = _spoken(session, say) if say else None
    anyio.run(_try, session, seconds, sound)


async def _try(session: Session, seconds: float, sound: Pcm | None) -> None:
    from perslm_daemon.sound_card import SoundCard
    from perslm_daemon.sound_check import echo_of, listen, sweep
    from perslm_daemon.sound_server import EchoCanceller, SoundServer

    wanted = session.config.audio
    card = SoundCard(wanted, echo=EchoCanceller(SoundServer()) if wanted.echo_cancel else None)
    error: DeviceError | None = None
    async with anyio.create_task_group() as tasks:
        await tasks.start(card.run)
        try:
            if card.state.microphone is None:
                raise DeviceError(card.state.problem or "there is no microphone: connect one")
            if not session.json:
                note("Speak, please.")
            level = await listen(card, seconds, _meter(session))
            echo = await echo_of(card, sound or sweep()) if card.state.loudspeaker else None
            _tell(session, card, level, echo)
        except DeviceError as problem:
            error = problem  # raised outside: a task group would wrap it
        tasks.cancel_scope.cancel()
    if error is not None:
        raise error


def _spoken(session: Session, text: str) -> Pcm:
    """The sentence in the configured voice."""
    from contextlib import closing

    import numpy as np

    from perslm_daemon.stores import open_models
    from perslm_runtime.audio import Pcm
    from perslm_runtime.lane import Stop
    from perslm_runtime.tts import Piper

    voice = session.config.tts
    with closing(Piper(open_models(session.config).folder(voice.id), voice.threads)) as piper:
        pieces = list(piper.speak(text, Stop()))
    if not pieces:
        raise InputError("there is nothing to say in this text: give words")
    return Pcm(np.concatenate([piece.samples for piece in pieces]), pieces[0].rate_hz)


def _meter(session: Session) -> Any:
    """Draw the level on one line of standard error, where that is a terminal."""
    if session.json or not sys.stderr.isatty():
        return lambda _level: None

    def show(level: Level) -> None:
        sys.stderr.write(f"\r\x1b[K{bar(level)}")
        sys.stderr.flush()

    return show


def bar(level: Level) -> str:
    """A level as a line: figures, bar of the mean, mark of the peak."""
    length, peak = (
        round(_BAR * min(1.0, max(0.0, 1 - value / _FLOOR_DBFS))) for value in (level.rms_dbfs, level.peak_dbfs)
    )
    drawn = "".join("#" if at < length else "|" if at == peak - 1 else " " for at in range(_BAR))
    return f"{level.rms_dbfs:6.1f} dBFS [{drawn}] peak {level.peak_dbfs:6.1f}"


def _tell(session: Session, card: SoundCard, level: Level, echo: Echo | None) -> None:
    state = card.state
    if session.json:
        put_json(
            {
                "microphone": state.microphone,
                "loudspeaker": state.loudspeaker,
                "echo_cancel": state.echo_cancel,
                "problem": state.problem,
                "level_dbfs": round(level.rms_dbfs, 1),
                "peak_dbfs": round(level.peak_dbfs, 1),
                "clipped": level.clipped,
                "echo": None if echo is None else _echo_data(echo),
                "lost_frames": state.overruns,
            }
        )
        return
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    put(f"microphone   {state.microphone}: {level.rms_dbfs:.1f} dBFS, peak {level.peak_dbfs:.1f} {_advice(level)}")
    if echo is None:
        put(f"loudspeaker  none: {state.problem}")
    elif echo.heard and echo.latency_ms is not None:
        late = f"{echo.latency_ms:.0f} ms late"
        put(f"loudspeaker  {state.loudspeaker}: heard, {late}, at {echo.level.rms_dbfs:.1f} dBFS")
    else:
        why = "its echo is cancelled" if state.echo_in_force else "turn it up, unless you wear it"
        put(f"loudspeaker  {state.loudspeaker}: not heard by the microphone: {why}")
    put(f"echo         {state.echo_cancel}")


def _echo_data(echo: Echo) -> dict[str, Any]:
    return {
        "heard": echo.heard,
        "latency_ms": None if echo.latency_ms is None else round(echo.latency_ms, 1),
        "level_dbfs": round(echo.level.rms_dbfs, 1),
        "likeness": round(echo.likeness, 3),
    }


def _advice(level: Level) -> str:
    if level.clipped:
        return "(too loud: turn the microphone down)"
    if level.peak_dbfs < _FAINT_DBFS:
        return "(hardly anything: is it the right one, is it switched on?)"
    return "(loud)" if level.peak_dbfs > _LOUD_DBFS else ""
