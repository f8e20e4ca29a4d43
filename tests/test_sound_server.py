"""Other programs' loudness and the echo canceller, on a real PulseAudio."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
import pytest

from perslm_daemon.config_sections import Audio
from perslm_daemon.sound_card import SoundCard
from perslm_daemon.sound_check import echo_of, sweep
from perslm_daemon.sound_server import ECHO_SINK, ECHO_SOURCE, EchoCanceller, OtherStreams, SoundServer
from perslm_runtime.audio import Pcm
from pulse import Pulse, pulse_server

pytestmark = pytest.mark.anyio

LOOP = ("source=spk.monitor", "sink=mic_in", "latency_msec=60")
"""The room between loudspeaker and microphone."""


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    with pulse_server() as server:
        yield server


@asynccontextmanager
async def music(pulse: Pulse) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Another program that plays."""
    quiet = Pcm(np.zeros(16_000 * 60, np.int16), 16_000)
    player = await anyio.to_thread.run_sync(pulse.speak, quiet)
    try:
        with anyio.fail_after(20):
            while not await anyio.to_thread.run_sync(pulse.listed, "sink-inputs"):  # noqa: ASYNC110 - of pacat
                await anyio.sleep(0.02)
        yield player
    finally:
        player.kill()
        await anyio.to_thread.run_sync(player.wait)


async def loudness(pulse: Pulse) -> list[str]:
    return [
        one["value_percent"]
        for stream in await anyio.to_thread.run_sync(pulse.listed, "sink-inputs")
        for one in stream["volume"].values()
    ]


async def lost_by_server(pulse: Pulse) -> int:
    """How often the server's canceller had to look anew for what belongs together."""
    return (await anyio.Path(pulse.folder / "pulse.log").read_text()).count("Doing resync")


async def test_others_are_made_softer_and_get_exactly_their_loudness_back(pulse: Pulse) -> None:
    others = OtherStreams(SoundServer())
    async with music(pulse):
        (stream,) = await anyio.to_thread.run_sync(pulse.listed, "sink-inputs")
        await anyio.to_thread.run_sync(pulse.pactl, "set-sink-input-volume", str(stream["index"]), "52429")
        assert await loudness(pulse) == ["80%"]
        await others.lower(0.25)
        assert await loudness(pulse) == ["20%"]
        await others.lower(0.25)
        assert await loudness(pulse) == ["20%"], "once is enough"
        await others.restore()
        assert await loudness(pulse) == ["80%"]


async def test_what_a_killed_process_left_soft_is_given_back_by_the_next(pulse: Pulse, tmp_path: Path) -> None:
    notes = tmp_path / "ducked.json"
    async with music(pulse):
        await OtherStreams(SoundServer(), notes).lower(0.3)
        assert await loudness(pulse) == ["30%"]
        await OtherStreams(SoundServer(), notes).restore()
        assert await loudness(pulse) == ["100%"]
    assert not await anyio.Path(notes).exists()


async def test_our_own_streams_are_left_alone(pulse: Pulse) -> None:
    card = SoundCard(Audio())
    async with anyio.create_task_group() as tasks:
        await tasks.start(card.run)
        await OtherStreams(SoundServer()).lower(0.1)
        assert await loudness(pulse) == ["100%"]
        tasks.cancel_scope.cancel()


async def test_without_a_server_nothing_happens_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SERVER", "unix:/nonexistent/native")
    others = OtherStreams(SoundServer())
    await others.lower(0.1)
    await others.restore()
    assert (await EchoCanceller(SoundServer()).bind()).in_force is False


async def test_the_echo_canceller_is_between_us_and_the_devices_and_goes_with_us(pulse: Pulse) -> None:
    server = SoundServer()
    card = SoundCard(Audio(echo_cancel=True), echo=EchoCanceller(server))
    async with anyio.create_task_group() as tasks:
        await tasks.start(card.run)
        assert card.state.echo_cancel == "module-echo-cancel (webrtc)"
        names = {
            kind: {one["index"]: one["name"] for one in await server.listed(kind)} for kind in ("sources", "sinks")
        }
        ours = [one for one in await server.listed("source-outputs") if one["driver"] == "protocol-native.c"]
        assert [names["sources"][one["source"]] for one in ours] == [ECHO_SOURCE]
        ours = [one for one in await server.listed("sink-inputs") if one["driver"] == "protocol-native.c"]
        assert [names["sinks"][one["sink"]] for one in ours] == [ECHO_SINK]
        masters = await anyio.to_thread.run_sync(pulse.pactl, "list", "short", "modules")
        assert "source_master=mic_in.monitor sink_master=spk" in (masters or "")
        with_echo = await anyio.to_thread.run_sync(pulse.pactl, "load-module", "module-loopback", *LOOP)
        assert with_echo
        # Without the canceller all would be at -11. Where the server itself lost sound it begins to learn anew.
        levels: list[float] = []
        while len(levels) < 6 and min(levels, default=0.0) >= -20:
            before = await lost_by_server(pulse)
            levels.append((await echo_of(card, sweep())).level.rms_dbfs)
            assert levels[-1] < -20 or await lost_by_server(pulse) > before, f"-29 to -36 here, and not {levels}"
        assert min(levels) < -20, levels
        assert max(levels) < -14, f"it was between us and the devices every time: {levels}"
        tasks.cancel_scope.cancel()
    assert ECHO_SINK not in {one["name"] for one in await server.listed("sinks")}
    left = [one["value_percent"] for source in await server.listed("sources") for one in source["volume"].values()]
    assert set(left) == {"100%"}, "the canceller's gain control would leave the microphone turned down"


async def test_a_microphone_that_comes_later_is_led_through_the_canceller_too(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PULSE_SOURCE", "PULSE_SINK"):
        monkeypatch.delenv(name)
    echo = EchoCanceller(SoundServer())
    pactl = partial(anyio.to_thread.run_sync, pulse.pactl)
    await pactl("load-module", "module-null-sink", "sink_name=other", "norewinds=1")
    await pactl("set-default-source", "other.monitor")
    await pactl("set-default-sink", "spk")
    card = SoundCard(Audio(echo_cancel=True), echo=echo)
    async with anyio.create_task_group() as tasks:
        await tasks.start(card.run)
        assert "source_master=other.monitor sink_master=spk" in (await pactl("list", "short", "modules") or "")
        assert (await echo.bind()).in_force
        assert (await pactl("list", "short", "modules") or "").count("module-echo-cancel") == 1, "it fitted"
        await pactl("set-default-source", "mic_in.monitor")
        assert (await echo.bind()).in_force
        modules = await pactl("list", "short", "modules") or ""
        assert modules.count("module-echo-cancel") == 1
        assert "source_master=mic_in.monitor sink_master=spk" in modules
        assert await echo.leads()
        tasks.cancel_scope.cancel()
    assert "module-echo-cancel" not in (await pactl("list", "short", "modules") or "")
