"""Benchmark of the home by voice: sentences that were held apart, spoken by Piper, recognized, understood.

At three paces, with three noises; all of it is synthetic. Beside it Home Assistant's own sentences behind the same
recognizer.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio.to_thread

from perslm_daemon.bench_home_words import HELD_APART, skill_over
from perslm_daemon.bench_row import Row
from perslm_daemon.bench_sentences import Said, Table, judge, learned
from perslm_daemon.bench_words import noisy, spoken
from perslm_daemon.config_sections import Config
from perslm_daemon.home_book import hints
from perslm_daemon.stores import open_models
from perslm_daemon.terminal import note
from perslm_daemon.turn import Ask
from perslm_runtime.audio import Pcm
from perslm_runtime.lane import Stop
from perslm_runtime.stt import open_recognizer
from perslm_runtime.tts import Piper

_PACES = (0.9, 1.0, 1.15)
_NOISES_DB = (40.0, 20.0, 12.0)  # signal to noise
_EVERY = 6


async def by_voice(config: Config) -> list[Row]:
    """Commands right after the whole way; nothing where a model or the sentences are missing."""
    store = open_models(config)
    if not HELD_APART.exists() or not (store.installed(config.tts.id) and store.installed(config.stt.id)):
        note(
            "perslm: no commands by voice: they need the sources, a voice and a recognizer (`perslm models pull`)"
        )
        return []
    table = await anyio.to_thread.run_sync(Table.read, HELD_APART)
    chosen = [one for one in table.said if one.want and not one.after][::_EVERY]
    clips = await anyio.to_thread.run_sync(_spoken, config, chosen)
    rows: list[Row] = []
    async with learned(table) as home:
        names = hints(home)
        heard = await anyio.to_thread.run_sync(_heard, config, clips, names)
        listened = [Said(text, one.room, (), one.want) for text, one in zip(heard, chosen, strict=True)]
        results = {}
        for stock in (False, True):
            async with skill_over(home, stock=stock) as skill:
                await skill(Ask("turn on nothing"))
                results[stock] = await judge(Table(table.devices, table.floors, listened), home, skill)
        ours, theirs = results[False], results[True]
    what, count = "the same recognizer, Home Assistant's own sentences", len(listened)
    exact = sum(_plain(text) == _plain(one.text) for text, one in zip(heard, chosen, strict=True))
    for name, kind in (("right", "right"), ("with a wrong action", "wrong")):
        mine, stock_ = (100 * sum(getattr(one, kind) for one in found) / count for found in (ours, theirs))
        rows.append(Row(f"by voice (synthetic, 3 paces, 3 noises): {name}, of {count}", "%", mine, stock_, what))
    rows.append(Row(f"by voice: heard word for word, of {count}", "%", 100 * exact / count, None, config.stt.id))
    return rows


def _spoken(config: Config, chosen: Sequence[Said]) -> list[Pcm]:
    folder = open_models(config).folder(config.tts.id)
    voices = [Piper(folder, 2, length_scale=pace) for pace in _PACES]
    clips = [
        noisy(spoken(voices[at % 3], f"{one.text}."), _NOISES_DB[at // 3 % 3], seed=at)
        for at, one in enumerate(chosen)
    ]
    for voice in voices:
        voice.close()
    return clips


def _heard(config: Config, clips: Sequence[Pcm], names: Sequence[str]) -> list[str]:
    wanted = config.stt
    recognizer = open_recognizer(
        wanted.engine, open_models(config).folder(wanted.id), wanted.threads, wanted.language
    )
    found = []
    for clip in clips:
        utterance = recognizer.listen(names if wanted.engine == "whisper" else ())
        utterance.accept(clip, Stop())
        found.append(utterance.finish(Stop()).text)
    recognizer.close()
    return found


def _plain(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
