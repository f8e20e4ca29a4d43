"""Bundles of every kind are tried by what they are for, in a process of their own; each bound refuses."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec
import numpy as np
import pytest

from lora import write_lora
from perslm_daemon.cli import run as perslm
from perslm_daemon.config import Flags, load
from perslm_daemon.config_sections import Config
from perslm_daemon.laid_over import adapter_of
from perslm_daemon.stores import open_models
from perslm_daemon.turns_first import TurnsFirst
from perslm_daemon.update_book import Book, Watch
from perslm_daemon.update_choice import Board, Found, entity_data, sorted_out, why_not
from perslm_daemon.update_probe import Measured, probe
from perslm_daemon.update_trial import judge, run_trial, with_model
from perslm_runtime.audio import write_wav
from perslm_runtime.bundle import MANIFEST, BundleFile, Manifest, read_manifest, write_manifest
from perslm_runtime.bundle_trial import Clip, Expected, Question, Trial, word_errors
from perslm_runtime.errors import BundleRefused, CatalogError, EngineError, InputError
from perslm_runtime.fingerprint import sha256_of
from perslm_runtime.lane import Stop
from perslm_runtime.llama import Llama, LlamaOptions
from perslm_runtime.snapshot import model_identity
from perslm_runtime.wake import MicroWakeWord
from perslm_training_host.cli import run as perslm_host
from real_models import model_path
from recordings import recorded, spoken

BASE = "smollm2-135m-q4_1"
FRANCE = Question("What is the capital of France?", ("Paris",))
SENTENCES = """
[rules]
glow = "(light|glow)"
[[intent]]
name = "set_timer"
sentences = ["egg clock [for] {duration}"]
[[home]]
name = "turn_on"
sentences = ["let there be <glow> in {p}"]
"""
EXPECTED = (
    Expected("egg clock for four minutes", "set_timer", {"duration": "240"}),
    Expected("let there be light in the kitchen", "turn_on", {"area": "Kitchen"}),
    Expected("what time is it", "get_time"),
    Expected("the egg is on the table"),
)


class Shelf:
    """A models folder with the small model in it, where bundles are put as they lie on a board."""

    def __init__(self, folder: Path) -> None:
        self.models = folder / "models"
        for name in (BASE, "whisper-tiny.en"):
            (self.models / name).mkdir(parents=True)
            for path in model_path(name).iterdir():
                (self.models / name / path.name).symlink_to(path)
        settings = (f"models_dir={self.models}", "model.max_reply_tokens=24")
        self.config: Config = load(Flags(data_dir=folder / "data", profile="dev", settings=settings), {})

    def put(self, kind: str, files: dict[str, bytes], trial: Trial, **more: Any) -> Manifest:
        """A bundle `new-v1` in its place."""
        folder = self.models / "new-v1"
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        listed = tuple(
            BundleFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()
        )
        manifest = Manifest("new", 1, kind, "new", "MIT", listed, 200, trial=trial, **more)
        (folder / MANIFEST).write_bytes(write_manifest(manifest))
        return read_manifest(write_manifest(manifest))

    def probed(self, manifest: Manifest) -> Measured:
        """What the probe finds, in this process."""
        return probe(with_model(self.config, manifest.kind, manifest.name), manifest)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def wav(folder: Path, pcm: Any) -> bytes:
    write_wav(folder / "clip.wav", pcm)
    return (folder / "clip.wav").read_bytes()


def refused(manifest: Manifest, found: Measured) -> str:
    with pytest.raises(BundleRefused) as said:
        judge(manifest, found)
    return str(said.value)


def with_trial(manifest: Manifest, **changes: Any) -> Manifest:
    return msgspec.structs.replace(manifest, trial=msgspec.structs.replace(manifest.trial, **changes))


# Sentences


def test_sentences_are_laid_over_the_shipped_ones_and_tried_with_slots_places_and_talk(shelf: Shelf) -> None:
    manifest = shelf.put("intents", {"sentences.toml": SENTENCES.encode()}, Trial(sentences=EXPECTED))
    found = shelf.probed(manifest)
    assert (found.right, found.wrong) == (found.asked, [])
    assert found.asked > len(EXPECTED), "ordinary talk is tried as well"
    judge(manifest, found)
    assert "a sentence takes" in refused(with_trial(manifest, sentence_ms=0.001), found)
    assert "MB and 1 are allowed" in refused(with_trial(manifest, memory_mb=1), replace(found, memory_mb=2.0))


def test_sentences_that_take_what_is_talk_or_miss_what_they_promise_are_refused(shelf: Shelf) -> None:
    greedy = '[[intent]]\nname = "set_reminder"\nsentences = ["how {what}", "egg clock {what}"]\n'
    promised = (Expected("egg clock for four minutes", "set_timer", {"duration": "300"}),)
    manifest = shelf.put("intents", {"sentences.toml": greedy.encode()}, Trial(sentences=promised))
    said = refused(manifest, shelf.probed(manifest))
    assert "sentences were not understood (egg clock for four minutes, how are you today)" in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[home]]\nname = "yes"\nsentences = ["carry on"]', "no intent 'yes'"),
        ('[[intent]]\nname = "unlock_all"\nsentences = ["open sesame"]', "no intent 'unlock_all'"),
        ('[[intent]]\nname = "set_timer"\nsentences = ["tick {room}"]', "the list {room}"),
        ('[rules]\na = "<a>"\n[[home]]\nname = "turn_on"\nsentences = ["<a> {t}"]', "the rule <a>"),
        ('[rules]\nturn = "x"\n[[home]]\nname = "turn_on"\nsentences = ["<turn> {t}"]', "PersLM's own"),
        ('[[intent]]\nname = "stop"\nsentences = ["(a;b;c;d;e;f;g;h)"]', "';'"),
        ('[[intent]]\nname = "stop"\nsentences = ["' + "[a] " * 20 + 'b"]', "optional parts"),
        ('[[intent]]\nname = "stop"\nsentences = ["[a] [b]"]', "fits anything"),
        ('[[intent]]\nname = "stop"\nsentences = ["enough (of"]', "cannot be read"),
        ('[[intent]]\nname = "stop"\nsentences = ["x"]\nrun = "rm"', "unknown field `run`"),
        ("[[intent", "holds no sentences"),
        ("# " + "x" * (64 << 10), "has more than 65536 bytes"),
    ],
)
def test_sentences_are_data_within_limits(shelf: Shelf, text: str, why: str) -> None:
    manifest = shelf.put("intents", {"sentences.toml": b"x"}, Trial())
    (shelf.models / "new-v1/sentences.toml").write_text(text)
    with pytest.raises(InputError, match=re.escape(why)):
        shelf.probed(manifest)


def test_other_languages_have_no_sentences_laid_over(shelf: Shelf) -> None:
    manifest = shelf.put("intents", {"sentences.toml": SENTENCES.encode()}, Trial(), languages=("de",))
    german = Board("dev", "0.1.0", None, language="de")
    assert why_not(manifest, "", {}, Book(), german) is None
    shelf.config = replace(shelf.config, stt=replace(shelf.config.stt, language="de"))
    with pytest.raises(Exception, match="laid over the English ones"):
        shelf.probed(manifest)


# Wake words


def jarvis(folder: Path) -> dict[str, bytes]:
    """A wake word's files, called as their bundle, with a clip of it and one of another sentence."""
    with MicroWakeWord(("hey_jarvis",)) as engine:
        assert engine.file is not None
        model = engine.file
    manifest = model.with_suffix(".json").read_text()
    return {
        "new.tflite": model.read_bytes(),
        "new.json": manifest.replace(model.name, "new.tflite").encode(),
        "clips/called.wav": wav(folder, spoken("Hey Jarvis.")),
        "clips/talk.wav": wav(folder, spoken("What time is it?")),
    }


def test_a_wake_word_is_heard_in_its_clip_and_not_in_talk(shelf: Shelf, tmp_path: Path) -> None:
    clips = (Clip("clips/called.wav", "hey jarvis"), Clip("clips/talk.wav"))
    manifest = shelf.put("wake", jarvis(tmp_path), Trial(clips=clips))
    found = shelf.probed(manifest)
    assert (found.right, found.asked) == (2, 2)
    judge(manifest, found)
    assert found.real_time is not None
    assert "s of sound a second" in refused(with_trial(manifest, real_time=found.real_time * 2), found)
    wrong = with_trial(manifest, clips=(Clip("clips/talk.wav", "hey jarvis"), Clip("clips/called.wav")))
    assert "2 of 2 clips were not heard right (clips/talk.wav, clips/called.wav)" in refused(
        wrong, shelf.probed(wrong)
    )


def test_a_wake_word_that_is_no_model_is_refused_and_crashes_nothing(shelf: Shelf, tmp_path: Path) -> None:
    files = {**jarvis(tmp_path), "new.tflite": b"no model at all"}
    manifest = shelf.put("wake", files, Trial())
    with pytest.raises(EngineError, match="no TensorFlow Lite model"):
        shelf.probed(manifest)


# Recognizers


def test_a_recognizer_is_held_to_the_words_of_its_clips(shelf: Shelf, tmp_path: Path) -> None:
    model = {path.name: path.read_bytes() for path in model_path("whisper-tiny.en").glob("[!.]*")}
    files = {**model, "clips/beckett.wav": wav(tmp_path, recorded("beckett"))}
    words = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
    manifest = shelf.put(
        "stt", files, Trial(clips=(Clip("clips/beckett.wav", words),), word_errors=0.2, real_time=0.01)
    )
    found = shelf.probed(manifest)
    judge(manifest, found)
    assert found.word_errors is not None
    other = with_trial(manifest, clips=(Clip("clips/beckett.wav", "Quite another text was read by somebody."),))
    assert "of the words were wrong and 20% may be" in refused(other, replace(found, word_errors=1.0))
    assert "s of sound a second" in refused(with_trial(manifest, real_time=1e6), found)


def test_word_errors_count_what_is_wrong_missing_and_too_many() -> None:
    assert word_errors("Ever tried. Ever failed.", "ever tried ever failed") == (0, 4)
    assert word_errors("fail better", "fail") == (1, 2)
    assert word_errors("fail better", "fail much better now") == (2, 2)
    assert word_errors("", "something") == (1, 0)


# Adapters


def adapter_files(folder: Path, strength: float) -> dict[str, bytes]:
    base = model_path(BASE, "model.gguf")
    return {"adapter.gguf": write_lora(base, folder / f"lora-{strength}.gguf", strength).read_bytes()}


def test_an_adapter_that_was_made_for_another_model_is_told_by_name_and_rests(
    shelf: Shelf, tmp_path: Path, small_gguf: Path
) -> None:
    foreign = shelf.put("adapter", adapter_files(tmp_path, 1.0), Trial((FRANCE,), right=1), base_sha256="0" * 64)
    with pytest.raises(BundleRefused, match="was made for another model than smollm2-135m-q4_1"):
        shelf.probed(foreign)
    named, store = with_model(shelf.config, "adapter", foreign.name), open_models(shelf.config)
    assert adapter_of(named, store) is None, "the model goes on without it"
    board = Board("dev", "0.1.0", None, base_sha256=sha256_of(small_gguf))
    assert "made for another model (sha256 000000000000)" in str(why_not(foreign, "", {}, Book(), board))
    ours = shelf.put("adapter", adapter_files(tmp_path, 1.0), Trial(), base_sha256=sha256_of(small_gguf))
    assert why_not(ours, "", {}, Book(), board) is None
    found = adapter_of(named, open_models(shelf.config))
    assert found is not None
    assert found.name == "adapter.gguf"


def test_an_adapter_changes_what_comes_outlives_a_change_of_the_context_and_has_snapshots_of_its_own(
    tmp_path: Path, small_gguf: Path
) -> None:
    def logits(adapter: Path | None, *, resized: bool = False) -> np.ndarray:
        llama = Llama(small_gguf, LlamaOptions(context_tokens=512), adapter)
        try:
            if resized:
                llama.resize(1024)
            llama.decode(llama.tokenize("The capital of Italy is", special=False), Stop())
            return llama.logits.copy()
        finally:
            llama.close()

    adapter = write_lora(small_gguf, tmp_path / "a.gguf", 1.0)
    nothing = write_lora(small_gguf, tmp_path / "nothing.gguf", 0.0)
    bare, changed = logits(None), logits(adapter)
    assert np.abs(bare - changed).max() > 1.0
    assert np.abs(logits(nothing) - bare).max() < 0.1
    assert np.abs(logits(adapter, resized=True) - changed).max() < 0.1
    identities = {b"".join(map(model_identity, files)) for files in ((small_gguf,), (small_gguf, adapter))}
    assert len(identities) == 2, "the head with the adapter is not taken for the one without"
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(adapter.read_bytes()[:200])
    with pytest.raises(EngineError, match=r"does not fit model\.gguf"):
        Llama(small_gguf, LlamaOptions(), broken)


def test_a_model_that_is_cut_off_or_writes_too_slowly_is_refused(shelf: Shelf, small_gguf: Path) -> None:
    manifest = shelf.put("llm", {"model.gguf": small_gguf.read_bytes()[: 40 << 20]}, Trial())
    with pytest.raises(EngineError, match="could not be loaded"):
        shelf.probed(manifest)
    measured = Measured(tokens_per_s=5.0)
    assert "it writes 5.0 tokens/s and 9.0 are asked for" in refused(
        with_trial(manifest, tokens_per_s=9.0), measured
    )


# Choosing


def test_what_is_laid_over_needs_nothing_before_it_and_one_new_thing_comes_at_a_time() -> None:
    file = BundleFile("sentences.toml", 1, "0" * 64)
    manifest = Manifest("new", 2, "intents", "new", "MIT", (file,), 1)
    board, one = Board("dev", "0.1.0", None), msgspec.structs.replace
    assert why_not(manifest, "", {}, Book(), board) is None
    assert why_not(manifest, "new-v1", {"new-v1": one(manifest, version=1)}, Book(), board) is None
    assert "is newer" in str(why_not(manifest, "new-v3", {"new-v3": one(manifest, version=3)}, Book(), board))
    assert "no successor" in str(why_not(manifest, "old-v1", {"old-v1": one(manifest, id="old")}, Book(), board))
    watched = Book(watch=Watch("home-v1", "llm", BASE, 0.0))
    assert "home-v1 is on probation" in str(why_not(manifest, "", {}, watched, board))
    assert "it is for en, and de is spoken" in str(
        why_not(manifest, "", {}, Book(), Board("dev", "0.1.0", None, language="de"))
    )
    in_use = dict.fromkeys(("llm", "intents"), "")
    wanted, _ = sorted_out([manifest], lambda kind: in_use[kind], {}, Book(), board)
    assert [it.name for it in wanted] == ["new-v2"]


def test_what_is_too_large_too_new_or_for_another_board_is_not_taken() -> None:
    manifest = Manifest("home", 1, "llm", "x", "MIT", (), 900, base=BASE, boards=("pi5",), app_min="0.2.0")
    assert "takes 900 MB of memory and 600 MB are left" in str(
        why_not(manifest, BASE, {}, Book(), Board("pi5", "0.2.0", 600))
    )
    assert "needs PersLM 0.2.0" in str(why_not(manifest, BASE, {}, Book(), Board("pi5", "0.1.0", None)))
    assert "is for pi5" in str(why_not(manifest, BASE, {}, Book(), Board("pi4", "0.2.0", None)))
    assert why_not(manifest, BASE, {}, Book(), Board("pi5", "0.2.0", 900)) is None


def test_a_manifest_says_what_its_kind_needs_and_nothing_that_nobody_would_try() -> None:
    file = BundleFile("x", 1, "0" * 64)

    def mistakes(kind: str, **more: Any) -> str:
        manifest = Manifest("new", 1, kind, "new", "MIT", (file,), 1, **more)
        with pytest.raises(BundleRefused) as said:
            read_manifest(write_manifest(manifest))
        return str(said.value)

    assert "has the file adapter.gguf" in mistakes("adapter", base_sha256="0" * 64)
    assert "has base_sha256" in mistakes("adapter")
    assert "has base_sha256" in mistakes("llm", base_sha256="0" * 64)
    assert "has the file new.tflite; a bundle of kind wake has the file new.json" in mistakes("wake")
    assert "has the file sentences.toml" in mistakes("intents")
    assert "the trial of embed has no questions" in mistakes("embed", trial=Trial((FRANCE,)))
    assert "no .wav file of the bundle" in mistakes("stt", trial=Trial(clips=(Clip("nowhere.wav", "x"),)))
    assert "kind 'vision' is none of" in mistakes("vision")


# The process


@pytest.mark.anyio
async def test_the_probe_runs_in_a_process_of_its_own_and_one_without_time_is_tried_again_later(
    shelf: Shelf,
) -> None:
    put = partial(shelf.put, "intents", {"sentences.toml": SENTENCES.encode()}, Trial(sentences=EXPECTED))
    manifest = await anyio.to_thread.run_sync(put)
    outcome = await run_trial(shelf.config, manifest, TurnsFirst(0))
    assert (outcome.right, outcome.asked) == (outcome.asked, len(EXPECTED) + 8)
    assert "wrong" not in outcome.figures()
    turns = TurnsFirst(0)
    turns.activity("responding")  # it is stopped at once, as on a board that gives it no time
    with pytest.raises(CatalogError, match="the board was too busy for it") as said:
        await run_trial(shelf.config, manifest, turns, longest_s=0.5)
    assert not isinstance(said.value, BundleRefused), "nothing is known against it"


# The host's side


def test_the_host_makes_a_bundle_of_each_kind_with_its_clips_under_the_names_boards_look_for(
    tmp_path: Path, small_gguf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = write_lora(small_gguf, tmp_path / "any-name.gguf", 0.0)
    (tmp_path / "mine.toml").write_text(SENTENCES)
    for name, data in jarvis(tmp_path).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    trial = tmp_path / "trial.json"
    trial.write_bytes(msgspec.json.encode(Trial(clips=(Clip("clips/called.wav", "hey jarvis"),))))
    card = tmp_path / "card.json"
    card.write_text('{"sources": {"home": 400}}')
    (report := tmp_path / "report.json").write_text('{"right": 0.9}')
    words = ["--version", "1", "--licence", "MIT", "--memory-mb", "9"]
    made: list[tuple[str, list[str]]] = [
        ("adapter", [str(lora), "--base-file", str(small_gguf), "--app-min", "0.2.0"]),
        ("intents", [str(tmp_path / "mine.toml"), "--card", str(card), "--report", str(report)]),
        ("wake", [str(tmp_path / "new.tflite"), str(tmp_path / "new.json"), "--trial", str(trial)]),
    ]
    for kind, more in made:
        out = tmp_path / f"out-{kind}"
        assert perslm_host(["bundle", "--id", "new", "--kind", kind, *words, *more, "--out", str(out)]) == 0
        manifest = read_manifest((out / MANIFEST).read_bytes())
        assert all(sha256_of(out / file.path) == file.sha256 for file in manifest.files)
        assert manifest.base_sha256 == (sha256_of(small_gguf) if kind == "adapter" else "")
        assert manifest.data == ({"sources": {"home": 400}} if kind == "intents" else {})
        assert manifest.app_min == ("0.2.0" if kind == "adapter" else "0.1.0")
    assert (tmp_path / "out-wake/clips/called.wav").is_file()
    shutil.copytree(tmp_path / "out-intents", tmp_path / "models/new-v1")
    capsys.readouterr()
    assert perslm(["--json", "--set", f"models_dir={tmp_path / 'models'}", "models", "info", "new-v1"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["evaluation"], shown["learned_from"]) == ({"right": 0.9}, {"sources": {"home": 400}})
    assert (shown["licence"], shown["needs_perslm"], shown["base"]) == ("MIT", "0.1.0", "")


def test_home_assistant_sees_the_model_first_and_else_what_there_is() -> None:
    manifest = Manifest("new", 2, "intents", "sentences", "MIT", (), 1)
    in_use = {"llm": BASE, "intents": ""}

    assert entity_data(None, Book(), in_use, None)["latest_version"] == BASE
    shown = entity_data(Found((manifest,), {}, ()), Book(), in_use, 40)
    assert (shown["installed_version"], shown["latest_version"]) == ("none", "new-v2")
    assert (shown["in_progress"], shown["update_percentage"]) == (True, 40)
    refusing = Book(refused={"new-v2": "x"})
    assert entity_data(Found((manifest,), {}, ()), refusing, in_use, None)["latest_version"] == BASE
