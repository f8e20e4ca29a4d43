"""What people complain about in every assistant's ears, with the real engines (docs/voice.md has the list)."""

from __future__ import annotations

import anyio
import anyio.to_thread
import pytest

from listening import listening, mixed, pause, saying
from perslm_daemon.config_sections import Ears as Wanted
from perslm_daemon.endpoint import End
from perslm_daemon.hearing import Start
from perslm_daemon.sound import FRAME_SAMPLES
from perslm_runtime.audio import SPEECH_RATE_HZ
from perslm_runtime.completeness import Ending, ending_of
from recordings import recorded
from wer import word_error_rate

pytestmark = pytest.mark.anyio


async def test_a_command_in_one_breath_with_the_wake_word_loses_no_word():
    async with listening() as here:
        here.microphone.say(await saying("Okay Nabu, turn on the kitchen light."))
        partials: list[str] = []
        heard = await here.hear_after_wake(on_partial=partials.append)
    assert word_error_rate("turn on the kitchen light", heard.text) == 0
    assert heard.why is End.SPOKEN
    assert partials, "nothing was shown while it was spoken"


async def test_a_pause_after_the_wake_word_and_within_the_command_ends_nothing():
    async with listening() as here:
        here.microphone.say(await saying("Okay Nabu.", 1.0, "Turn on the", 0.8, "bedroom lamp."))
        heard = await here.hear_after_wake()
    assert word_error_rate("turn on the bedroom lamp", heard.text) <= 0.2
    assert "lamp" in heard.text


@pytest.mark.slow
async def test_deciding_late_loses_no_word():
    async with listening() as here:
        here.microphone.say(await saying("Okay Nabu.", 0.3, "What is the capital of Spain?"))
        woken = await here.wait_woken()
        await here.ears.sound.beyond(woken.start + 3 * SPEECH_RATE_HZ)  # all was said before anybody listens
        heard = await here.ears.hear(Start(woken.start, woken.level_db, after_wake=True), phrase=woken.phrase)
    assert word_error_rate("what is the capital of Spain", heard.text) == 0


@pytest.mark.slow
async def test_the_words_are_there_when_the_end_is_sure():
    async with listening(speed=1.0) as here:
        here.microphone.say(await saying("Okay Nabu.", 0.5, "What time is it?"))
        heard = await here.hear_after_wake()
    assert word_error_rate("what time is it", heard.text) == 0
    assert heard.stt_s < heard.endpoint_s, "it was decoded only after the end"


async def test_a_television_in_the_background_does_not_keep_it_listening():
    television = await anyio.to_thread.run_sync(recorded, "two_cities")
    command = await saying("Okay Nabu.", 0.3, "What time is it?", 8.0)
    async with listening() as here:
        here.microphone.say(mixed(command, television, 0.06))
        heard = await here.hear_after_wake()
    assert heard.why is End.SPOKEN
    assert word_error_rate("what time is it", heard.text) <= 0.25
    assert heard.stop - heard.start < 3 * SPEECH_RATE_HZ


@pytest.mark.slow
async def test_a_voice_as_loud_as_the_speaker_is_ended_by_the_limit():
    async with listening(Wanted(longest_s=4.0)) as here:
        television = await anyio.to_thread.run_sync(recorded, "two_cities")
        here.microphone.say(await saying("Okay Nabu."))
        here.microphone.say(mixed(pause(12), television, 5.0))
        heard = await here.hear_after_wake()
    assert heard.why is End.LONGEST
    assert heard.stop - heard.start < 5 * SPEECH_RATE_HZ
    assert heard.text


@pytest.mark.slow
async def test_nobody_speaking_after_the_wake_word_is_nothing():
    async with listening(Wanted(nothing_s=2.0)) as here:
        here.microphone.say(await saying("Okay Nabu."))
        heard = await here.hear_after_wake()
    assert (heard.text, heard.why) == ("", End.NOTHING)


async def test_without_a_wake_word_it_listens_from_where_it_is_told():
    async with listening(words=()) as here:
        question = await saying(
            0.4, "What is the capital of Spain?"
        )  # made before: the microphone is six times as fast
        start = here.ears.sound.end
        here.microphone.say(question)
        heard = await here.ears.hear(Start(start))
    assert word_error_rate("what is the capital of Spain", heard.text) == 0


@pytest.mark.slow
async def test_several_wake_words_are_told_apart():
    async with listening(words=("okay_nabu", "hey_jarvis", "alexa")) as here:
        here.microphone.say(await saying("Hey Jarvis.", 1.5, "Okay Nabu.", 1.5, "Alexa."))
        await here.wait_woken(3)
    assert [woken.word for woken in here.woken] == ["hey_jarvis", "okay_nabu", "alexa"]
    assert all(-40 < woken.level_db < 0 < woken.over_floor_db for woken in here.woken)
    assert all(0.8 < woken.score <= 1 for woken in here.woken)


@pytest.mark.slow
async def test_what_we_say_ourselves_wakes_nobody():
    async with listening(said_lately=lambda: "Just say okay Nabu and ask.") as here:
        here.microphone.say(await saying("Okay Nabu.", 1.0))
        await here.ears.sound.beyond(here.ears.sound.end + 3 * SPEECH_RATE_HZ)
    assert here.woken == []


async def test_a_muted_microphone_leaves_nothing_to_read():
    async with listening(words=()) as here:
        here.microphone.say(await saying("What time is it?"))
        await here.ears.sound.beyond(here.ears.sound.end + 2 * SPEECH_RATE_HZ)
        here.ears.forget()
        assert len(here.ears.sound.read(0)) < 10 * FRAME_SAMPLES


@pytest.mark.slow
async def test_cancelling_leaves_both_engines_free():
    async with listening(words=()) as here:
        here.microphone.say(await saying("What is the capital of Spain?"))
        with anyio.move_on_after(0.3) as cut_short:
            await here.ears.hear(Start(here.ears.sound.end))
        assert cut_short.cancelled_caught
        start = here.ears.sound.end
        here.microphone.say(await saying(0.5, "And of France?"))
        with anyio.fail_after(20):
            heard = await here.ears.hear(Start(start))
    assert heard.text


@pytest.mark.slow
async def test_vosk_streams_and_its_language_is_judged_by_silence_alone():
    partials: list[str] = []
    async with listening(words=(), engine=("vosk", "vosk-small-ko"), english=False) as here:
        here.microphone.say(await saying("Annyeonghaseyo. Annyeonghaseyo."))
        heard = await here.ears.hear(Start(here.ears.sound.end), on_partial=partials.append)
    assert heard.why is End.SPOKEN
    assert heard.text
    assert partials


async def test_a_command_that_is_known_to_be_whole_is_not_waited_for():
    async def knows(text: str) -> Ending | None:
        return Ending.FINISHED if "minutes" in text.lower() else None  # "timer" may be heard as "time"

    wanted = Wanted(unsure_s=40.0, unfinished_s=40.0, longest_s=100.0)
    async with listening(wanted) as here:
        here.ears.knows = knows
        here.microphone.say(await saying("Okay Nabu, timer for ten minutes."))
        heard = await here.hear_after_wake()
        assert ending_of(heard.text) is Ending.UNSURE, "by its words alone it would wait"
        silence_s = (here.ears.sound.end - heard.stop) / SPEECH_RATE_HZ
        assert silence_s < 30.0, "0.3 s and what the recognizer took; by its words 40"
