from __future__ import annotations

import pytest

from perslm_daemon.portaudio import Device, Wish, chosen, loudspeaker_forms, microphone_forms
from perslm_runtime.errors import DeviceError


def device(index: int, name: str, inputs: int, outputs: int, **more: object) -> Device:
    form = {"rate_hz": 44_100, "server": False, "default_input": False, "default_output": False, **more}
    return Device(index, name, "ALSA", inputs, outputs, **form)  # type: ignore[arg-type]  # as the test says


CARDS = (
    device(0, "bcm2835 Headphones: - (hw:0,0)", 0, 8),
    device(1, "USB PnP Sound Device: Audio (hw:1,0)", 1, 2, rate_hz=48_000),
    device(2, "seeed-4mic-voicecard: - (hw:2,0)", 4, 0, rate_hz=16_000),
    device(3, "default", 32, 32, server=True, default_input=True, default_output=True),
)


@pytest.mark.parametrize(
    ("wanted", "hears", "index"),
    [("", True, 3), ("", False, 3), ("2", True, 2), ("usb", True, 1), ("USB", False, 1), ("default", True, 3)],
)
def test_a_device_is_found_by_index_name_or_part_of_it(wanted: str, hears: bool, index: int) -> None:
    assert chosen(CARDS, wanted, hears=hears).index == index


def test_without_a_default_the_first_that_can_is_taken() -> None:
    assert chosen(CARDS[:3], "", hears=True).index == 1
    assert chosen(CARDS[:3], "", hears=False).index == 0


def test_a_loudspeaker_is_no_microphone_and_the_names_there_are_are_told() -> None:
    with pytest.raises(DeviceError, match="no microphone 'Headphones', but 1 USB PnP"):
        chosen(CARDS, "Headphones", hears=True)
    with pytest.raises(DeviceError, match="there is no microphone: connect one"):
        chosen(CARDS[:1], "", hears=True)


def test_a_bare_device_is_first_asked_for_its_own_form_and_a_server_for_ours() -> None:
    assert microphone_forms(CARDS[1], Wish())[0] == (48_000, 1)
    assert microphone_forms(CARDS[2], Wish())[0] == (16_000, 4)
    assert microphone_forms(CARDS[2], Wish(channel=3))[0] == (16_000, 3)
    assert microphone_forms(CARDS[3], Wish())[0] == (16_000, 1)
    assert loudspeaker_forms(CARDS[0], Wish())[0] == (44_100, 1)
    assert {rate for rate, _ in microphone_forms(CARDS[1], Wish(rate_hz=32_000))} == {32_000}
