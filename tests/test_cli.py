from __future__ import annotations

import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import typer

from command_line import ROOT, Ended, environment, in_this_process, start
from perslm_daemon import cli
from perslm_daemon.cli_session import Session
from perslm_daemon.speaker import play
from perslm_runtime.audio import Pcm, read_wav, write_wav
from perslm_runtime.errors import InputError
from real_models import model_path, models_dir
from wer import normalise, word_error_rate

Perslm = Callable[..., Ended]
WORDS_ONLY = ("--set", "embed.enabled=false")


@pytest.fixture
def perslm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Perslm]:
    with in_this_process(tmp_path, monkeypatch, capfd) as run:
        yield run


# -------------------------------------------------------------- the top of the process


def test_without_arguments_it_shows_what_there_is(perslm: Perslm) -> None:
    ended = perslm()
    assert (ended.code, ended.err) == (0, "")
    for word in ("memory", "models", "config", "doctor", "transcribe", "say", "--data-dir", "--json"):
        assert word in ended.out


def test_the_version_is_printed(perslm: Perslm) -> None:
    from perslm_runtime import __version__

    assert perslm("--version").out == f"perslm {__version__}\n"


@pytest.mark.parametrize("group", ["memory", "models"])
def test_a_group_alone_shows_its_help(perslm: Perslm, group: str) -> None:
    ended = perslm(group)
    assert ended.code == 0
    assert f"Usage: perslm {group}" in ended.out


def test_global_options_may_stand_anywhere(perslm: Perslm, tmp_path: Path) -> None:
    orders = (
        ("--json", "--data-dir", str(tmp_path / "x"), "config", "data_dir"),
        ("config", "data_dir", "--data-dir", str(tmp_path / "x"), "--json"),
        ("config", f"--data-dir={tmp_path / 'x'}", "--json", "data_dir"),
    )
    for arguments in orders:
        assert perslm(*arguments).data == {"data_dir": {"value": str(tmp_path / "x"), "source": "--data-dir"}}


def test_what_follows_two_dashes_is_no_option(perslm: Perslm) -> None:
    ended = perslm(*WORDS_ONLY, "memory", "add", "--", "--json")
    assert ended.code == 0
    assert ended.out == "remembered as 1\n"


@pytest.mark.parametrize("arguments", [("fly",), ("config", "--fast"), ("memory", "add"), ("--profile",)])
def test_wrong_usage_ends_with_2_and_the_command_that_helps(perslm: Perslm, arguments: tuple[str, ...]) -> None:
    ended = perslm(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "--help` shows how it is used" in ended.err
    assert perslm(*arguments[:1], "--json", *arguments[1:]).code == 2


def test_errors_are_json_when_json_was_asked_for(perslm: Perslm) -> None:
    ended = perslm("models", "info", "no-such-model", "--json")
    assert (ended.code, ended.out) == (4, "")
    assert ended.error["kind"] == "CatalogError"
    assert "`perslm models list`" in ended.error["message"]
    assert perslm("fly", "--json").error["exit_code"] == 2


def failing(session: Session) -> typer.Typer:
    app = cli.build(session)

    @app.command()
    def fail(context: typer.Context, how: str) -> None:
        raise {"bug": ValueError("what I said"), "ctrl-c": KeyboardInterrupt(), "eof": EOFError()}[how]

    return app


def test_a_bug_ends_with_70_and_keeps_its_traceback_out_of_sight(perslm: Perslm, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ended = perslm("fail", "bug", commands=failing)
    assert (ended.code, ended.out) == (70, "")
    assert "Traceback" not in ended.err
    (file,) = (tmp_path / "data").glob("perslm-crash-*.log")
    assert str(file) in ended.err
    assert "ValueError: what I said" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert "Traceback" in perslm("--verbose", "fail", "bug", commands=failing).err


def test_only_the_newest_tracebacks_are_kept(perslm: Perslm, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for _ in range(7):
        perslm("fail", "bug", commands=failing)
    assert len(list((tmp_path / "data").glob("perslm-crash-*.log"))) == 5


def test_ctrl_c_ends_with_130(perslm: Perslm) -> None:
    ended = perslm("fail", "ctrl-c", commands=failing)
    assert ended.code == 130
    assert "Traceback" not in ended.err


def test_ctrl_c_in_a_process_of_its_own_leaves_no_traceback(tmp_path: Path) -> None:
    process = start(
        tmp_path, "memory", "import", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "data/memory.db").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # until it waits for the first line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err


def test_a_reader_that_has_left_is_no_error_message(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = start(tmp_path, "config", stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == ""


def test_starting_loads_no_engine_and_takes_a_moment(tmp_path: Path) -> None:
    script = (
        "import time; began = time.perf_counter(); import perslm_daemon; took = time.perf_counter() - began\n"
        "import sys, perslm_daemon.cli\n"
        "heavy = {'numpy', 'rich', 'llama_cpp', 'onnxruntime', 'piper', 'faster_whisper', 'vosk', 'apsw'}\n"
        "print(took, *sorted(heavy & set(sys.modules)))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], env=environment(tmp_path), capture_output=True, text=True, check=True
    ).stdout.split()
    assert float(printed[0]) < 0.15
    assert printed[1:] == []


# -------------------------------------------------------------- config


def test_config_prints_every_key_and_where_it_came_from(perslm: Perslm) -> None:
    from perslm_daemon.config_sections import keys

    lines = perslm("config", "--set", "model.threads=1").out.splitlines()
    assert lines[0] == "KEY\tVALUE\tFROM"
    assert [line.split("\t")[0] for line in lines[1:]] == list(keys())
    assert "model.threads\t1\t--set" in lines


def test_config_prints_one_key_bare_for_scripts(perslm: Perslm) -> None:
    assert perslm("config", "model.context_tokens").out == "2048\n"
    assert perslm("config", "voice.enabled").out == "true\n"
    ended = perslm("config", "model.contxt_tokens")
    assert (ended.code, ended.out) == (2, "")
    assert "did you mean model.context_tokens?" in ended.err


def test_config_check_tells_every_mistake_in_a_file(perslm: Perslm, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[model]\nthreads = 0\nid = 3\n")
    ended = perslm("config", "check", str(file))
    assert (ended.code, ended.out) == (2, "")
    assert f"{file}:2" in ended.err
    assert f"{file}:3" in ended.err
    mistakes = perslm("config", "check", str(file), "--json").error["mistakes"]
    assert [mistake["key"] for mistake in mistakes] == ["model.threads", "model.id"]
    file.write_text("[model]\nthreads = 1\n")
    assert perslm("config", "check", str(file)).out == f"{file} is right\n"


# -------------------------------------------------------------- memory


def test_a_fact_is_added_found_listed_and_forgotten(perslm: Perslm) -> None:
    added = perslm(*WORDS_ONLY, "memory", "add", "The spare key is under the blue flower pot", "--json").data
    assert added["with_vector"] is False
    (found,) = perslm(*WORDS_ONLY, "memory", "search", "where is the spare key", "--json").data
    assert found["id"] == added["id"]
    assert found["score"] > 0
    assert found["why"]
    (listed,) = perslm("memory", "list", "--json", "--kind", "fact").data
    assert listed["said"] == "The spare key is under the blue flower pot"
    assert perslm("memory", "list", "--json", "--kind", "turn").data == []
    receipt = perslm("memory", "forget", "flower", "pot", "--json").data
    assert receipt["ids"] == [added["id"]]
    assert perslm("memory", "list", "--json").data == []


def test_a_fact_is_remembered_with_its_meaning(perslm: Perslm) -> None:
    model_path("all-minilm-l6-v2", "model.onnx")
    perslm(*WORDS_ONLY, "memory", "add", "My sister is called Anna")
    assert perslm("memory", "add", "The bicycle has a flat tyre", "--json").data["with_vector"] is True
    found = perslm("memory", "search", "what is my sibling's name", "--json").data
    assert found[0]["text"] == "My sister is called Anna"  # its vector was made up for by the second fact


def test_forgetting_more_than_one_needs_a_yes(perslm: Perslm) -> None:
    for animal in ("cat", "dog"):
        perslm(*WORDS_ONLY, "memory", "add", f"the {animal} sleeps in the garden")
    refused = perslm("memory", "forget", "garden")
    assert refused.code == 3
    assert "--yes" in refused.err
    assert len(perslm("memory", "list", "--json").data) == 2
    assert perslm("memory", "forget", "garden", "--yes").out.startswith("forgotten for good: 2")
    assert perslm("memory", "forget", "garden", "--yes").out == ""


def test_a_day_can_be_forgotten(perslm: Perslm) -> None:
    perslm(*WORDS_ONLY, "memory", "add", "today it rains")
    assert perslm("memory", "forget", "--since", "2999-01-01", "--json").data["forgotten"] == 0
    assert perslm("memory", "forget", "--since", "2020-01-01", "--json").data["forgotten"] == 1
    assert perslm("memory", "forget", "--since", "some day").code == 3


def test_memories_survive_export_and_import(perslm: Perslm, tmp_path: Path) -> None:
    for text in ("Grüße aus Köln", "tabs\tand \x1b[31mcolours"):
        perslm(*WORDS_ONLY, "memory", "add", text)
    file = tmp_path / "mine.jsonl"
    assert perslm("memory", "export", str(file)).out == f"2 memories are in {file}\n"
    assert perslm("memory", "export").out == file.read_text()
    assert perslm("memory", "import", str(file)).out == "0 memories added, 2 were here already\n"
    elsewhere = ("--data-dir", str(tmp_path / "elsewhere"))
    assert perslm("memory", "import", str(file), *elsewhere, "--json").data["added"] == 2
    assert perslm("memory", "export", *elsewhere).out == file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_wrong_lines_of_an_import_are_told_and_the_right_ones_kept(perslm: Perslm, tmp_path: Path) -> None:
    perslm(*WORDS_ONLY, "memory", "add", "one true thing")
    lines = perslm("memory", "export").out + "{broken\n"
    (tmp_path / "mine.jsonl").write_text(lines)
    ended = perslm("memory", "import", str(tmp_path / "mine.jsonl"), "--data-dir", str(tmp_path / "other"))
    assert (ended.code, ended.out) == (3, "1 memories added, 0 were here already\n")
    assert "line 3" in ended.err
    assert perslm("memory", "import", str(tmp_path / "missing")).code == 3


def test_text_of_others_cannot_steer_the_terminal(perslm: Perslm) -> None:
    perslm(*WORDS_ONLY, "memory", "add", "red \x1b[31m bell \x07 line\nend")
    out = perslm("memory", "list").out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert len(out.splitlines()) == 2


def test_an_export_that_cannot_be_written_leaves_nothing(perslm: Perslm, tmp_path: Path) -> None:
    perslm(*WORDS_ONLY, "memory", "add", "something")
    ended = perslm("memory", "export", str(tmp_path / "no/such/folder/file"))
    assert ended.code == 3
    assert "cannot be written" in ended.err
    (tmp_path / "folder").mkdir()
    assert perslm("memory", "export", str(tmp_path / "folder")).code == 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".folder")] == []


def test_an_encrypted_memory_makes_its_key_once_and_needs_it(perslm: Perslm, tmp_path: Path) -> None:
    encrypted = (*WORDS_ONLY, "--set", "memory.encrypt=true")
    assert perslm(*encrypted, "memory", "add", "a secret wish").code == 0
    key = tmp_path / "data/memory.key"
    assert key.stat().st_mode & 0o077 == 0
    assert b"secret wish" not in (tmp_path / "data/memory.db").read_bytes()
    assert len(perslm(*encrypted, "memory", "list", "--json").data) == 1
    key.rename(tmp_path / "kept")
    missing = perslm(*encrypted, "memory", "list")
    assert missing.code == 2
    assert "put it back" in missing.err
    (tmp_path / "data/memory.key").write_text("short")
    assert "64 hexadecimal digits" in perslm(*encrypted, "memory", "list").err
    assert perslm("memory", "list").code == 6  # without the key it is no database


# -------------------------------------------------------------- models


def test_models_are_listed_with_licence_size_and_state(perslm: Perslm, tmp_path: Path) -> None:
    elsewhere = ("--set", f"models_dir={tmp_path}")
    listed = {entry["id"]: entry for entry in perslm("models", "list", "--json", *elsewhere).data}
    small = listed["smollm2-135m-q4_1"]
    assert (small["licence"], small["size_bytes"], small["installed"]) == ("Apache-2.0", 98_362_432, False)
    assert (
        "smollm2-135m-q4_1\tllm\t98.4 MB\tApache-2.0\tno\tdev zero2w" in perslm("models", "list", *elsewhere).out
    )


def test_a_model_tells_what_it_costs_on_each_board(perslm: Perslm) -> None:
    model_path("smollm2-135m-q4_1", "model.gguf")
    told = perslm("models", "info", "smollm2-135m-q4_1", "--json").data
    assert told["attention_cache_bytes_per_token"] == {"f16": 23_040, "q8_0": 12_240}
    assert (
        told["estimated_tokens_per_second"]["Raspberry Pi 5"]
        > told["estimated_tokens_per_second"]["Raspberry Pi 4"]
    )
    assert "attention_cache_bytes_per_token:" in perslm("models", "info", "smollm2-135m-q4_1").out


def test_a_model_that_is_here_is_not_fetched_again(perslm: Perslm) -> None:
    model_path("whisper-tiny.en", "model.bin")
    (pulled,) = perslm("models", "pull", "whisper-tiny.en", "--offline", "--json").data
    assert (pulled["id"], pulled["fetched"], pulled["licence"]) == ("whisper-tiny.en", False, "MIT")
    assert perslm("models", "pull", "whisper-tiny.en", "--offline").out.endswith("licence MIT\n")


def test_missing_models_are_told_all_together(perslm: Perslm, tmp_path: Path) -> None:
    ended = perslm("models", "pull", "--tests", "--offline", "--set", f"models_dir={tmp_path}")
    assert ended.code == 4
    for model in ("smollm2-135m-q4_1", "whisper-tiny.en", "piper-en_US-joe-medium"):
        assert f"perslm models pull {model}" in ended.err
    assert perslm("models", "pull").code == 3
    assert perslm("models", "pull", "smolm", "--set", f"models_dir={tmp_path}").code == 4


def test_what_a_configuration_needs_follows_its_switches(perslm: Perslm, tmp_path: Path) -> None:
    def needed(*sets: str) -> list[str]:
        ended = perslm(
            "models", "pull", "--needed", "--offline", "--set", f"models_dir={tmp_path}", *sets, "--json"
        )
        return [line.split(" ")[1] for line in ended.error["message"].splitlines()]

    assert needed("--profile", "zero2w") == ["smollm2-135m-q4_1"]
    assert "whisper-tiny.en" in needed("--profile", "pi5")


def test_a_changed_model_is_found_out_and_can_be_removed(perslm: Perslm, tmp_path: Path) -> None:
    shutil.copytree(model_path("recorded-speech"), tmp_path / "models/recorded-speech")
    here = ("--set", f"models_dir={tmp_path / 'models'}")
    assert perslm("models", "verify", "recorded-speech", *here).out == "recorded-speech: right\n"
    (file, *_) = (tmp_path / "models/recorded-speech").glob("*.wav")
    with file.open("r+b") as sound:
        sound.seek(1000)
        sound.write(b"changed")
    ended = perslm("models", "verify", "recorded-speech", *here)
    assert ended.code == 4
    assert "sha256" in ended.err
    assert perslm("models", "remove", "recorded-speech", *here).code == 3  # nobody can be asked
    assert file.exists()
    assert perslm("models", "remove", "recorded-speech", "--yes", *here, "--json").data["freed_bytes"] > 0
    assert not file.exists()


# -------------------------------------------------------------- speech


def test_what_is_said_is_written_down(perslm: Perslm, tmp_path: Path) -> None:
    model_path("piper-en_US-joe-medium", "voice.onnx")
    model_path("whisper-tiny.en", "model.bin")
    sentence = "Tomorrow morning it will rain, so take an umbrella with you when you leave the house."
    out = tmp_path / "said.wav"
    said = perslm("say", sentence, "--out", str(out), "--json").data
    assert said["seconds"] == pytest.approx(read_wav(out).seconds, abs=0.01)
    assert 0 < said["timings_ms"]["first_audio"] <= said["timings_ms"]["total"]
    heard = perslm("transcribe", str(out), "--json").data
    # The voice is never twice the same: enough that these words were said.
    assert word_error_rate(sentence, heard["text"]) <= 0.25
    assert (heard["engine"], heard["model"]) == ("whisper", "whisper-tiny.en")
    assert perslm("transcribe", str(out)).out.strip() == heard["text"]


def test_a_recording_is_written_down_word_for_word(perslm: Perslm) -> None:
    model_path("whisper-tiny.en", "model.bin")
    ended = perslm("transcribe", str(model_path("recorded-speech", "beckett.wav")))
    assert normalise(ended.out) == "ever tried ever failed no matter try again fail again fail better"


@pytest.mark.slow
def test_another_recognizer_can_be_asked(perslm: Perslm) -> None:
    model_path("vosk-small-ko", "am/final.mdl")
    recording = model_path("recorded-speech", "beckett.wav")
    heard = perslm("transcribe", str(recording), "--engine", "vosk", "--model", "vosk-small-ko", "--json").data
    assert (heard["engine"], heard["model"]) == ("vosk", "vosk-small-ko")


def test_a_recognizer_without_its_model_says_what_to_pull(perslm: Perslm, tmp_path: Path) -> None:
    asked = ("transcribe", str(model_path("recorded-speech", "beckett.wav")), "--set", f"models_dir={tmp_path}")
    assert "pull whisper-tiny.en`" in perslm(*asked).err
    assert "pull vosk-small-en-us-0.15`" in perslm(*asked, "--engine", "vosk").err
    assert "pull vosk-small-ko`" in perslm(*asked, "--engine", "vosk", "--model", "vosk-small-ko").err
    assert "pull whisper-base`" in perslm(*asked, "--model", "whisper-base").err


@pytest.mark.parametrize(
    ("seconds", "loud", "problem"),
    [(0.0, False, ""), (2.0, False, "no speech was found"), (700.0, True, "11:40 long")],
)
def test_a_recording_that_cannot_be_used_is_refused(
    perslm: Perslm, tmp_path: Path, seconds: float, loud: bool, problem: str
) -> None:
    noise = (
        np.random.default_rng(1).integers(-9000, 9000, int(seconds * 8000))
        if loud
        else np.zeros(int(seconds * 8000))
    )
    write_wav(tmp_path / "in.wav", Pcm(noise.astype(np.int16), 8000))
    ended = perslm("transcribe", str(tmp_path / "in.wav"))
    assert (ended.code, ended.out) == (3, "")
    assert problem in ended.err


def test_saying_nothing_is_refused(perslm: Perslm, tmp_path: Path) -> None:
    assert perslm("say", " ?! ", "--out", str(tmp_path / "o.wav")).code == 3
    assert not (tmp_path / "o.wav").exists()


def test_standard_input_can_be_said(perslm: Perslm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_path("piper-en_US-joe-medium", "voice.onnx")
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello."))
    assert perslm("say", "-", "--out", str(tmp_path / "o.wav")).code == 0
    assert read_wav(tmp_path / "o.wav").seconds > 0.2


def pieces(count: int) -> Iterator[Pcm]:
    for number in range(count):
        yield Pcm(np.full(1000, number, np.int16), 1000)


def test_the_player_gets_every_piece_in_order(tmp_path: Path) -> None:
    command = ("dd", "bs=4096", f"of={tmp_path / 'heard'}")
    assert play(command, pieces(5), 1000) == 5.0
    heard = np.fromfile(tmp_path / "heard", "<i2")
    assert np.array_equal(heard, np.repeat(np.arange(5), 1000))


def test_a_player_that_fails_says_why() -> None:
    with pytest.raises(InputError, match=r"ls could not play \(.*no-such-card.*\): write a file with --out"):
        play(("ls", "no-such-card"), pieces(200), 1000)


def test_leaving_early_is_silence_at_once(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Pcm]:
        yield from pieces(1)
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        play(("sh", "-c", "sleep 5"), interrupted(), 1000)
    assert time.monotonic() - began < 2


# -------------------------------------------------------------- the log


def test_log_lines_carry_fields_and_stay_on_one_line() -> None:
    from perslm_daemon import logs

    for form, expected in (
        ("text", ' info turn recall_ms=12 model="a b" ok=true speed=3.14159'),
        ("json", '"recall_ms": 12, "model": "a b", "ok": true, "speed": 3.14159265'),
    ):
        stream = io.StringIO()
        logs.start("info", form, stream)
        log = logging.getLogger("perslm.test")
        logs.event(log, "turn", recall_ms=12, model="a b", ok=True, speed=3.14159265)
        logs.event(log, "debugging", logging.DEBUG)
        (line,) = stream.getvalue().splitlines()
        assert expected in line
        if form == "json":
            assert json.loads(line)["event"] == "turn"
    logging.getLogger("perslm").handlers.clear()
    logging.getLogger("perslm").propagate = True


def test_the_project_is_where_the_tests_think_it_is() -> None:
    assert (ROOT / "pyproject.toml").is_file()
    assert models_dir().name == "models"
