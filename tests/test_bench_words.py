"""What the benchmarks of hearing count with; and that a model's row comes as soon as the model does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perslm_daemon import bench_words
from perslm_daemon.bench_wakes import most_events
from perslm_daemon.bench_words import clipped, people, variants, word_errors
from perslm_daemon.config import Flags, load
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from real_models import model_path, models_dir
from recordings import spoken


def test_what_was_seen_is_at_most_so_often_to_be_expected() -> None:
    assert [round(most_events(seen), 2) for seen in (0, 1, 2, 10)] == [3.0, 4.74, 6.3, 16.96]


def test_words_wrong_missing_and_added_count_per_word_said() -> None:
    assert word_errors("What do bees make?", "what do bees make") == 0.0
    assert word_errors("What do bees make?", "What do these may?") == 0.5
    assert word_errors("It's four.", "") == 1.0


def test_variants_are_clean_noisy_and_clipped_and_the_same_every_time() -> None:
    tone = Pcm((8_000 * np.sin(np.arange(SPEECH_RATE_HZ) / 5)).astype(np.int16), SPEECH_RATE_HZ)
    clean, noisy, cut = (sound for _, sound in variants([("hello", tone)]))
    again = [sound for _, sound in variants([("hello", tone)])]
    assert clean == tone
    assert all(
        np.array_equal(one.samples, other.samples) for one, other in zip([clean, noisy, cut], again, strict=True)
    )
    room = noisy.samples[: SPEECH_RATE_HZ // 4].astype(float)
    assert 20 * np.log10(np.std(tone.samples) / np.std(room)) == pytest.approx(20, abs=0.5)
    assert np.mean(np.abs(clipped(tone).samples) == 20_000) > 0.09


def test_what_people_read_is_there_with_its_sound() -> None:
    clips = people()
    if not clips:
        pytest.skip("the recordings are missing: run `apt-get install pocketsphinx-testdata`")
    assert len(clips) == 10
    assert all(said and 1.0 < sound.seconds < 12.0 for said, sound in clips)


@pytest.mark.slow
def test_the_english_vosk_has_its_row_as_soon_as_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its plumbing, with the one Vosk model that a registry has in its place."""
    there = tmp_path / "vosk-small-en-us-0.15"
    there.symlink_to(model_path("vosk-small-ko", "am", "final.mdl").parents[1])
    monkeypatch.setattr(bench_words, "people", list)
    config = load(Flags(data_dir=tmp_path, profile="dev", settings=(f"models_dir={models_dir()}",)), environ={})
    (row,) = bench_words._rows_of(
        "vosk", there, config, {"Hello, and good morning.": spoken("Hello, and good morning.")}
    )
    assert "vosk-small-en-us-0.15 on 3 clips (synthetic" in row.name
    assert row.ours is not None
    assert row.reference == pytest.approx(row.ours, abs=0.3), "Korean words, but the same as upstream's"
