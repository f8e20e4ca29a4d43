"""Voices in a house on a real sound server: two boards, a timer through a power cut, our own voice in the room."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import numpy as np
import pytest

import mosquitto
from daemon_child import daemon as child
from flows.test_voice import daemon, microphone, say, transcribed, until
from listening import saying
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from pipewire import PipeWire, pipewire_server
from pulse import Pulse, pulse_server
from wer import word_error_rate

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(400)]
T = TypeVar("T")

SPEAKING = {"voice__enabled": "true", "mouth__duck_others_to": "1", "mouth__thinking_after_s": "0"}
FAR_DB = -14.0  # from one room to the next
ECHO_PERCENT = "40%"  # of what the loudspeaker plays: -24 dB on its scale: a loudspeaker beside the microphone
STORY = "Tell me a long story about a dog."


@pytest.fixture
def server() -> Iterator[Pulse]:
    with pulse_server() as made:
        yield made


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[mosquitto.Broker]:
    with mosquitto.running(tmp_path) as made:
        yield made


async def thread(work: Callable[..., T], *args: Any, **more: Any) -> T:
    return await anyio.to_thread.run_sync(partial(work, *args, **more))


@contextmanager
def a_room(server: Pulse, *sinks: str) -> Iterator[None]:
    """A soft noise in microphones: one that gives zeros alone counts as broken."""
    noise = Pcm(np.random.default_rng(5).normal(0, 6, SPEECH_RATE_HZ * 300).astype(np.int16), SPEECH_RATE_HZ)
    players = [server.speak(noise, sink) for sink in sinks]
    try:
        yield
    finally:
        for player in players:
            player.kill()
            player.wait()


@asynccontextmanager
async def room(server: Pulse, *sinks: str) -> AsyncIterator[None]:
    block = a_room(server, *sinks)
    await thread(block.__enter__)
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await thread(block.__exit__, None, None, None)


@asynccontextmanager
async def board(
    folder: Path, broker: str, node: str, environ: dict[str, str]
) -> AsyncIterator[subprocess.Popen[str]]:
    """A whole daemon with a voice as a process of its own."""
    block = child(folder / node, broker, environ, node=node, **SPEAKING)
    process = await thread(block.__enter__)
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await thread(block.__exit__, None, None, None)


def told(home: mosquitto.Client, node: str, event_type: str) -> dict[str, Any]:
    """The next event of a type that a node tells."""
    while True:
        event = home.next_json(f"perslm/{node}/event")
        if event["event_type"] == event_type:
            return event


async def hears(home: mosquitto.Client, node: str) -> None:
    """Wait until a node has its microphone."""
    while not (await thread(home.next_json, f"perslm/{node}/sound"))["microphone"]:
        pass


def softer(sound: Pcm, by_db: float) -> Pcm:
    return Pcm((sound.samples * 10 ** (by_db / 20)).astype(np.int16), sound.rate_hz)


async def test_of_two_boards_that_hear_one_call_the_nearer_answers_and_the_other_is_silent(
    server, broker, tmp_path
):
    for sink in ("mic_far", "spk_far"):
        await thread(
            server.pactl, "load-module", "module-null-sink", f"sink_name={sink}", "rate=48000", "norewinds=1"
        )
    far_sound = {"PULSE_SOURCE": "mic_far.monitor", "PULSE_SINK": "spk_far"}
    home = await thread(mosquitto.Client, broker.port, ("perslm/+/event", "perslm/+/sound"))
    called = await saying("Okay Nabu.", 0.4, "What time is it?", 0.3)
    try:
        async with (
            board(tmp_path, broker.url, "far", far_sound),
            board(tmp_path, broker.url, "near", {}),
            room(server, "mic_in", "mic_far"),
            server.recording() as near_said,
            server.recording("spk_far.monitor") as far_said,
        ):
            for node in ("far", "near"):
                await hears(await thread(mosquitto.Client, broker.port, (f"perslm/{node}/sound",)), node)
            players = [
                await thread(server.speak, called),
                await thread(server.speak, softer(called, FAR_DB), "mic_far"),
            ]
            events: list[tuple[str, str]] = []
            with anyio.fail_after(60):
                while ("near", "tts_finished") not in events:
                    message = await thread(home.next)
                    if message.topic.endswith("/event"):
                        node = message.topic.split("/")[1]
                        events.append((node, json.loads(message.payload)["event_type"]))
            for player in players:
                await thread(player.wait)
    finally:
        await thread(home.close)
    of = {node: [kind for who, kind in events if who == node] for node in ("near", "far")}
    assert "wake_word_detected" in of["far"], "both heard the call"
    assert "left_to_another" in of["far"]
    assert not {"heard", "tts_speaking"} & set(of["far"]), of["far"]
    assert {"wake_word_detected", "heard", "tts_speaking"} <= set(of["near"])
    assert "left_to_another" not in of["near"]
    assert "it" in (await thread(transcribed, near_said.sound)).lower().split()
    assert int(np.abs(far_said.sound.samples.astype(int)).max()) <= 2, "not even a chime"


async def test_a_timer_set_by_voice_outlives_a_power_cut_rings_aloud_and_ends_at_stop(server, broker, tmp_path):
    home = await thread(mosquitto.Client, broker.port, ("perslm/kitchen/event", "perslm/kitchen/sound"))
    try:
        async with room(server, "mic_in"):
            async with board(tmp_path, broker.url, "kitchen", {}) as process:
                await hears(home, "kitchen")
                await say(server, "Okay Nabu.", 0.4, "Set a timer for fifteen seconds.", 0.3)
                made = await thread(told, home, "kitchen", "timer_started")
                assert made["seconds"] == 15
                process.kill()
            async with board(tmp_path, broker.url, "kitchen", {}), server.recording() as rung:
                assert (await thread(told, home, "kitchen", "timer_ringing"))["id"] == made["id"]
                await anyio.sleep(3.0)
                await say(server, "Stop!", 0.6)
                assert (await thread(told, home, "kitchen", "timer_finished"))["id"] == made["id"]
                await anyio.sleep(0.5)
                at_the_end = len(await rung.so_far())
                await anyio.sleep(2.0)
            assert rung.sound.samples.any(), "it rang aloud"
            assert not rung.sound.samples[at_the_end:].any(), "and no more after stop"
    finally:
        await thread(home.close)


async def echoing(server: Pulse) -> None:
    """Let the microphone hear the loudspeaker from now on."""
    if isinstance(server, PipeWire):
        await thread(server.link, "spk")
        return
    await thread(
        server.pactl, "load-module", "module-loopback", "source=spk.monitor", "sink=mic_in", "latency_msec=60"
    )
    (echo,) = [one for one in await thread(server.listed, "sink-inputs") if "loopback" in one["driver"]]
    await thread(server.pactl, "set-sink-input-volume", str(echo["index"]), ECHO_PERCENT)


@pytest.mark.parametrize(
    ("kind", "cancelled"), [(pulse_server, True), (pulse_server, False), (pipewire_server, True)]
)
async def test_our_own_voice_in_the_room_interrupts_nothing_and_a_person_does(tmp_path, kind, cancelled):
    block = kind()
    server = await thread(block.__enter__)
    try:
        await echoing(server)
        settings = (f"audio.echo_cancel={str(cancelled).lower()}", "mouth.chimes=false")
        async with room(server, "mic_in"), daemon(tmp_path, *settings) as (running, events):
            await microphone(running, there=True)
            in_force = running.bulletin.current()["sound"]["echo_cancel"]
            assert in_force.startswith("module-echo-cancel") is cancelled, in_force
            await say(server, "Okay Nabu.", 0.4, STORY, 0.3)
            await until(events, "tts_speaking")
            await anyio.sleep(5.0)
            kinds = [one.event_type for one in events]
            assert kinds.count("listening") == 1, "our own voice was taken for somebody's"
            assert "tts_finished" not in kinds
            await say(server, "Please tell me the capital of Germany.", 0.3)
            assert (await until(events, "tts_finished")).fields["interrupted"]
            heard = (await until(events, "heard", 2)).fields["text"]
            assert word_error_rate("please tell me the capital of Germany", heard) <= 0.2
    finally:
        with anyio.CancelScope(shield=True):
            await thread(block.__exit__, None, None, None)
