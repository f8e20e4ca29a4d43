from __future__ import annotations

import socket
from pathlib import Path

import pytest

from perslm_daemon.budget import attention_of, needed_models, parts, tokens_per_second
from perslm_daemon.config import Config, Flags, load, profile_file
from perslm_daemon.config_sections import PROFILES
from perslm_daemon.doctor import (
    Finding,
    Verdict,
    check_disk,
    check_memory,
    check_memory_file,
    check_models,
    check_processor,
    check_sandbox,
    check_wyoming,
    examine,
    judge_build,
    judge_memory,
    judge_sandbox,
    judge_threads,
    judge_time,
)
from perslm_daemon.machine import busy_cores, cpu_features, cpu_model, memory_line_mb, sound_outputs, usable_cores
from perslm_runtime import landlock
from perslm_runtime.catalog_file import load_catalog
from perslm_runtime.errors import CatalogError
from perslm_runtime.gguf import Attention, read_attention
from real_models import model_path, models_dir

PI5 = frozenset(
    [
        "fp",
        "asimd",
        "evtstrm",
        "aes",
        "pmull",
        "sha1",
        "sha2",
        "crc32",
        "atomics",
        "fphp",
        "asimdhp",
        "cpuid",
        "asimdrdm",
        "lrcpc",
        "dcpop",
        "asimddp",
    ]
)
PI4 = frozenset(["fp", "asimd", "evtstrm", "crc32", "cpuid"])
PI5_BUILD = "CPU : NEON = 1 | ARM_FMA = 1 | FP16_VA = 1 | DOTPROD = 1 | LLAMAFILE = 1 | OPENMP = 1 | REPACK = 1 | "
PORTABLE_BUILD = "CPU : NEON = 1 | ARM_FMA = 1 | LLAMAFILE = 1 | OPENMP = 1 | REPACK = 1 | "


def config_of(tmp_path: Path, *settings: str, profile: str = "dev") -> Config:
    return load(Flags(tmp_path / "data", profile, profile_file(profile), settings), environ={})


def test_a_build_for_this_processor_is_right() -> None:
    assert judge_build(PI5_BUILD, PI5).verdict is Verdict.OK
    assert judge_build(PORTABLE_BUILD, PI4).verdict is Verdict.OK


def test_a_portable_build_on_a_pi_5_is_told_to_lack_dotprod() -> None:
    finding = judge_build(PORTABLE_BUILD, PI5)
    assert finding.verdict is Verdict.WARN
    assert "DOTPROD" in finding.found
    assert "make setup" in finding.advice


def test_a_build_for_a_better_processor_fails() -> None:
    finding = judge_build(PI5_BUILD, PI4)
    assert finding.verdict is Verdict.FAIL
    assert "DOTPROD" in finding.found


def test_a_build_without_repack_is_told() -> None:
    assert "REPACK" in judge_build(PI5_BUILD.replace("REPACK = 1", "REPACK = 0"), PI5).found


def test_unknown_features_are_no_clean_bill() -> None:
    assert judge_build(PI5_BUILD, frozenset()).verdict is Verdict.WARN


def test_the_llama_cpp_that_is_installed_can_run_here(tmp_path: Path) -> None:
    (finding,) = check_processor(config_of(tmp_path))
    assert finding.verdict is not Verdict.FAIL


@pytest.mark.parametrize(
    ("threads", "cores", "busy", "verdict"),
    [(4, 4, 0.2, Verdict.OK), (4, 2, 0.0, Verdict.WARN), (4, 4, 2.0, Verdict.WARN), (2, 4, 2.0, Verdict.OK)],
)
def test_threads_beyond_idle_cores_are_warned_of(threads: int, cores: int, busy: float, verdict: Verdict) -> None:
    assert judge_threads(threads, cores, busy).verdict is verdict


def test_memory_is_compared_to_the_budget_and_to_what_is_free() -> None:
    assert judge_memory(300, 330, 400).verdict is Verdict.OK
    assert judge_memory(340, 330, 400).verdict is Verdict.FAIL
    assert judge_memory(300, 330, 200).verdict is Verdict.WARN
    assert judge_memory(300, 330, 0).verdict is Verdict.OK


def test_a_clock_before_the_product_fails() -> None:
    assert judge_time(0.0, None).verdict is Verdict.FAIL
    assert judge_time(1_800_000_000, False).verdict is Verdict.WARN
    assert judge_time(1_800_000_000, True).verdict is Verdict.OK
    assert judge_time(1_800_000_000, None).verdict is Verdict.OK


def test_missing_models_fail_with_the_command_that_brings_them(tmp_path: Path) -> None:
    findings = list(check_models(config_of(tmp_path, f"models_dir={tmp_path}", "voice.enabled=false")))
    assert [finding.verdict for finding in findings] == [Verdict.FAIL, Verdict.FAIL]
    assert findings[0].advice == "run `perslm models pull smollm2-135m-q4_1`"


def test_a_configuration_that_does_not_fit_its_budget_fails(tmp_path: Path) -> None:
    (finding,) = check_memory(config_of(tmp_path, "model.id=qwen3-4b-q4_k_m"))
    assert finding.verdict is Verdict.FAIL


def test_a_damaged_memory_is_found(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    (finding,) = check_memory_file(config)
    assert finding.verdict is Verdict.OK
    (config.data_dir / "memory.db").write_bytes(b"no database" * 1000)
    found = {finding.name: finding for finding in examine(config)}
    assert found["remembered"].verdict is Verdict.FAIL
    assert found["time"].verdict is not Verdict.FAIL  # one failure ends nothing


def test_the_disk_is_judged_where_the_folder_will_be(tmp_path: Path) -> None:
    findings = list(check_disk(config_of(tmp_path, f"models_dir={tmp_path / 'not/yet'}")))
    assert [finding.name for finding in findings] == ["disk for models", "disk for data"]
    assert not (tmp_path / "not").exists()


def test_the_wyoming_port_is_looked_at(tmp_path: Path) -> None:
    def told(*settings: str) -> Finding:
        (finding,) = check_wyoming(config_of(tmp_path, *settings))
        return finding

    assert told().verdict is Verdict.OK
    assert "closed" in told().found
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert told("wyoming.allow=127.0.0.1", f"wyoming.port={port}").verdict is Verdict.WARN
    free = f"wyoming.port={port}"
    assert told("wyoming.allow=192.168.1.0/24", free).verdict is Verdict.OK
    assert "0.0.0.0/0 reaches beyond" in told("wyoming.allow=192.168.1.0/24, 0.0.0.0/0", free).found


def test_it_says_whether_tools_can_be_held(tmp_path: Path) -> None:
    (found,) = check_sandbox(config_of(tmp_path, f"tools.folder={tmp_path}"))
    assert found.verdict is (Verdict.OK if landlock.version() else Verdict.WARN)
    assert "Landlock" in found.found
    if found.verdict is Verdict.OK:
        refused, _, tried = found.found.partition(": ")[2].partition(" of ")
        assert int(refused) > 20
        assert int(tried.split()[0]) >= int(refused)


def test_what_gets_out_of_the_sandbox_is_a_failure() -> None:
    acts = [{"act": "trace", "holds": "refused"}, {"act": "fork_bomb", "holds": "NOT refused"}]
    found = judge_sandbox({"landlock": 3, "acts": acts})
    assert found.verdict is Verdict.FAIL
    assert "fork_bomb" in found.found
    assert "trace" not in found.found
    assert judge_sandbox(None).verdict is Verdict.WARN


# -------------------------------------------------------------- budgets


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_fits_its_memory_budget(tmp_path: Path, profile: str) -> None:
    config = config_of(tmp_path, profile=profile)
    file = models_dir() / config.model.id / "model.gguf"
    found = parts(config, load_catalog(), file)
    assert found[0].name == "process"
    assert f"llm {config.model.id}" in {part.name for part in found}
    assert any(part.name.startswith("attention cache") for part in found)
    needed = sum(part.mb for part in found)
    assert needed <= config.board.budget_mb, "\n".join(f"{part.mb:8.1f} {part.name}" for part in found)
    # the system and its page cache keep a fifth of the board at least
    assert config.board.budget_mb <= 0.8 * config.board.total_mb


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_loads_models_that_are_in_the_catalogue_for_that_kind(tmp_path: Path, profile: str) -> None:
    config = config_of(tmp_path, profile=profile)
    catalog = load_catalog()
    kinds = [catalog[model_id].kind for model_id in needed_models(config)]
    assert kinds[0] == "llm"
    assert set(kinds) <= {"llm", "embed", "stt", "tts", "vad", "wake"}


@pytest.mark.parametrize("model", [model.id for model in load_catalog().of_kind("llm")])
def test_the_cache_of_every_language_model_can_be_computed(model: str) -> None:
    published = attention_of(load_catalog()[model], None)
    assert published is not None
    file = models_dir() / model / "model.gguf"
    if file.exists():
        assert read_attention(file) == published


def test_the_cache_is_read_from_the_model_itself() -> None:
    attention = read_attention(model_path("smollm2-135m-q4_1", "model.gguf"))
    assert attention == Attention(layers=30, key_values=192, value_values=192)
    assert attention.kv_bytes_per_token("f16") == 23_040
    assert attention.kv_bytes_per_token("q8_0") == 12_240


@pytest.mark.parametrize("length", [0, 3, 4, 10, 24, 60, 500])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, length: int) -> None:
    head = model_path("smollm2-135m-q4_1", "model.gguf").open("rb")
    with head:
        (tmp_path / "cut.gguf").write_bytes(head.read(length))
    with pytest.raises(CatalogError, match="perslm models verify"):
        read_attention(tmp_path / "cut.gguf")


def test_speed_is_bandwidth_by_size() -> None:
    assert tokens_per_second(500_000_000, 4.0) == 8.0


# -------------------------------------------------------------- the machine


def test_the_machine_is_read_from_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "proc/asound").mkdir(parents=True)
    (tmp_path / "proc/cpuinfo").write_text(
        "processor\t: 0\nFeatures\t: fp asimd asimddp\n\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
    )
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000000 kB\nMemAvailable:  500000 kB\n")
    (tmp_path / "proc/asound/cards").write_text(
        " 0 [vc4hdmi0       ]: vc4-hdmi - vc4-hdmi-0\n                      vc4-hdmi-0\n"
    )
    assert cpu_features(tmp_path) == {"fp", "asimd", "asimddp"}
    assert cpu_model(tmp_path) == "Raspberry Pi 5 Model B Rev 1.0"
    assert memory_line_mb("MemAvailable", tmp_path) == 512
    assert sound_outputs(tmp_path) == ["vc4-hdmi - vc4-hdmi-0"]


def test_a_machine_that_tells_nothing_is_no_crash(tmp_path: Path) -> None:
    assert cpu_features(tmp_path) == frozenset()
    assert memory_line_mb("MemTotal", tmp_path) == 0
    assert sound_outputs(tmp_path) == []
    assert usable_cores() >= 1
    assert busy_cores() >= 0
