"""Wake words and their sensitivities as the configuration and the running daemon set them."""

from __future__ import annotations

from pathlib import Path

import pytest

from perslm_daemon import config as configuration
from perslm_daemon.config import Flags
from perslm_daemon.config_sections import Config
from perslm_daemon.engine_builds import wake_words
from perslm_daemon.voice import sensitivities
from perslm_runtime.errors import ConfigError
from perslm_runtime.wake import cutoff_at


def config(folder: Path, *settings: str) -> Config:
    return configuration.load(Flags(data_dir=folder, profile="dev", settings=settings), environ={})


def test_custom_words_come_after_the_built_in_ones_by_their_paths(tmp_path):
    made = config(tmp_path, "wake.words=alexa,okay_nabu", f"wake.custom={tmp_path}/computer.tflite")
    assert wake_words(made) == ("alexa", "okay_nabu", f"{tmp_path}/computer.tflite")


def test_each_word_has_the_common_sensitivity_or_its_own(tmp_path):
    made = config(
        tmp_path,
        "wake.words=alexa,okay_nabu",
        f"wake.custom={tmp_path}/computer.tflite",
        "wake.sensitivity=0.4",
        "wake.sensitivities=okay_nabu=0.8, computer=0.2",
    )
    assert sensitivities(made) == {"alexa": 0.4, "okay_nabu": 0.8, f"{tmp_path}/computer.tflite": 0.2}


@pytest.mark.parametrize("wrong", ["okay_nabu", "okay_nabu=2", "okay_nabu=0.5;alexa=0.1"])
def test_a_wrong_sensitivity_is_told(tmp_path, wrong):
    with pytest.raises(ConfigError, match="words with their sensitivity"):
        config(tmp_path, f"wake.sensitivities={wrong}")


def test_half_is_a_models_own_cutoff_and_more_sensitive_is_never_a_higher_one():
    for own in (0.3, 0.85, 0.97, 0.999):
        assert cutoff_at(0.5, own) == own
        steps = [cutoff_at(number / 20, own) for number in range(21)]
        assert steps == sorted(steps, reverse=True)
        assert all(0 < step < 1 for step in steps)
