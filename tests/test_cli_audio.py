"""`perslm audio` and the doctor's lines on sound, on a PulseAudio of the test's own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from command_line import Ended, start
from perslm_daemon.cli_audio import bar
from perslm_daemon.config import Flags, load
from perslm_daemon.doctor import check_sound
from perslm_daemon.findings import Verdict
from perslm_daemon.sound import FRAME_SAMPLES, Frame
from perslm_daemon.sound_check import find_echo, level_of, sweep
from perslm_runtime.audio import Pcm
from pulse import Pulse, pulse_server
from recordings import recorded


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    with pulse_server() as server:
        yield server


def run(home: Path, *arguments: str) -> Ended:
    with start(home, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


def tone(seconds: float, amplitude: float) -> Pcm:
    at = np.arange(round(seconds * 48_000)) / 48_000
    return Pcm((amplitude * np.sin(2 * np.pi * 500 * at)).astype(np.int16), 48_000)


def test_the_devices_are_listed_with_the_chosen_ones(pulse: Pulse, tmp_path: Path) -> None:
    ended = run(tmp_path, "audio", "devices", "--json")
    assert ended.code == 0
    names = {device["index"]: device["name"] for device in ended.data["devices"]}
    assert names[ended.data["microphone"]] in {"default", "pulse"}
    ended = run(tmp_path, "audio", "devices", "--set", "audio.microphone=ReSpeaker")
    assert "there is no microphone 'ReSpeaker'" in ended.err
    assert ended.out.splitlines()[0].startswith("NUMBER\tNAME")
    assert "loudspeaker" in ended.out


def test_a_level_is_measured_and_a_loudspeaker_that_is_not_heard_is_told(pulse: Pulse, tmp_path: Path) -> None:
    player = pulse.speak(tone(20.0, 3276.7))
    try:
        ended = run(tmp_path, "audio", "test", "--json", "--seconds", "0.6")
    finally:
        player.kill()
        player.wait()
    assert ended.code == 0, ended.err
    assert ended.data["level_dbfs"] == pytest.approx(-23.0, abs=1.5)
    assert ended.data["peak_dbfs"] == pytest.approx(-20.0, abs=1.0)
    assert ended.data["echo"]["heard"] is False
    assert ended.data["lost_frames"] == 0


def test_an_echo_is_found_with_its_lateness(pulse: Pulse, tmp_path: Path) -> None:
    pulse.pactl("load-module", "module-loopback", "source=spk.monitor", "sink=mic_in", "latency_msec=100")
    ended = run(tmp_path, "audio", "test", "--json", "--seconds", "0.5")
    echo = ended.data["echo"]
    assert echo["heard"] is True
    assert 20 < echo["latency_ms"] < 1000
    assert echo["likeness"] > 0.5


@pytest.mark.parametrize(("alsa", "told"), [(None, "microphone"), ("", "libasound2-data")])
def test_without_a_microphone_the_exit_code_says_so(
    alsa: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSE_SERVER", "unix:/nonexistent/native")
    if alsa is not None:
        (tmp_path / "asound.conf").write_text(alsa)
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))
    ended = run(tmp_path, "audio", "test", "--seconds", "0.5", "--json")
    assert ended.code == 9, "PortAudio would abort where ALSA has no configuration"
    assert told in ended.error["message"]


def frames(samples: np.ndarray) -> list[Frame]:
    whole = len(samples) // FRAME_SAMPLES
    return [
        Frame(samples[at * FRAME_SAMPLES : (at + 1) * FRAME_SAMPLES], 100.0 + (at + 1) * 0.02)
        for at in range(whole)
    ]


@pytest.mark.parametrize("loudness", [1.0, 0.05, -0.3])
def test_an_echo_is_found_at_its_place_however_soft_and_turned(loudness: float) -> None:
    sound = sweep().samples
    heard = np.random.default_rng(1).normal(0, 60, 36_000)
    heard[8000 : 8000 + len(sound)] += sound * loudness
    echo = find_echo(sound, frames(heard.astype(np.int16)), began_at=100.3)
    assert echo.heard
    assert echo.latency_ms == pytest.approx(200.0, abs=0.2)


def test_neither_noise_nor_speech_is_an_echo() -> None:
    sound = sweep().samples
    rng = np.random.default_rng(2)
    speech = recorded("two_cities").samples
    for heard in (rng.normal(0, 3000, 36_000), *(speech[at : at + 36_000] for at in range(0, 400_000, 80_000))):
        echo = find_echo(sound, frames(np.asarray(heard).astype(np.int16)), began_at=100.0)
        assert not echo.heard
        assert echo.latency_ms is None
    assert not find_echo(sound, [], 0.0).heard


def test_a_bar_shows_mean_and_peak() -> None:
    half = bar(level_of(tone(0.1, 32_767 * 10 ** (-27 / 20)).samples))
    assert "-30.0 dBFS" in half
    assert half.count("#") == 20
    assert bar(level_of(np.zeros(10, np.int16))).count("#") == 0
    assert level_of(np.array([32767, -32768, 5], np.int16)).clipped == 2


def test_the_doctor_names_the_devices_and_what_cancels_the_echo(pulse: Pulse, tmp_path: Path) -> None:
    def findings(*sets: str) -> dict[str, tuple[Verdict, str]]:
        config = load(Flags(data_dir=tmp_path, profile="dev", settings=sets), environ={})
        return {one.name: (one.verdict, one.found + one.advice) for one in check_sound(config)}

    found = findings()
    assert found["microphone"][0] is found["loudspeaker"][0] is Verdict.OK
    assert "false" in found["echo"][1]
    found = findings("audio.echo_cancel=true", "audio.loudspeaker=HiFiBerry")
    assert found["loudspeaker"][0] is Verdict.WARN
    assert "HiFiBerry" in found["loudspeaker"][1]
    assert "will be cancelled" in found["echo"][1]
    pulse.stop()
    assert "cannot be cancelled" in findings("audio.echo_cancel=true")["echo"][1]
