from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_daemon import cli
from perslm_daemon.config import (
    ConfigMistakesError,
    Flags,
    check_file,
    load,
    profile_file,
    profiles_dir,
    shown,
    value_of,
)
from perslm_daemon.config_sections import PROFILES, SECTIONS, keys
from perslm_daemon.machine import Machine, profile_of, this_machine
from perslm_runtime.errors import ConfigError

ALONE = {"PERSLM_CONFIG": os.devnull}  # neither this user's file nor the system's
PC = Machine(board=None, architecture="x86_64", ram_mb=16_000)


def written(folder: Path, text: str) -> Path:
    path = folder / "perslm.toml"
    path.write_text(text)
    return path


def mistakes_of(environ: dict[str, str] | None = None, **flags: Any) -> list[str]:
    with pytest.raises(ConfigMistakesError) as caught:
        load(Flags(**flags), environ={**ALONE, **(environ or {})}, machine=PC)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_defaults_are_in_force_where_nobody_says_anything(tmp_path: Path) -> None:
    config = load(environ={"XDG_CONFIG_HOME": str(tmp_path)}, machine=PC)
    assert config.model.id == "smollm2-135m-q4_1"
    assert config.sources["model.context_tokens"] == "default"
    assert config.profile == "dev"


def test_each_layer_wins_over_the_one_before(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    (tmp_path / "perslm").mkdir()

    def threads(environ: dict[str, str], *sets: str) -> tuple[int, str]:
        config = load(Flags(profile="pi4", settings=sets), environ=environ, machine=PC)
        return config.model.threads, config.sources["model.threads"]

    assert threads(environ) == (4, f"{profile_file('pi4')}:{line_of(profile_file('pi4'), 'threads = 4')}")
    file = written(tmp_path / "perslm", "[model]\nthreads = 5\n")
    assert threads(environ) == (5, f"{file}:2")
    environ["PERSLM_MODEL__THREADS"] = "6"
    assert threads(environ) == (6, "PERSLM_MODEL__THREADS")
    assert threads(environ, "model.threads=7") == (7, "--set")


def line_of(path: Path, text: str) -> int:
    return path.read_text().splitlines().index(text) + 1


def test_a_named_file_replaces_the_search_for_files(tmp_path: Path) -> None:
    (tmp_path / "perslm").mkdir()
    written(tmp_path / "perslm", 'node = "searched"\n')
    named = written(tmp_path, "[tts]\nvolume = 0.5\n")
    for environ, flags in (
        ({"XDG_CONFIG_HOME": str(tmp_path)}, Flags(config_file=named)),
        ({"XDG_CONFIG_HOME": str(tmp_path), "PERSLM_CONFIG": str(named)}, Flags()),
    ):
        config = load(flags, environ=environ, machine=PC)
        assert (config.node, config.tts.volume) == ("home", 0.5)


def test_every_mistake_in_every_layer_is_reported_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, '[model]\nthread = 4\nbatch_threads = "many"\n\n[stt]\nengine = "cloud"\n')
    found = mistakes_of(
        {"PERSLM_TTS__VOLUME": "11", "PERSLM_MEMRY__ENABLED": "yes"},
        config_file=file,
        settings=("tts.length_scale=slow", "nonsense"),
        profile="pi9",
    )
    assert found == [
        "--set nonsense: must be key=value, such as model.threads=2",
        f"{file}:2: model.thread = 4: there is no such key; did you mean model.threads?",
        f'{file}:3: model.batch_threads = "many": it must be a whole number from 1 to 64',
        f'{file}:6: stt.engine = "cloud": it must be one of whisper, vosk',
        "PERSLM_MEMRY__ENABLED: memry.enabled = yes: there is no such key; did you mean memory.enabled?",
        "PERSLM_TTS__VOLUME: tts.volume = 11: it must be a number from 0 to 1",
        "--set: tts.length_scale = slow: it must be a number from 0.5 to 2",
        "--profile: profile = pi9: it must be one of dev, zero2w, pi4-2gb, pi4, pi5, generic-arm64",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[model\n", "is not TOML"),
        ("model = 3\n", "model is a section: write its keys under [model]"),
        ("[node]\nid = 1\n", "there is no such key"),
        ("threads = 3\n", "did you mean model.threads?"),
        (
            '[model]\nkv = "q8_0"\nflash_attention = false\n',
            'model.kv = "q8_0" needs model.flash_attention = true',
        ),
        ("[model]\ncontext_tokens = 512\nmax_reply_tokens = 300\n", "at most half of model.context_tokens"),
        ("[board]\ntotal_mb = 512\nbudget_mb = 600\n", "board.budget_mb may not exceed board.total_mb"),
        ('[memory]\nkey_file = "k"\n', "of use only with memory.encrypt = true"),
        ('[wake]\nwords = ["alexa", "alexa"]\n', "a list of okay_nabu"),
        ("[tts]\nvolume = nan\n", "a number from 0 to 1"),
        ("[model]\nthreads = true\n", "a whole number from 1 to 64"),
        ('[voice]\nenabled = "yes"\n', "true or false"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_allowed(tmp_path: Path, text: str, problem: str) -> None:
    found = check_file(written(tmp_path, text))
    assert len(found) == 1
    assert problem in str(found[0])
    assert str(tmp_path / "perslm.toml") in found[0].where


def test_a_file_that_cannot_be_read_is_a_mistake_of_its_own(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in mistakes_of(config_file=tmp_path / "missing.toml")[0]
    (tmp_path / "latin.toml").write_bytes(b'node = "caf\xe9"\n')
    assert "is not UTF-8 text" in mistakes_of(config_file=tmp_path / "latin.toml")[0]


def test_configuration_mistakes_end_with_exit_code_2() -> None:
    with pytest.raises(ConfigError) as caught:
        load(Flags(settings=("model.threads=0",)), environ=ALONE, machine=PC)
    assert caught.value.exit_code == 2


def test_a_secret_is_never_printed() -> None:
    secret = "ab" * 32
    config = load(environ={**ALONE, "PERSLM_MEMORY__KEY_HEX": secret, "PERSLM_MEMORY__ENCRYPT": "1"}, machine=PC)
    assert config.memory.key_hex == secret
    assert secret not in json.dumps([row.value for row in shown(config)])
    assert secret not in repr(config)
    assert secret + "x" not in "".join(mistakes_of({"PERSLM_MEMORY__KEY_HEX": secret + "x"}))
    assert secret not in "".join(mistakes_of({"PERSLM_MEMORY__KEYHEX": secret}))


def test_paths_start_from_the_file_that_names_them(tmp_path: Path) -> None:
    file = written(tmp_path, 'models_dir = "m"\n')
    config = load(Flags(config_file=file, data_dir=Path("d")), environ=ALONE, machine=PC)
    assert config.models_dir == tmp_path / "m"
    assert config.data_dir == Path.cwd() / "d"
    assert load(Flags(data_dir=Path("~/d")), environ=ALONE, machine=PC).data_dir == Path.home() / "d"


def test_models_are_shared_by_every_data_dir(tmp_path: Path) -> None:
    plain = load(environ=ALONE, machine=PC)
    moved = load(environ={**ALONE, "PERSLM_DATA_DIR": str(tmp_path)}, machine=PC)
    assert moved.data_dir == tmp_path
    assert moved.models_dir == plain.models_dir


def as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value is None else str(value)


def as_toml(value: object) -> str:
    if isinstance(value, tuple):
        return json.dumps(list(value))
    if value is None or isinstance(value, Path):
        return json.dumps(as_text(value))
    return json.dumps(value)


@pytest.mark.parametrize("name", list(keys()))
def test_every_key_can_be_set_in_a_file_and_in_the_environment(tmp_path: Path, name: str) -> None:
    expected = keys()[name].default
    section, _, leaf = name.rpartition(".")
    file = written(
        tmp_path, f"[{section}]\n{leaf} = {as_toml(expected)}\n" if section else f"{leaf} = {as_toml(expected)}"
    )
    from_file = load(Flags(config_file=file), environ=ALONE, machine=PC)
    assert value_of(from_file, name) == expected
    assert from_file.sources[name].startswith(str(file))
    variable = "PERSLM_" + name.upper().replace(".", "__")
    from_environment = load(environ={**ALONE, variable: as_text(expected)}, machine=PC)
    assert value_of(from_environment, name) == expected
    assert from_environment.sources[name] == variable


def test_every_key_has_a_help_and_says_what_is_allowed() -> None:
    for name, key in keys().items():
        assert len(key.help) > 8, name
        assert len(key.kind.allowed) > 4, name
        key.kind.parse(as_text(key.default), Path("/"))


def test_every_key_is_read_by_the_program() -> None:
    """A key that nothing reads is a promise that nobody keeps."""
    waiting = {"node"}  # named for the interfaces to come
    sources = [path for path in Path(cli.__file__).parent.glob("*.py") if path.name != "config_sections.py"]
    code = "\n".join(path.read_text() for path in sources)
    unread = {name for name in keys() if not re.search(rf"\.{name.rpartition('.')[2]}\b", code)}
    assert unread <= waiting


def test_an_unknown_key_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"no configuration key 'model.thread'; did you mean model.threads\?"):
        value_of(load(environ=ALONE, machine=PC), "model.thread")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_board_profile_describes_its_board_and_otherwise_only_what_differs(profile: str) -> None:
    config = load(Flags(profile=profile), environ=ALONE, machine=PC)
    assert config.profile == profile
    table = keys()
    said = [name for name, source in config.sources.items() if source.startswith(str(profiles_dir()))]
    assert {"board.name", "board.total_mb", "board.budget_mb", "board.bandwidth_gb_s"} <= set(said)
    for name in said:
        if not name.startswith("board.") and not table[name].default_is_computed:
            assert value_of(config, name) != table[name].default, f"{profile} repeats the default of {name}"


def test_there_is_a_file_for_every_profile_and_no_other() -> None:
    assert sorted(path.stem for path in profiles_dir().glob("*")) == sorted(PROFILES)


@pytest.mark.parametrize(
    ("board", "architecture", "ram", "profile"),
    [
        (None, "x86_64", 64_000, "dev"),
        (None, "aarch64", 8_000, "generic-arm64"),
        ("Radxa ROCK 5B", "aarch64", 8_000, "generic-arm64"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "aarch64", 430, "zero2w"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "aarch64", 950, "zero2w"),
        ("Raspberry Pi 4 Model B Rev 1.5", "aarch64", 1_950, "pi4-2gb"),
        ("Raspberry Pi 4 Model B Rev 1.4", "aarch64", 3_900, "pi4"),
        ("Raspberry Pi 400 Rev 1.0", "aarch64", 3_900, "pi4"),
        ("Raspberry Pi Compute Module 4 Rev 1.1", "aarch64", 8_000, "pi4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", 8_300, "pi5"),
        ("Raspberry Pi 5 Model B Rev 1.1", "aarch64", 2_080, "pi4-2gb"),
        ("Raspberry Pi 500 Rev 1.0", "aarch64", 8_300, "pi5"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", "aarch64", 4_200, "pi5"),
    ],
)
def test_the_profile_is_found_from_the_board(board: str | None, architecture: str, ram: int, profile: str) -> None:
    assert profile_of(Machine(board, architecture, ram)) == profile


def test_the_board_is_read_from_the_device_tree(tmp_path: Path) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    (tmp_path / "proc/meminfo").write_text("MemTotal:        8131712 kB\nMemFree: 1 kB\n")
    machine = this_machine(tmp_path)
    assert (machine.board, machine.ram_mb) == ("Raspberry Pi 5 Model B Rev 1.0", 8326)
    config = load(environ=ALONE, machine=Machine(machine.board, "aarch64", machine.ram_mb))
    assert config.profile == "pi5"
    assert config.sources["profile"] == "found from Raspberry Pi 5 Model B Rev 1.0"


@settings(max_examples=40, deadline=None, database=None)
@given(
    name=st.sampled_from(list(keys())) | st.text(max_size=12) | st.sampled_from([f"{s}.x" for s in SECTIONS]),
    value=st.text(max_size=20).filter(lambda text: "\0" not in text),
)
def test_any_setting_is_taken_or_refused_but_never_a_crash(name: str, value: str) -> None:
    try:
        config = load(Flags(settings=(f"{name}={value}",)), environ=ALONE, machine=PC)
    except ConfigMistakesError:
        return
    assert config.sources[name.strip()] in {"--set", f"found from {PC.architecture}"}
