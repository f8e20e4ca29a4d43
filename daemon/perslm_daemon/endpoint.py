"""When somebody has finished speaking, by how likely speech each 32 ms are, how loud, and the words so far.

Pure. A finished command ends after a short silence, an unfinished one waits. Who is much softer than the wake word
was is somebody else, or a television; nothing keeps it listening beyond its limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from perslm_runtime.completeness import Ending

STEP_S = 0.032
"""Length of one step: what the voice activity detector judges at once."""

LOOK_S = 0.1
"""Silence after which the words are decoded on trial: the result is there when the end is sure.

Whisper needs no more: over 36 clips 1 to 2 % of the words are wrong, with 0.03 s of silence behind them or 0.5.
"""

_ENTER, _STAY = 0.5, 0.35  # Silero's own: begin above the first, end below the second
_BEGINS_S = 0.12  # of speech; a click is shorter
_BEGINS_AT_ONCE_S = 0.36  # where speech goes on from the wake phrase: its last sound is up to 0.25 s of that
_RESUMES_S = 0.06
_OVER_FLOOR_DB = 6.0  # Silero says speech for 60 ms after it has ended; the level says it at once
_LOUD_FOR = 5  # steps that count together as one loudness: a soft sound within a word is no other speaker
_FLOOR_RISES_DB = 0.016  # per step, half a decibel a second: it follows a fan that starts, not a long sentence
_LEARNS_S = 1.0  # of speech, from which the loudness of a speaker without a wake word is known


class Cue(Enum):
    """What a step brings: nothing, the first word, silence worth a look, speech again, a false alarm, the end."""

    NONE = "none"
    BEGAN = "began"
    LOOK = "look"
    RESUMED = "resumed"
    DROPPED = "dropped"
    END = "end"


class End(Enum):
    """Why listening ended."""

    SPOKEN = "spoken"
    LONGEST = "longest"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds; `near_db`: how much softer than the wake word the speaker may become."""

    end_s: float = 0.25
    unsure_s: float = 0.6
    unfinished_s: float = 1.4
    longest_s: float = 15.0
    nothing_s: float = 5.0
    near_db: float = 18.0


class Endpointer:
    """Follows one utterance in steps of 32 ms.

    `reference_db` is the speaker's loudness (the wake word's), None where nobody has spoken yet: then the first
    words are. `floor_db` is the room's. `goes_on` tells that speech may go on from a wake phrase.
    """

    def __init__(
        self, patience: Patience, *, reference_db: float | None, floor_db: float, goes_on: bool = False
    ) -> None:
        self._patience = patience
        self._reference_db = reference_db
        self._learns_s = 0.0 if reference_db is not None else _LEARNS_S
        self._floor_db = floor_db
        self._goes_on = goes_on
        self._levels: list[float] = []
        self._ending: Ending | None = None
        self._looked = False
        self._run = 0.0
        self._run_began = 0
        self._broken = 0.0
        self.steps = 0
        self.began: int | None = None
        """The step at which speech began, None while it has not."""
        self.last_voiced = 0
        """The last step in which the speaker was heard."""
        self.why: End | None = None

    @property
    def silence_s(self) -> float:
        """Seconds since the speaker was heard."""
        return (self.steps - 1 - self.last_voiced) * STEP_S

    def step(self, probability: float, level_db: float) -> Cue:
        """Take 32 ms: how likely they are speech (0 to 1), and their level in decibels."""
        self.steps += 1
        voiced = self._voiced(probability, level_db)
        cue = self._before(voiced) if self.began is None else self._during(voiced)
        if self.why is None and self.steps * STEP_S >= self._patience.longest_s:
            self.why = End.NOTHING if self.began is None else End.LONGEST
        return Cue.END if self.why is not None else cue

    def words(self, ending: Ending) -> bool:
        """Take how finished the words of the last look sound; True when that ends it at once."""
        self._ending = ending
        if self._silent_enough():
            self.why = End.SPOKEN
        return self.why is not None

    def no_words(self) -> None:
        """The look found no words: what was taken for speech was none."""
        self._drop()

    def _voiced(self, probability: float, level_db: float) -> bool:
        self._floor_db = min(level_db, self._floor_db + _FLOOR_RISES_DB)
        self._levels = [*self._levels[1 - _LOUD_FOR :], level_db]
        speaking = self.began is not None or self._run > 0
        if probability < (_STAY if speaking else _ENTER) or level_db < self._floor_db + _OVER_FLOOR_DB:
            return False
        if self._learns_s > 0:
            self._learns_s -= STEP_S
            self._reference_db = max(level_db, self._reference_db or level_db)
        return self._reference_db is None or max(self._levels) >= self._reference_db - self._patience.near_db

    def _before(self, voiced: bool) -> Cue:
        if voiced:
            if not self._run:
                self._run_began = self.steps - 1
            at_once = self._goes_on and self._run_began * STEP_S < 2 * LOOK_S
            self._run += STEP_S
            self._broken = 0.0
            self.last_voiced = self.steps - 1
            if self._run >= (_BEGINS_AT_ONCE_S if at_once else _BEGINS_S):
                self.began = self._run_began
                return Cue.BEGAN
        elif self._run:
            self._broken += STEP_S
            if self._broken > 2 * STEP_S:
                self._drop()
                return Cue.DROPPED
        if self.steps * STEP_S >= self._patience.nothing_s and not self._run:
            self.why = End.NOTHING
        return Cue.NONE

    def _during(self, voiced: bool) -> Cue:
        if voiced:
            self._run += STEP_S
            if self._run >= _RESUMES_S or not self._looked:
                self.last_voiced = self.steps - 1
                if self._looked:
                    self._looked, self._ending = False, None
                    return Cue.RESUMED
            return Cue.NONE
        self._run = 0.0
        if not self._looked and self.silence_s >= LOOK_S - 0.01:
            self._looked = True
            return Cue.LOOK
        if self._silent_enough():
            self.why = End.SPOKEN
        return Cue.NONE

    def _silent_enough(self) -> bool:
        waits = self._patience
        needed = {
            Ending.FINISHED: waits.end_s,
            Ending.UNSURE: max(waits.end_s, waits.unsure_s),
            Ending.UNFINISHED: max(waits.end_s, waits.unfinished_s),
            None: max(waits.end_s, waits.unfinished_s),
        }[self._ending]
        return self._looked and self.silence_s >= needed - 0.01

    def _drop(self) -> None:
        self.began, self._run, self._broken = None, 0.0, 0.0
        self._looked, self._ending = False, None
        self._goes_on = False
