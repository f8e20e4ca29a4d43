"""The ears: the microphone's frames, wake words in them at all times, and on request what somebody says.

Everything reads one pre-roll by sample number, so deciding late loses no word. Knows no mouth and no pipeline:
what was said aloud lately, and whether our echo is cancelled, is handed in.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import anyio
import anyio.abc

from perslm_daemon.chime_echo import ChimeEcho
from perslm_daemon.config_sections import Ears as Wanted
from perslm_daemon.endpoint import Patience
from perslm_daemon.hearing import Heard, Hearing, Start
from perslm_daemon.overhearing import Interruption, Overhearing
from perslm_daemon.phrases import without_phrase
from perslm_daemon.preroll import Preroll
from perslm_daemon.sound import Microphone
from perslm_daemon.wake_listener import WakeListener, Woken
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.completeness import Ending
from perslm_runtime.denoise import Denoiser
from perslm_runtime.errors import PersLMError
from perslm_runtime.lane import Lane
from perslm_runtime.stt import SpeechToText
from perslm_runtime.vad import Silero
from perslm_runtime.wake import MicroWakeWord

log = logging.getLogger("perslm.ears")

_BREATH_S = 0.3  # from the end of the wake phrase: its own last sound is over by half of it


class Ears:
    """Listens to `microphone`; `run` it beside everything else, then `hear` and `overhear` at will, one at a time.

    Without `wake` nobody can call it by name, and `hear` still works. `english` lets the words decide when a
    command is over; in other languages only the silence does.
    """

    def __init__(
        self,
        microphone: Microphone,
        vad: Lane[Silero],
        stt: Lane[SpeechToText],
        wake: Lane[MicroWakeWord] | None,
        wanted: Wanted,
        *,
        said_lately: Callable[[], str] = lambda: "",
        echo_cancelled: Callable[[], bool] = lambda: False,
        english: bool = True,
    ) -> None:
        self.sound = Preroll()
        self._microphone, self._vad, self._stt, self._wake = microphone, vad, stt, wake
        self._wanted, self._english = wanted, english
        self._said_lately = said_lately
        self._chime = ChimeEcho(self.sound)
        self._overhearing = Overhearing(
            self.sound,
            vad,
            stt,
            said_lately=said_lately,
            cancelled=echo_cancelled,
            near_db=wanted.near_db,
        )
        self.vocabulary: Callable[[], Sequence[str]] = tuple
        """Names that are likely to be said; set where somebody knows them."""
        self.knows: Callable[[str], Awaitable[Ending | None]] | None = None
        """How finished a command is, None for words that are none; set where commands are understood."""

    async def run(
        self,
        on_woken: Callable[[Woken], None],
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Take frames and listen for wake words until cancelled."""
        async with anyio.create_task_group() as tasks, self._microphone.listen() as frames:
            if self._wake is not None:
                tasks.start_soon(self._listen_for_words, self._wake, on_woken)
            task_status.started()
            async for frame in frames:
                self.sound.take(frame)
            tasks.cancel_scope.cancel()

    async def _listen_for_words(self, wake: Lane[MicroWakeWord], on_woken: Callable[[Woken], None]) -> None:
        """An engine that fails is built again by its lane; one that is given up leaves the button and the rest."""
        listener = WakeListener(self.sound, wake, on_woken, self._said_lately, lambda: self._microphone.patient)
        while True:
            try:
                await listener.run()
            except PersLMError as error:
                log.warning("wake_failed error=%s", type(error).__name__)
                if not wake.alive:
                    return

    async def goes_on(self, woken: Woken) -> bool:
        """Whether somebody goes on speaking in one breath with the wake word; it takes a moment to tell."""
        at = max(self.sound.end, woken.start + round(_BREATH_S * SPEECH_RATE_HZ))
        await self.sound.beyond(at)
        level_db = self.sound.loudness_db(at - round(_BREATH_S / 2 * SPEECH_RATE_HZ), at)
        return level_db > max(woken.floor_db + 10, woken.level_db - self._wanted.near_db)

    def attend(self, *, closely: bool) -> None:
        """Take every frame as it comes, or a few at a time while only wake words are listened for."""
        self._microphone.patient = not closely

    def chimed(self, chime: Pcm) -> None:
        """A chime of ours is being played from now on: it is taken out of what is recognized."""
        self._chime.played(chime)

    def forget(self) -> None:
        """Forget the sound of the last half minute."""
        self.sound.forget()

    async def hear(
        self,
        start: Start,
        *,
        phrase: str = "",
        nothing_s: float | None = None,
        on_partial: Callable[[str], None] | None = None,
        on_trial: Callable[[str], None] | None = None,
    ) -> Heard:
        """What is said from `start` on; its `text` is "" when nobody speaks. `phrase` is cut from its front.

        `on_trial` gets the words when they may be all: while the silence is awaited that makes it sure. It gets ""
        when they were not.
        """

        def shown(text: str) -> None:
            if on_partial is not None and (rest := without_phrase(text, phrase)):
                on_partial(rest)

        def tried(text: str) -> None:
            if on_trial is not None:
                on_trial(without_phrase(text, phrase))

        async def known(text: str) -> Ending | None:
            return None if self.knows is None else await self.knows(without_phrase(text, phrase))

        wanted = self._wanted
        patience = Patience(
            end_s=wanted.end_s,
            unsure_s=wanted.unsure_s,
            unfinished_s=wanted.unfinished_s,
            longest_s=wanted.longest_s,
            nothing_s=wanted.nothing_s if nothing_s is None else nothing_s,
            near_db=wanted.near_db,
        )
        hearing = Hearing(
            self.sound,
            self._vad,
            self._stt,
            patience,
            start,
            vocabulary=self.vocabulary(),
            denoiser=Denoiser(wanted.suppression, wanted.gain_db),
            judges_words=self._english,
            knows=known,
            chime=self._chime,
            on_partial=shown,
            on_trial=tried,
        )
        heard = await hearing.run()
        return replace(heard, text=without_phrase(heard.text, phrase)) if phrase else heard

    async def overhear(
        self, *, speaking: Callable[[], bool], reference_db: float | None = None, only_stop: bool = False
    ) -> Interruption:
        """Wait until somebody speaks over us, whoever is as loud as `reference_db` or nearly."""
        return await self._overhearing.next(speaking=speaking, reference_db=reference_db, only_stop=only_stop)
