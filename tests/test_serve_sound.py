"""The daemon with a voice, on a sound server of the test's own: what it says is recorded and heard back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
import pytest

from perslm_daemon import loudspeaker, sound_card
from perslm_daemon.config import load
from perslm_daemon.serve import Wish, Wishes, serve
from perslm_daemon.ways import Running
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, resample
from perslm_runtime.lane import Stop
from perslm_runtime.stt import open_recognizer
from pulse import Pulse, pulse_server
from real_models import model_path
from test_serve import ask, settings
from wer import word_error_rate

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("small_gguf")]


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    with pulse_server() as server:
        yield server


def words_in(sound: Pcm) -> str:
    recognizer = open_recognizer("whisper", model_path("whisper-tiny.en"), 2, "en")
    utterance = recognizer.listen()
    utterance.accept(resample(sound, SPEECH_RATE_HZ), Stop())
    said = utterance.finish(Stop()).text.lower()
    recognizer.close()
    return said


def level(samples: np.ndarray, least: int = 50) -> float:
    """The level of what is louder than `least`: pauses do not count, however long they are."""
    loud = samples[np.abs(samples.astype(int)) > least].astype(float)
    return float(np.sqrt((loud**2).mean())) if len(loud) else 0.0


async def lived_through(running: Running, pulse: Pulse) -> None:
    async with pulse.recording() as loud:
        said = await ask(running, "say", b"The light is on.")
        assert 400 < said.data["spoken_ms"] < 5000
    async with pulse.recording() as heard:
        asked = await ask(running, "ask", {"text": "What is the capital of Italy?", "speak": True})
        assert asked.data["problems"] == []
        assert running.bulletin.current()["activity"] == "idle"
    await running.settings.change("volume", "0.2")
    async with pulse.recording() as soft:
        await ask(running, "say", b"The light is on.")
    assert level(soft.sound.samples, 10) == pytest.approx(0.2 * level(loud.sound.samples), rel=0.2)
    told = await anyio.to_thread.run_sync(
        words_in, Pcm(np.concatenate((loud.sound.samples, heard.sound.samples)), 48_000)
    )
    # Piper speaks a little differently each time, and "Rome" may come back as "wrong".
    assert word_error_rate("The light is on. The capital of Italy is Rome.", told) <= 0.3


async def unplugged(running: Running, pulse: Pulse) -> None:
    for sink in ("spk", "mic_in"):
        await anyio.to_thread.run_sync(pulse.unplug, sink)
    with anyio.fail_after(30):
        while running.bulletin.current()["sound"]["problem"] is None:  # noqa: ASYNC110 - of a device
            await anyio.sleep(0.05)
    refused = await ask(running, "say", b"Nobody hears this.")
    assert (refused.status, refused.kind) == ("error", "DeviceError")
    assert "loudspeaker" in (refused.error or "")
    asked = await ask(running, "ask", {"text": "What is the capital of Italy?", "speak": True})
    assert "Rome" in asked.data["text"]
    assert "loudspeaker" in asked.data["problems"][0]
    status = await ask(running, "status")
    assert status.data["sound"]["loudspeaker"] is None
    for sink in ("spk", "mic_in"):
        await anyio.to_thread.run_sync(pulse.plug, sink)
    with anyio.fail_after(30):
        while running.bulletin.current()["sound"]["problem"] is not None:  # noqa: ASYNC110 - of a device
            await anyio.sleep(0.05)
    assert (await ask(running, "say", b"Back.")).data["spoken_ms"] > 200


async def test_what_is_said_is_heard_and_a_loudspeaker_that_goes_is_told_and_comes_back(
    pulse: Pulse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loudspeaker, "_RETURN_S", 0.1)
    monkeypatch.setattr(sound_card, "_PAUSES_S", (0.2,))
    wishes = Wishes()
    online = anyio.Event()
    seen: list[Running] = []

    def on_ready(running: Running) -> None:
        seen.append(running)
        online.set()

    async def run() -> None:
        flags = settings(tmp_path, "voice.enabled=true")
        await serve(lambda: load(flags), wishes, on_ready=on_ready)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await online.wait()
        await lived_through(seen[0], pulse)
        await unplugged(seen[0], pulse)
        await seen[0].settings.change("mute", "on")
        assert await anyio.to_thread.run_sync(pulse.listed, "source-outputs") == []
        wishes.ask(Wish.STOP)
