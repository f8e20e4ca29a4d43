"""Plug-ins that hear, speak, wake, give vectors and reply, in place of PersLM's own engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
import pytest

from perslm_daemon.app import Assistant, start
from perslm_daemon.config_sections import Config
from perslm_daemon.doctor_running import check_plugins
from perslm_daemon.engine_builds import Builds, build_engine, own_engines
from perslm_daemon.engine_choice import EngineChoice
from perslm_daemon.findings import Verdict
from perslm_daemon.turn import Ask, Event, Turn
from perslm_runtime import landlock
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import InputError, PluginFailed, PluginRefused
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.lane_faults import RebuildPolicy
from perslm_runtime.model import ReplyEnd
from perslm_runtime.tts import Piper
from perslm_runtime.wake import MicroWakeWord
from plugin_site import Site, configured
from real_models import model_path, models_dir, with_heads

pytestmark = pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock: plug-ins do not run")

COUNTER = """
    def hears(context, samples, rate_hz):
        return f" {len(samples) // 2}  samples of {rate_hz} Hz " if any(samples) else ""
    plugin = Plugin("counter", "counts samples", hears=hears)
"""
BEEPER = """
    import time
    def speaks(context, text):
        if "hang" in text: time.sleep(600)
        return (b"\\x00\\x40" * 16 * len(text), 8000 if "low" in text else 16000)
    plugin = Plugin("beeper", "beeps", speaks=speaks)
"""
MIND = """
    import time, zlib
    def mood(context):
        file = context.folder / "mood"
        wanted = file.read_text() if file.exists() else ""
        if wanted == "raise": raise ValueError("broken")
        if wanted == "hang": time.sleep(600)
    def replies(context, messages, most_tokens):
        mood(context)
        yield f"I was told {len(messages)} things, "
        yield f"{messages[-3].text!r} before the last. " * (40 if "at length" in messages[-1].text else 1)
        if "break off" in messages[-1].text: raise ValueError
        yield "That is all."
    def embeds(context, texts):
        mood(context)
        rows = []
        for text in texts:
            row = [0.0] * 128
            for word in text.lower().strip("?.").split():
                row[zlib.crc32(word.encode()) % 128] += 1.0
            rows.append(row)
        return rows if "uneven" not in texts[0] else [row[:7] for row in rows]
    def wakes(context, samples, rate_hz):
        mood(context)
        return [Woken("hey_board", samples[0] / 100, 0.1)] if any(samples) else []
    plugin = Plugin("mind", "a mind", wakes=wakes, words={"hey_board": "hey board", "hey_lamp": "hey lamp"},
                    embeds=embeds, replies=replies)
"""


@pytest.fixture(autouse=True)
def site(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "site").mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Site(tmp_path / "site", monkeypatch)
        made.plugin("counter", COUNTER, "perslm.engines")
        made.plugin("beeper", BEEPER, "perslm.engines")
        made.plugin("mind", MIND, "perslm.engines")
        yield


def test_a_plug_in_hears(tmp_path: Path) -> None:
    with closing(build_engine(configured(tmp_path, "plugins.hears=counter"), "stt")) as engine:
        assert engine.prove() == "heard '' in half a second of silence"
        utterance = engine.listen(("kitchen",))
        for _ in range(2):
            assert utterance.accept(Pcm(np.ones(800, np.int16), SPEECH_RATE_HZ), Stop()) == ""
        heard = utterance.finish(Stop())
        assert (heard.text, heard.seconds) == ("1600 samples of 16000 Hz", 0.1)
        with pytest.raises(InputError):
            engine.listen().accept(Pcm(np.ones(800, np.int16), 8000), Stop())


def test_a_plug_in_speaks_and_one_that_hangs_speaks_again(tmp_path: Path) -> None:
    config = configured(tmp_path, "plugins.speaks=beeper", "plugins.call_s=2", "tts.volume=0.5")
    with closing(build_engine(config, "tts")) as engine:
        assert (engine.name, engine.rate_hz) == ("beeper", 16000)
        (sound,) = engine.speak("Hello.", Stop())
        assert (len(sound.samples), int(sound.samples[0])) == (96, 0x2000)
        assert list(engine.speak(" ... ", Stop())) == []
        with pytest.raises(PluginFailed, match="longer than 2 seconds"):
            list(engine.speak("now hang", Stop()))
        with pytest.raises(PluginFailed, match="changed its rate"):
            list(engine.speak("low", Stop()))
        engine.set_volume(1.0)
        (sound,) = engine.speak("Hello.", Stop())
        assert int(sound.samples[0]) == 0x4000


def test_one_that_cannot_is_refused_with_the_next_step(tmp_path: Path) -> None:
    for key, part, why in (
        ("plugins.hears=beeper", "stt", "set plugins.hears to one that does"),
        ("plugins.speaks=counter", "tts", "set plugins.speaks to one that does"),
        ("plugins.speaks=nobody", "tts", "install its package"),
        ("plugins.wakes=counter", "wake", "does not hear wake words: set plugins.wakes"),
        ("plugins.embeds=counter", "embed", "does not give texts vectors"),
        ("plugins.replies=counter", "model", "does not reply"),
    ):
        with pytest.raises(PluginRefused, match=why):
            build_engine(configured(tmp_path, key), part)


def mood(folder: Path, wanted: str) -> None:
    """What the plug-in `mind` does from its next call on."""
    (folder / "plugins" / "mind").mkdir(parents=True, exist_ok=True)
    (folder / "plugins" / "mind" / "mood").write_text(wanted)


def of_mind(folder: Path, *settings: str) -> Config:
    for model in ("smollm2-135m-q4_1", "all-minilm-l6-v2"):
        model_path(model)
    return configured(with_heads(folder), f"models_dir={models_dir()}", *settings)


def loud(value: int) -> Pcm:
    return Pcm(np.full(960, value, np.int16), SPEECH_RATE_HZ)


def test_a_plug_in_hears_wake_words_and_is_tuned_and_chosen_as_ours_are(tmp_path: Path) -> None:
    with closing(build_engine(configured(tmp_path, "plugins.wakes=mind"), "wake")) as engine:
        assert engine.prove() == "listens for hey board, hey lamp"
        assert engine.words == {"hey_board": "hey board", "hey_lamp": "hey lamp"}
        (found,) = engine.accept(loud(80))
        assert (found.word, found.score, found.ended_ago_s) == ("hey_board", 0.8, 0.1)
        assert engine.accept(loud(20)) == []
        engine.tune({"hey_board": 0.1, "okay_nabu": 0.9})
        assert engine.accept(loud(80)) == []
        engine.tune({"hey_board": 0.9})
        assert len(engine.accept(loud(50))) == 1
        engine.choose(("hey_lamp",))
        assert engine.accept(loud(80)) == []
        engine.choose(("okay_nabu",))  # of our own, chosen before: all of the plug-in's
        assert len(engine.accept(loud(80))) == 1


def test_a_plug_in_gives_vectors_and_rows_that_are_none_are_refused(tmp_path: Path) -> None:
    with closing(build_engine(configured(tmp_path, "plugins.embeds=mind"), "embed")) as engine:
        assert engine.prove().startswith("a question is 0.")
        vectors = engine.embed(["the red lamp", "a red lamp"], Stop())
        assert vectors.shape == (2, 128)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0)
        assert 0.5 < float(vectors[0] @ vectors[1]) < 0.9
        assert engine.embed([], Stop()).shape == (0, 128)
        for texts, why in ((["uneven"], "multiple of 8"), ([""], "zeros")):
            with pytest.raises(PluginFailed, match=why):
                engine.embed(texts, Stop())


def said(pieces: Iterator[str | ReplyEnd]) -> tuple[str, str]:
    """A reply's text, and how it ended."""
    *_, end = pieces
    assert isinstance(end, ReplyEnd)
    return end.text, end.why


def test_a_plug_in_replies_knows_the_conversation_and_is_left_in_the_middle(tmp_path: Path) -> None:
    config = of_mind(tmp_path, "plugins.replies=mind", "plugins.call_s=2", "model.max_reply_tokens=60")
    with closing(build_engine(config, "model")) as model:
        assert model.prove().startswith("the plug-in mind answers 'I was told 1 things,'; beside it")
        whole, why = said(model.reply(Stop(), "Hello there."))
        assert why == "end"
        assert whole.endswith("before the last. That is all.")
        assert "'Hello there.' before the last." in said(model.reply(Stop(), "And now?"))[0]
        assert said(model.reply(Stop(), "Speak at length."))[1] == "length"
        process = model._process.pid
        stop = Stop()
        pieces = model.reply(stop, "Once more.")
        next(pieces)
        stop.set()
        assert said(pieces)[1] == "stopped"
        assert said(model.reply(Stop(), "Go on."))[1] == "end"
        pieces = model.reply(Stop(), "Nobody listens.")
        next(pieces)
        pieces.close()
        assert said(model.reply(Stop(), "Still there?"))[1] == "end"
        assert model._process.pid == process
        *_, cut = model.reply(Stop(), "Please break off.")
        assert (cut.why, cut.prefilled_tokens) == ("length", 0)
        model.begin(Stop())  # a short one, for the model has read nothing of this one
        *_, own = model.reply(Stop(), "Are you well?", 4)  # the model's own: the plug-in rests
        assert own.prefilled_tokens > 0


@pytest.mark.anyio
async def test_one_that_raises_or_hangs_leaves_the_built_in_engine_in_use(tmp_path: Path) -> None:
    wanted = ("plugins.wakes=mind", "plugins.speaks=beeper", "plugins.call_s=1")
    config = await anyio.to_thread.run_sync(of_mind, tmp_path, *wanted)
    choice = EngineChoice()
    builds = await anyio.to_thread.run_sync(Builds, config, choice)
    async with (
        Lane("wake", builds.wake, rebuild=RebuildPolicy()) as wake,
        Lane("tts", builds.tts, rebuild=RebuildPolicy()) as tts,
    ):
        assert len(await wake.call(lambda engine, _stop: engine.accept(loud(80)))) == 1
        await anyio.to_thread.run_sync(mood, tmp_path, "hang")
        with pytest.raises(PluginFailed, match="longer than 1 seconds"):
            await wake.call(lambda engine, _stop: engine.accept(loud(80)))
        assert await wake.call(lambda engine, _stop: type(engine)) is MicroWakeWord
        with pytest.raises(PluginFailed):
            await tts.call(lambda engine, stop: list(engine.speak("now hang", stop)))
        assert await tts.call(lambda engine, _stop: type(engine)) is Piper
    assert set(choice.problems) == {"wake", "tts"}
    assert own_engines(config).plugins.wakes == ""  # a bundle is tried by our own engines
    assert "the plug-in mind failed in a call; the built-in engine is in its place" in choice.problems["wake"]


async def tell(_event: Event) -> None:
    """Only the finished turn counts here."""


async def asked(assistant: Assistant, text: str) -> Turn:
    return await assistant.pipeline.ask(Ask(text), tell)


@pytest.mark.anyio
async def test_a_whole_assistant_with_a_mind_of_another_goes_on_without_it(tmp_path: Path) -> None:
    config = await anyio.to_thread.run_sync(of_mind, tmp_path, "plugins.replies=mind", "plugins.embeds=mind")
    async with start(config) as assistant:
        assert assistant.missing == ()
        recollection = assistant.pipeline.recollection
        fact = await recollection.remember("The spare fuses lie behind the blue paint.")
        assert (await recollection.recall("where do the spare fuses lie", 1))[0].id == fact
        assert await recollection.lane.call(lambda memory, _stop: memory._vectors.embedder) == "plug-in mind"
        assert (await asked(assistant, "Tell me something.")).reply.startswith("I was told")
        await anyio.to_thread.run_sync(mood, tmp_path, "raise")
        turn = await asked(assistant, "What is the capital of Italy?")
        assert turn.reply
        assert "I was told" not in turn.reply
        assert turn.problems  # nothing was recalled by meaning
        assert not (await asked(assistant, "And of Spain?")).problems
        await recollection.tidy()
        assert await recollection.lane.call(lambda memory, _stop: memory._vectors.embedder) == config.embed.id
        assert (await recollection.recall("where do the spare fuses lie", 1))[0].id == fact
        gone = {one.part: one.reason for one in assistant.missing}
        assert set(gone) == {"model", "embed"}
        assert "the plug-in mind failed (ValueError); the model smollm2-135m-q4_1 answers" in gone["model"]


def test_the_doctor_says_which_engine_is_a_plug_in_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    found = list(check_plugins(configured(tmp_path, "plugins.replies=mind", "plugins.wakes=nobody")))
    assert [(one.verdict, one.found) for one in found] == [
        (
            Verdict.FAIL,
            "plugins.wakes: no plug-in nobody is installed: install its package, `perslm plugins list` shows it",
        ),
        (Verdict.OK, "plugins.replies: mind is not running"),
    ]
