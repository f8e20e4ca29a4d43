"""`perslm transcribe` and `perslm say`: the ears and the mouth alone, from and to a file or the loudspeaker."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perslm_daemon import speaker
from perslm_daemon.cli_remote import LOCAL_HELP, running, sound_of
from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.stores import open_models
from perslm_daemon.terminal import printable, put, put_json
from perslm_runtime.errors import CatalogError, InputError

if TYPE_CHECKING:
    from perslm_daemon.control_client import Connection
    from perslm_runtime.audio import Pcm
    from perslm_runtime.catalog import Store
    from perslm_runtime.stt import Transcript, Utterance

_PIECE_S = 0.25


class Engine(StrEnum):
    """The recognizers."""

    WHISPER = "whisper"
    VOSK = "vosk"


def register(app: typer.Typer) -> None:
    """Add `transcribe` and `say` to the command line."""
    app.command()(transcribe)
    app.command()(say)


def transcribe(
    context: typer.Context,
    recording: Annotated[Path, typer.Argument(metavar="IN.wav", help="A WAV file of any rate and channels.")],
    *,
    engine: Annotated[
        Engine | None,
        typer.Option(metavar="NAME", help="Another recognizer than the configured one: whisper or vosk."),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="ID", help="Another speech model.")] = None,
) -> None:
    """Write down what is said in a recording; on a terminal the words appear while they are found."""
    from perslm_runtime.audio import SPEECH_RATE_HZ, no_speech, read_wav, require_speech, resample
    from perslm_runtime.stt import open_recognizer

    session = session_of(context)
    speech = session.config.stt
    sound = read_wav(recording, longest_s=speech.longest_s)
    require_speech(sound, str(recording), longest_s=speech.longest_s)
    store = open_models(session.config)
    engine_name = engine.value if engine else model.partition("-")[0] if model else speech.engine
    model_id = model or _model_for(engine_name, session, store)
    live = sys.stderr.isatty() and not session.json
    began = time.perf_counter()
    recognizer = open_recognizer(
        engine_name, store.folder(model_id), speech.threads, speech.language, partials=live
    )
    loaded = time.perf_counter()
    with closing(recognizer):
        heard = _listen(recognizer.listen(), resample(sound, SPEECH_RATE_HZ), live=live)
    ended = time.perf_counter()
    if not heard.text:
        raise no_speech(str(recording))
    if not session.json:
        put(heard.text)
        return
    put_json(
        {
            "text": heard.text,
            "seconds": round(heard.seconds, 3),
            "confidence": heard.confidence,
            "engine": engine_name,
            "model": model_id,
            "timings_ms": {"load": _ms(loaded - began), "stt": _ms(ended - loaded)},
        }
    )


def _model_for(engine: str, session: Session, store: Store) -> str:
    """Return the configured model if it is this engine's, else the first one here that is."""
    if engine == session.config.stt.engine:
        return session.config.stt.id
    fitting = [model.id for model in store.catalog.of_kind("stt") if model.id.startswith(f"{engine}-")]
    here = [model_id for model_id in fitting if store.installed(model_id)]
    if not here:
        raise CatalogError(f"no model for {engine} is here: run `perslm models pull {fitting[0]}`")
    return here[0]


def _listen(utterance: Utterance, sound: Pcm, *, live: bool) -> Transcript:
    """Hand over the sound piece by piece; `live` shows the text so far on one line of standard error."""
    from perslm_runtime.audio import Pcm
    from perslm_runtime.lane import Stop

    stop = Stop()
    step = round(_PIECE_S * sound.rate_hz)
    shown = ""
    for start in range(0, len(sound.samples), step):
        text = utterance.accept(Pcm(sound.samples[start : start + step], sound.rate_hz), stop)
        if live and text != shown:
            shown = text
            _show_line(text)
    heard = utterance.finish(stop)
    if shown:
        _show_line("")
    return heard


def _show_line(text: str) -> None:
    """Overwrite the terminal's line with the end of `text`."""
    width = shutil.get_terminal_size().columns - 1
    sys.stderr.write("\r\x1b[K" + printable(text.replace("\n", " "))[-width:])
    sys.stderr.flush()


def say(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What to say; - reads standard input.")],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="OUT.wav", help="File to write; without it, the loudspeaker.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help=LOCAL_HELP)] = False,
) -> None:
    """Speak a text, aloud or into a WAV file."""
    session = session_of(context)
    words = sys.stdin.read() if text == "-" else text
    if not any(c.isalnum() for c in words):
        raise InputError("there is nothing to say: give a text with words")
    player = None if out else speaker.player()
    daemon = running(session, local=local, speaks=True)
    told = _say_there(daemon, words, player, out) if daemon else _say_here(session, words, player, out)
    if session.json:
        put_json(told)
    elif out:
        put(f"{told['seconds']:.1f} s of speech are in {out}")


def _say_here(session: Session, words: str, player: Sequence[str] | None, out: Path | None) -> dict[str, Any]:
    """Speak with a voice of this process."""
    from perslm_runtime.lane import Stop
    from perslm_runtime.tts import Piper

    voice = session.config.tts
    folder = open_models(session.config).folder(voice.id)
    began = time.perf_counter()
    with closing(Piper(folder, voice.threads, length_scale=voice.length_scale, volume=voice.volume)) as piper:
        loaded = time.perf_counter()
        pieces = _Timed(piper.speak(words, Stop()))
        seconds = _put_sound(player, out, pieces, piper.rate_hz)
    return _said(out, seconds, voice.id, began, loaded, pieces.first)


def _say_there(daemon: Connection, words: str, player: Sequence[str] | None, out: Path | None) -> dict[str, Any]:
    """Speak with the voice of the running PersLM; its sound comes here."""
    began = time.perf_counter()
    with daemon:
        events = daemon.events("speech", {"text": words})
        first = next(events, None)
        if first is None:
            raise InputError("the voice found nothing to say in this text")
        rate_hz = int(first[0]["rate_hz"])
        pieces = _Timed(sound_of(frame, rate_hz) for _, frame in chain([first], events))
        seconds = _put_sound(player, out, pieces, rate_hz)
        for _ in events:
            pass  # a player that left early: the answer comes after the sound
    return _said(out, seconds, daemon.answer["voice"], began, began, pieces.first)


def _put_sound(player: Sequence[str] | None, out: Path | None, pieces: Iterable[Pcm], rate_hz: int) -> float:
    """Play or write; return the seconds of sound."""
    if player:
        return speaker.play(player, pieces, rate_hz)
    return _write(out, pieces) if out else 0.0


def _said(
    out: Path | None, seconds: float, voice: str, began: float, loaded: float, first: float | None
) -> dict[str, Any]:
    return {
        "out": str(out) if out else None,
        "seconds": round(seconds, 3),
        "voice": voice,
        "timings_ms": {
            "load": _ms(loaded - began),
            "first_audio": _ms((first or loaded) - loaded),
            "total": _ms(time.perf_counter() - began),
        },
    }


class _Timed:
    """Passes pieces of sound on and remembers when the first one came."""

    def __init__(self, pieces: Iterable[Pcm]) -> None:
        self.first: float | None = None
        self._pieces = pieces

    def __iter__(self) -> Iterator[Pcm]:
        for piece in self._pieces:
            self.first = self.first or time.perf_counter()
            yield piece


def _write(out: Path, pieces: Iterable[Pcm]) -> float:
    import numpy as np

    from perslm_runtime.audio import Pcm, write_wav

    spoken = list(pieces)
    if not spoken:
        raise InputError("the voice found nothing to say in this text")
    whole = Pcm(np.concatenate([piece.samples for piece in spoken]), spoken[0].rate_hz)
    write_wav(out, whole)
    return whole.seconds


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
