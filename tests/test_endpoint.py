"""When an utterance ends, step by step, without any sound."""

from __future__ import annotations

from perslm_daemon.endpoint import STEP_S, Cue, End, Endpointer, Patience
from perslm_runtime.completeness import Ending

LOUD, ROOM = -20.0, -65.0


def endpointer(*, reference_db: float | None = LOUD, goes_on: bool = False, **patience: float) -> Endpointer:
    return Endpointer(Patience(**patience), reference_db=reference_db, floor_db=ROOM, goes_on=goes_on)


def speak(ends: Endpointer, seconds: float, level_db: float = LOUD) -> list[Cue]:
    return [ends.step(0.95, level_db) for _ in range(round(seconds / STEP_S))]


def be_silent(ends: Endpointer, seconds: float, level_db: float = ROOM) -> list[Cue]:
    return [ends.step(0.02, level_db) for _ in range(round(seconds / STEP_S))]


def silence_until_the_end(ends: Endpointer, ending: Ending | None) -> float:
    """Seconds of silence until it is over; the words are known 0.1 s after they are asked for."""
    asked_at = None
    for number in range(200):
        cue = ends.step(0.02, ROOM)
        if cue is Cue.END or ends.why is not None:
            return (number + 1) * STEP_S
        if cue is Cue.LOOK:
            asked_at = number
        if ending is not None and asked_at is not None and number == asked_at + 3:
            ends.words(ending)
    raise AssertionError("it never ended")


def test_a_finished_command_ends_after_a_quarter_of_a_second():
    ends = endpointer()
    speak(ends, 1.5)
    assert 0.24 <= silence_until_the_end(ends, Ending.FINISHED) <= 0.29
    assert ends.why is End.SPOKEN


def test_an_unfinished_command_is_waited_for():
    unsure, unfinished = endpointer(), endpointer()
    speak(unsure, 1.5)
    speak(unfinished, 1.5)
    assert 0.58 <= silence_until_the_end(unsure, Ending.UNSURE) <= 0.64
    assert 1.38 <= silence_until_the_end(unfinished, Ending.UNFINISHED) <= 1.44


def test_without_words_yet_it_waits_for_them():
    ends = endpointer()
    speak(ends, 1.0)
    assert silence_until_the_end(ends, None) > 1.3


def test_the_words_are_looked_at_once_at_the_first_silence_and_again_after_the_next():
    ends = endpointer()
    speak(ends, 1.0)
    assert be_silent(ends, 0.2).count(Cue.LOOK) == 1
    assert Cue.RESUMED in speak(ends, 0.3)
    assert be_silent(ends, 0.2).count(Cue.LOOK) == 1
    assert ends.why is None


def test_a_click_in_the_silence_does_not_resume_it():
    ends = endpointer()
    speak(ends, 1.0)
    cues = [*be_silent(ends, 0.16), *speak(ends, STEP_S), *be_silent(ends, 0.1)]
    assert Cue.RESUMED not in cues
    assert ends.words(Ending.FINISHED)


def test_nobody_speaking_ends_after_some_seconds():
    ends = endpointer(nothing_s=3.0)
    cues = be_silent(ends, 2.9)
    assert set(cues) == {Cue.NONE}
    be_silent(ends, 0.2)
    assert ends.why is End.NOTHING


def test_a_click_is_no_first_word():
    ends = endpointer(nothing_s=3.0)
    speak(ends, 0.06)
    assert Cue.DROPPED in be_silent(ends, 0.3)
    assert ends.began is None


def test_a_voice_that_never_stops_is_ended_by_the_limit():
    ends = endpointer(longest_s=6.0)
    cues = speak(ends, 10.0)
    assert ends.why is End.LONGEST
    assert cues.index(Cue.END) * STEP_S <= 6.0


def test_a_softer_voice_behind_the_command_is_not_waited_for():
    ends = endpointer(near_db=15.0)
    speak(ends, 1.5, -20.0)
    for _ in range(12):  # a television, 20 dB softer than the speaker, in plain speech
        if ends.step(0.98, -40.0) is Cue.LOOK:
            ends.words(Ending.FINISHED)
    assert ends.why is End.SPOKEN


def test_without_a_wake_word_the_first_words_say_how_loud_the_speaker_is():
    ends = endpointer(reference_db=None, near_db=15.0)
    speak(ends, 1.5, -30.0)
    for _ in range(12):
        if ends.step(0.98, -50.0) is Cue.LOOK:
            ends.words(Ending.FINISHED)
    assert ends.why is End.SPOKEN


def test_the_last_sound_of_the_wake_phrase_is_no_command():
    ends = endpointer(goes_on=True)
    speak(ends, 0.2)
    be_silent(ends, 0.5)
    assert ends.began is None
    assert Cue.BEGAN in speak(ends, 0.3)


def test_a_command_in_one_breath_with_the_wake_phrase_begins_at_its_end():
    ends = endpointer(goes_on=True)
    assert Cue.BEGAN in speak(ends, 0.6)
    assert ends.began == 0


def test_a_look_without_words_begins_anew():
    ends = endpointer()
    speak(ends, 0.5)
    be_silent(ends, 0.2)
    ends.no_words()
    be_silent(ends, 1.0)
    assert ends.why is None
    assert Cue.BEGAN in speak(ends, 0.3)
