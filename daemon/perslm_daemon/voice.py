"""The voice of the running daemon put together: sound card and mouth, ears and voice loop, and their settings.

Decides once what is there. A card that does not open is told and opens when it can; without a recognizer or a
detector of speech there is a mouth and nobody listens.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from perslm_daemon.app import Assistant
from perslm_daemon.arbitration import Arbitration
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Config
from perslm_daemon.ears import Ears
from perslm_daemon.engine_builds import wake_words
from perslm_daemon.live import Live, Rings
from perslm_daemon.mouth import Mouth
from perslm_daemon.settings import Setting, SettingValue
from perslm_daemon.sound_card import SoundCard, SoundState
from perslm_daemon.sound_server import EchoCanceller, OtherStreams, SoundServer
from perslm_daemon.voice_turn import RunTurn
from perslm_runtime.completeness import Ending

log = logging.getLogger("perslm.voice")

ALL_WORDS = "all"
"""The wake word that stands for every one that is configured."""


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound card and the mouth of a daemon with a voice."""

    card: SoundCard
    mouth: Mouth

    def why_deaf(self) -> str:
        """Why nobody can be heard now, as a sentence; "" when somebody can."""
        state = self.card.state
        if state.muted:
            return "the microphone is muted: switch the setting mute off"
        if state.microphone is None:
            return f"there is no microphone ({state.problem or 'none was found'}): see `perslm status`"
        return ""

    def echo_cancelled(self) -> bool:
        """Whether the microphone comes without what we say."""
        return self.card.state.echo_in_force


@asynccontextmanager
async def open_sound(config: Config, assistant: Assistant, bulletin: Bulletin) -> AsyncIterator[Sound | None]:
    """Sound card and mouth, for a daemon with a voice; a card that does not open is told and opens when it can."""
    if not config.voice.enabled:
        yield None
        return

    def told(state: SoundState) -> None:
        before = bulletin.current().get("sound", {})
        bulletin.post("sound", state.as_value())
        if state.problem and state.problem != before.get("problem"):
            bulletin.tell("warning", what="sound", message=state.problem)
        if config.audio.echo_cancel and state.echo_cancel != before.get("echo_cancel") and not state.echo_in_force:
            log.warning("echo_not_cancelled reason=%s", state.echo_cancel)

    server = SoundServer()
    card = SoundCard(config.audio, tell=told, echo=EchoCanceller(server) if config.audio.echo_cancel else None)
    others = OtherStreams(server, config.data_dir / "ducked.json")
    mouth = Mouth(assistant.parts.tts, card, config.mouth, bulletin, others=others)
    tasks = await anyio.create_task_group().__aenter__()
    try:
        await tasks.start(card.run)
        await tasks.start(mouth.run)
        yield Sound(card, mouth)
    finally:
        tasks.cancel_scope.cancel()
        # Not handed the error: it would come out wrapped in an exception group.
        await tasks.__aexit__(None, None, None)


@asynccontextmanager
async def open_live(
    config: Config,
    assistant: Assistant,
    sound: Sound,
    bulletin: Bulletin,
    ask: RunTurn,
    *,
    arbitration: Arbitration | None = None,
    rings: Rings | None = None,
    knows: Callable[[str], Awaitable[Ending | None]] | None = None,
) -> AsyncIterator[Live | None]:
    """The voice loop over `sound`, running; None where nobody can be recognized.

    `ask` runs a turn aloud, `knows` tells how finished a command is.
    """
    stt, vad = assistant.parts.stt, assistant.vad
    if stt is None or vad is None:
        yield None
        return
    mouth = sound.mouth
    if assistant.wake is not None:
        await _tune(config, assistant)
    ears = Ears(
        sound.card,
        vad,
        stt,
        assistant.wake,
        config.ears,
        said_lately=mouth.said_lately,
        echo_cancelled=sound.echo_cancelled,
        english=config.stt.language == "en",
    )
    ears.knows = knows
    live = Live(
        ears,
        mouth,
        ask,
        bulletin,
        config.ears,
        person=config.person,
        interrupt=assistant.pipeline.interrupt,
        arbitration=arbitration,
        why_deaf=sound.why_deaf,
        rings=rings,
        prepare=assistant.pipeline.prepare,
    )
    tasks = await anyio.create_task_group().__aenter__()
    try:
        await tasks.start(live.run)
        yield live
    finally:
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)


def voice_settings(
    config: Config, assistant: Assistant, sound: Sound, live: Live | None
) -> dict[str, tuple[Setting, SettingValue]]:
    """What can be set of the voice while it runs, with the values in force."""
    card, mouth, wake = sound.card, sound.mouth, assistant.wake

    async def turn_up(value: SettingValue) -> None:
        mouth.volume = float(value)

    async def mute(value: SettingValue) -> None:
        await card.mute(bool(value))
        if live is not None and value:
            live.deafened()

    async def follow(value: SettingValue) -> None:
        if live is not None:
            live.follow_up = bool(value)

    async def tune(value: SettingValue) -> None:
        if wake is not None:
            given = sensitivities(config) | dict.fromkeys(words, float(value))
            await wake.call(lambda engine, _stop: engine.tune(given))

    async def choose(value: SettingValue) -> None:
        if wake is not None:
            chosen = words if value == ALL_WORDS else (named[str(value)],)
            await wake.call(lambda engine, _stop: engine.choose(chosen))

    words = wake_words(config)
    named = {_name(word): word for word in words}
    loudness = Setting("volume", "number", "loudness of what is said", turn_up, key="mouth.volume")
    closed = Setting("mute", "switch", "close the microphone", mute, key="audio.muted")
    found: dict[str, tuple[Setting, SettingValue]] = {
        "volume": (loudness, mouth.volume),
        "mute": (closed, card.state.muted),
    }
    if live is not None:
        about = "listen on after an answer that asks something"
        found["follow_up"] = (Setting("follow_up", "switch", about, follow, key="ears.follow_up"), live.follow_up)
    if live is not None and wake is not None:
        about = "how easily wake words are heard"
        sensitivity = Setting("sensitivity", "number", about, tune, key="wake.sensitivity")
        found["sensitivity"] = (sensitivity, config.wake.sensitivity)
        options = (ALL_WORDS, *named) if len(named) > 1 else tuple(named)
        choice = Setting(
            "wake_word", "select", "which wake word calls", choose, options=options, key="wake.active"
        )
        found["wake_word"] = (choice, config.wake.active if config.wake.active in options else options[0])
    return found


def sensitivities(config: Config) -> dict[str, float]:
    """Each configured word's sensitivity."""
    single = {
        name.strip(): float(value)
        for name, _, value in (
            part.partition("=") for part in config.wake.sensitivities.split(",") if part.strip()
        )
    }
    return {word: single.get(_name(word), config.wake.sensitivity) for word in wake_words(config)}


async def _tune(config: Config, assistant: Assistant) -> None:
    words = wake_words(config)
    active = [word for word in words if _name(word) == config.wake.active] or list(words)
    given = sensitivities(config)
    if assistant.wake is not None:
        await assistant.wake.call(lambda engine, _stop: engine.choose(active))
        await assistant.wake.call(lambda engine, _stop: engine.tune(given))


def _name(word: str) -> str:
    """A word as people call it: a model of their own goes by its file's name."""
    return word.rpartition("/")[2].removesuffix(".tflite")
