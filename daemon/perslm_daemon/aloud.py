"""A reply aloud: its sentences become sound one by one, as they come, or as they were prepared.

Trouble with the voice is noted in the turn, whose reply comes anyway. Knows no loudspeaker: sound is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from anyio.abc import ObjectReceiveStream

from perslm_daemon import engine_calls
from perslm_daemon.prepared import Prepared
from perslm_daemon.turn import Progress, Sentence, Spoken
from perslm_runtime.audio import Pcm, without_lead
from perslm_runtime.errors import PersLMError
from perslm_runtime.lane import Gate, Lane
from perslm_runtime.spoken import speakable
from perslm_runtime.tts import Piper


class Aloud:
    """What is said by `voice`; `prepared` is made in advance. Used in the event loop only."""

    def __init__(self, voice: Lane[Piper]) -> None:
        self._voice = voice
        self.prepared = Prepared(voice)

    async def say(self, now: Progress, to_say: ObjectReceiveStream[Sentence], spoken: Gate) -> None:
        """Tell the sound of each sentence; `spoken` opens with the first sound, or when there will be none."""
        try:
            async with to_say:
                async for sentence in to_say:
                    words = speakable(sentence.text)
                    if not words:
                        continue
                    async for made in self._sound_of(words):
                        spoken.open()
                        sound = made
                        if now.timings.first_audio is None:
                            sound = without_lead(made)  # Piper begins with 50 ms of nothing
                            now.timings = replace(now.timings, first_audio=now.since_known_ms())
                        await now.tell(Spoken(sentence.seq, sound))
        except PersLMError as error:
            now.problems.append(f"the reply could not be spoken: {error}")
        finally:
            spoken.open()

    async def _sound_of(self, words: str) -> AsyncIterator[Pcm]:
        """The sound of a sentence, as it was prepared or piece by piece as it is made."""
        if pieces := await self.prepared.take(words):
            for piece in pieces:
                yield piece
            return
        async with self._voice.stream(engine_calls.speak, words) as sounds:
            async for made in sounds:
                yield made
