"""The configuration: layers of defaults, profile, files, environment and flags, made into one typed `Config`.

Later layers win: defaults in code, `edge_configs/PROFILE.toml`, /etc/perslm/perslm.toml and the user's
perslm.toml (or the one file named by --config), what was set while running (kept.py), PERSLM_SECTION__KEY, flags.
Every mistake in every layer is reported at once. Reads files and environment here and nowhere else.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from perslm_daemon import kept
from perslm_daemon.config_keys import Key, Secret
from perslm_daemon.config_sections import PROFILES, SECTIONS, Config, keys
from perslm_daemon.machine import Machine, profile_of, this_machine
from perslm_runtime.errors import ConfigError

SYSTEM_FILE = Path("/etc/perslm/perslm.toml")
_MASK = "********"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong value: where it stands (`file:line`, a variable, a flag), and what is allowed there."""

    where: str
    key: str
    value: str
    problem: str

    def __str__(self) -> str:
        given = f"{self.key} = {self.value}: " if self.key else ""
        return f"{self.where}: {given}{self.problem}"


class ConfigMistakesError(ConfigError):
    """Raised once by `load` with every mistake that was found."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__("\n  ".join([f"{count} in the configuration:", *map(str, mistakes)]))


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says about configuration; None and () where it says nothing."""

    data_dir: Path | None = None
    profile: str | None = None
    config_file: Path | None = None
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """One key as `perslm config` prints it; secrets are masked."""

    name: str
    value: Any
    source: str
    help: str
    allowed: str


@dataclass(frozen=True, slots=True)
class _Setting:
    """One value in one layer. Text layers (environment, flags) are parsed; files are already typed."""

    name: str
    raw: object
    where: str
    base: Path
    is_text: bool


def load(
    flags: Flags | None = None,
    environ: Mapping[str, str] | None = None,
    machine: Machine | None = None,
    *,
    with_kept: bool = False,
) -> Config:
    """Put the layers together. Raises ConfigMistakesError listing every mistake in every layer at once.

    `with_kept` takes into account what was set while a daemon ran on this data folder (kept.py).
    """
    flags = flags or Flags()
    environ = os.environ if environ is None else environ
    mistakes: list[Mistake] = []
    of_this_run = [*_from_environment(environ), *_from_flags(flags, mistakes)]
    settings = [*_from_files(_user_files(flags, environ), mistakes), *of_this_run]
    table = keys()
    profile, profile_source = _profile(settings, machine)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {"profile": profile_source}
    for setting in [*_from_files([profile_file(profile)], mistakes), *settings]:
        checked = _check(setting, table, mistakes)
        if checked is not None:
            values[setting.name] = checked[0]
            sources[setting.name] = setting.where
    if with_kept:
        _take_kept(values, sources, table, {setting.name for setting in of_this_run})
    values["profile"] = profile
    config = _build(values, {name: sources.get(name, "default") for name in table})
    mistakes += _contradictions(config)
    if mistakes:
        raise ConfigMistakesError(mistakes)
    return config


def _take_kept(
    values: dict[str, Any], sources: dict[str, str], table: Mapping[str, Key[Any]], stronger: Container[str]
) -> None:
    """Put what was set while running above the files. A kept value that no longer fits is passed over."""
    data_dir = values.get("data_dir") or table["data_dir"].default
    for name, raw in kept.read(data_dir).items():
        setting = _Setting(name, raw, kept.SOURCE, data_dir, is_text=False)
        checked = None if name in stronger else _check(setting, table, [])
        if checked is not None:
            values[name], sources[name] = checked[0], kept.SOURCE


def check_file(path: Path) -> list[Mistake]:
    """Return every mistake in one file, taken alone on top of its profile."""
    try:
        load(Flags(config_file=path), environ={})
    except ConfigMistakesError as error:
        return list(error.mistakes)
    return []


def profiles_dir() -> Path:
    """Return the folder of the board profiles: the project's own, or the copy inside an installed wheel."""
    inside = Path(__file__).parent / "data" / "edge_configs"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "edge_configs"


def profile_file(profile: str) -> Path:
    """Return the file of a board profile."""
    return profiles_dir() / f"{profile}.toml"


def value_of(config: Config, name: str) -> Any:
    """Return the value of a dotted key. Raises ConfigError for a key that does not exist."""
    if name not in config.sources:
        _unknown(name, config.sources)
    section, _, rest = name.rpartition(".")
    return getattr(getattr(config, section) if section else config, rest)


def shown(config: Config) -> list[Shown]:
    """Return every key with its value in force and where that came from."""
    return [_shown(config, key) for key in keys().values()]


def _shown(config: Config, key: Key[Any]) -> Shown:
    value = value_of(config, key.name)
    if isinstance(key.kind, Secret) and value:
        value = key.kind.masked(value)
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, tuple):
        value = list(value)
    return Shown(key.name, value, config.sources[key.name], key.help, key.kind.allowed)


def _unknown(name: str, known: Iterable[str]) -> NoReturn:
    raise ConfigError(f"there is no configuration key {name!r}{_did_you_mean(name, known)}")


def _user_files(flags: Flags, environ: Mapping[str, str]) -> list[Path]:
    """Return the files to read, weakest first. A file that was named replaces the search and has to exist."""
    if flags.config_file is not None:
        return [flags.config_file]
    if named := environ.get("PERSLM_CONFIG"):
        return [Path(named)]
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    found = [SYSTEM_FILE, Path(home) / "perslm" / "perslm.toml"]
    return [path for path in found if path.is_file()]


def _from_files(paths: Sequence[Path], mistakes: list[Mistake]) -> list[_Setting]:
    settings: list[_Setting] = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
            tree = tomllib.loads(text)
        except OSError as error:
            mistakes.append(Mistake(str(path), "", "", f"cannot be read: {error.strerror}"))
        except UnicodeDecodeError:
            mistakes.append(Mistake(str(path), "", "", "is not UTF-8 text"))
        except tomllib.TOMLDecodeError as error:
            mistakes.append(Mistake(str(path), "", "", f"is not TOML: {error}"))
        else:
            lines = _lines(text)
            base = path.absolute().parent
            for name, raw in _leaves(tree):
                where = f"{path}:{lines[name]}" if name in lines else str(path)
                settings.append(_Setting(name, raw, where, base, is_text=False))
    return settings


def _leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        elif not (isinstance(value, dict) and f"{prefix}{name}" in SECTIONS):  # an empty section says nothing
            yield f"{prefix}{name}", value


def _lines(text: str) -> dict[str, int]:
    """Find the line of each plain `key = value`; what is written more cleverly is reported without a line."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([\w.-]+)\]", line):
            section = header[1] + "."
        elif assigned := re.match(r"\s*([\w.-]+)\s*=", line):
            lines.setdefault(section + assigned[1], number)
    return lines


def _from_environment(environ: Mapping[str, str]) -> list[_Setting]:
    """Read PERSLM_SECTION__KEY and PERSLM_KEY.

    A name with `__` is meant for us, so an unknown one is a mistake; other unknown PERSLM_ names may
    belong to somebody else.
    """
    top = {name for name in keys() if "." not in name}
    settings = []
    for variable in sorted(environ):
        name = variable.removeprefix("PERSLM_").lower().replace("__", ".")
        if variable.startswith("PERSLM_") and ("." in name or name in top):
            settings.append(_Setting(name, environ[variable], variable, Path.cwd(), is_text=True))
    return settings


def _from_flags(flags: Flags, mistakes: list[Mistake]) -> list[_Setting]:
    settings = []
    for text in flags.settings:
        name, equals, value = text.partition("=")
        if equals:
            settings.append(_Setting(name.strip(), value, "--set", Path.cwd(), is_text=True))
        else:
            mistakes.append(Mistake(f"--set {text}", "", "", "must be key=value, such as model.threads=2"))
    if flags.data_dir is not None:
        settings.append(_Setting("data_dir", str(flags.data_dir), "--data-dir", Path.cwd(), is_text=True))
    if flags.profile is not None:
        settings.append(_Setting("profile", flags.profile, "--profile", Path.cwd(), is_text=True))
    return settings


def _profile(settings: Sequence[_Setting], machine: Machine | None) -> tuple[str, str]:
    """Take the strongest layer's legal profile, else the one that fits the board; others are reported later."""
    for setting in reversed(settings):
        if setting.name == "profile" and setting.raw in PROFILES:
            return str(setting.raw), setting.where
    machine = machine or this_machine()
    return profile_of(machine), f"found from {machine.board or machine.architecture}"


def _check(setting: _Setting, table: Mapping[str, Key[Any]], mistakes: list[Mistake]) -> tuple[Any] | None:
    """Return the checked value in a tuple, because None is a value; or None after reporting the mistake."""
    key = table.get(setting.name)
    if key is None:
        value = setting.raw if setting.is_text else _toml(setting.raw)
        problem = f"there is no such key{_did_you_mean(setting.name, table)}"
        if setting.name in SECTIONS:
            problem = f"{setting.name} is a section: write its keys under [{setting.name}]"
        mistakes.append(Mistake(setting.where, setting.name, _unprinted(setting.name, str(value)), problem))
        return None
    try:
        if setting.is_text:
            return (key.kind.parse(str(setting.raw), setting.base),)
        return (key.kind.read(setting.raw, setting.base),)
    except ValueError:
        value = str(setting.raw) if setting.is_text else _toml(setting.raw)
        if isinstance(key.kind, Secret):
            value = _MASK
        problem = f"it must be {key.kind.allowed}"
        mistakes.append(Mistake(setting.where, setting.name, value, problem))
        return None


def _unprinted(name: str, value: str) -> str:
    """Mask the value of a mistyped key that may have been meant as a secret."""
    return _MASK if re.search(r"key|pass|secret|token(?!s)", name.rpartition(".")[2]) else value


def _toml(raw: object) -> str:
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return f'"{raw}"' if isinstance(raw, str) else str(raw)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    names = list(known)
    leaf = name.rpartition(".")[2]
    in_another_section = [other for other in names if other.rpartition(".")[2] == leaf][:1]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6) if "." in name else []
    near = near or in_another_section or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _build(values: Mapping[str, Any], sources: Mapping[str, str]) -> Config:
    inner: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    outer: dict[str, Any] = {}
    for name, value in values.items():
        section, _, rest = name.rpartition(".")
        (inner[section] if section else outer)[rest] = value
    sections = {name: SECTIONS[name](**given) for name, given in inner.items()}
    return Config(**outer, **sections, sources=MappingProxyType(dict(sources)))


def _contradictions(config: Config) -> list[Mistake]:
    """Find values that are legal alone and impossible together; each is told of a key that was set on purpose."""
    model, memory, board = config.model, config.memory, config.board
    keyed = "memory.key_hex" if memory.key_hex else "memory.key_file"
    has_key = bool(memory.key_hex) or memory.key_file is not None
    found = [
        (
            model.kv == "q8_0" and not model.flash_attention,
            ("model.flash_attention", "model.kv"),
            'model.kv = "q8_0" needs model.flash_attention = true',
        ),
        (
            model.max_reply_tokens * 2 > model.context_tokens,
            ("model.max_reply_tokens", "model.context_tokens"),
            "model.max_reply_tokens may be at most half of model.context_tokens",
        ),
        (
            board.budget_mb > board.total_mb,
            ("board.budget_mb", "board.total_mb"),
            "board.budget_mb may not exceed board.total_mb",
        ),
        (
            not config.stt.id.startswith(f"{config.stt.engine}-"),
            ("stt.id", "stt.engine"),
            f"a model for stt.engine = {config.stt.engine} is called {config.stt.engine}-…",
        ),
        (has_key and not memory.encrypt, (keyed,), "a key is of use only with memory.encrypt = true"),
        (
            memory.key_hex != "" and memory.key_file is not None,
            ("memory.key_file",),
            "memory.key_hex is given too: take one of them away",
        ),
    ]
    return [_contradiction(config, names, problem) for wrong, names, problem in found if wrong]


def _contradiction(config: Config, names: Sequence[str], problem: str) -> Mistake:
    name = next((name for name in names if config.sources[name] != "default"), names[0])
    value = _MASK if isinstance(keys()[name].kind, Secret) else value_of(config, name)
    return Mistake(config.sources[name], name, _toml(str(value) if isinstance(value, Path) else value), problem)
