"""Plug-ins that hear and speak, in place of PersLM's own engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from perslm_daemon.app import build_engine
from perslm_runtime import landlock
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import InputError, PluginFailed, PluginRefused
from perslm_runtime.lane import Stop
from plugin_site import Site, configured

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


@pytest.fixture(autouse=True)
def site(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "site").mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Site(tmp_path / "site", monkeypatch)
        made.plugin("counter", COUNTER, "perslm.engines")
        made.plugin("beeper", BEEPER, "perslm.engines")
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
    ):
        with pytest.raises(PluginRefused, match=why):
            build_engine(configured(tmp_path, key), part)
