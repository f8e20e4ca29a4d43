"""`perslm doctor --bundle`: one file for whoever helps: figures and states, no secret and no private word.

It collects; what may pass is decided by `support_words`, by what a value is and never by what it looks like.
Nothing is sent anywhere: a person looks at the file and decides.
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perslm_daemon import config as configuration
from perslm_daemon.board_state import board_state
from perslm_daemon.config_keys import Choice, Choices, Real, Switch, Whole
from perslm_daemon.config_sections import PROFILES, keys
from perslm_daemon.doctor import examine
from perslm_daemon.support_words import Vocabulary, as_json, log_words, plain, traceback_lines, words_of
from perslm_runtime import __version__
from perslm_runtime.catalog_file import load_catalog
from perslm_runtime.errors import InputError

if TYPE_CHECKING:
    from perslm_daemon.config_sections import Config

_LOG_LINES = 4000
_SERVICE_DATA = Path("/var/lib/perslm")
_CARD_LOG = Path("/boot/firmware/perslm-log.txt")
_FIRST_BOOT = Path("/usr/local/lib/perslm")
_UNITS = ("perslm.service", "perslm-broker.service", "perslm-firstboot.service")
_UNIT_FACTS = (
    "ActiveState,SubState,Result,NRestarts,ExecMainStatus,MemoryCurrent,MemoryHigh,MemoryMax,WatchdogUSec"
)
_STATES = ("starting", "online", "offline", "ok", "warn", "fail", "degraded", "idle")
_PARTS = ("llm", "stt", "tts", "embed", "mqtt", "voice", "cli", "http", "wyoming", "control")
_SAFE_KINDS = (Switch, Whole, Real, Choice, Choices)
# What of the data folder is named; others are counted, for a file's name may be somebody's.
_KNOWN_FILES = ("memory.db", "memory.db-wal", "mqtt.journal", "broker", "backups", "snapshots", "models")
_README = """What is in this file
====================

doctor.json    what `perslm doctor` found, in its own words
config.json    which settings are set and from where; their value only where it is a number, a switch or a choice
board.json     memory, load, heat, disk, processor
units.json     what systemd knows of PersLM's services
files.json     how large memory, snapshots and models are
packages.txt   versions of the Python packages
log.txt        the log's events with figures; names, addresses and texts are "…"
crashes.txt    where bugs happened: files, lines, functions
first-boot.txt the same of the card's log

What somebody said, memories, names, addresses, passwords, keys and tokens are not in it. Look before you send it.
"""


def names_of_ours() -> frozenset[str]:
    """Texts that may pass whole, because they are one of a set that PersLM itself defines."""
    found = {*PROFILES, *_STATES, *_PARTS}
    found |= {model.id for model in load_catalog().models}
    for one in keys().values():
        if isinstance(one.kind, Choice | Choices):
            found |= set(one.kind.words)
    return frozenset(found)


def write(config: Config, target: Path) -> Path:
    """Collect everything into `target` (.tar.gz, readable by its owner). Raises InputError where it is there."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}): name another with --to") from error
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in entries(config):
            data = text.encode()
            member = tarfile.TarInfo(f"perslm-support/{name}")
            member.size, member.mtime, member.mode = len(data), int(time.time()), 0o600
            archive.addfile(member, io.BytesIO(data))
    return target


def entries(config: Config) -> Iterator[tuple[str, str]]:
    """Each file of the bundle: its name and its text."""
    names = names_of_ours()
    folders = [config.data_dir, *([_SERVICE_DATA] if _SERVICE_DATA.is_dir() else [])]
    yield "README.txt", _README
    yield "about.json", as_json(_about(config))
    yield "doctor.json", as_json(_doctor(config, names))
    yield "config.json", as_json(_config(config, names))
    yield "board.json", as_json(_board(config))
    yield "units.json", as_json({unit: _unit(unit) for unit in _UNITS})
    yield "files.json", as_json({str(number): _files(folder) for number, folder in enumerate(folders)})
    yield "packages.txt", "".join(f"{one.name} {one.version}\n" for one in _packages())
    yield "log.txt", "".join(f"{line}\n" for line in _log(names))
    yield "crashes.txt", "".join(f"{line}\n" for folder in folders for line in _crashes(folder))
    if _CARD_LOG.is_file():
        first_boot = Vocabulary(words_of((_FIRST_BOOT / "firstboot.py", _FIRST_BOOT / "card.py")))
        text = _CARD_LOG.read_text(encoding="utf-8", errors="replace")
        yield (
            "first-boot.txt",
            "".join(f"{line[:20]} {first_boot.line(line[20:])}\n" for line in text.splitlines()),
        )


def _about(config: Config) -> dict[str, Any]:
    image = _FIRST_BOOT / "image.json"
    return {
        "perslm": __version__,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "profile": config.profile,
        "image": json.loads(image.read_text(encoding="utf-8")) if image.is_file() else None,
    }


def _doctor(config: Config, names: frozenset[str]) -> list[dict[str, str]]:
    here = Path(__file__).parent
    own = words_of((here / "doctor.py", here / "broker_check.py", here / "budget.py", here / "machine.py"))
    vocabulary = Vocabulary(own, names)
    return [
        {
            "name": finding.name,
            "verdict": finding.verdict.value,
            "found": vocabulary.line(finding.found),
            "advice": vocabulary.line(finding.advice),
        }
        for finding in examine(config)
    ]


def _config(config: Config, names: frozenset[str]) -> dict[str, dict[str, Any]]:
    known = keys()
    return {
        row.name: {
            "value": row.value if isinstance(known[row.name].kind, _SAFE_KINDS) else plain(row.value, names),
            # A file's path may hold a person's name.
            "from": row.source if row.source.startswith("PERSLM_") else "a file or an option",
        }
        for row in configuration.shown(config)
        if row.source != "default"
    }


def _board(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = asdict(board_state())
    for name, folder in (("data", config.data_dir), ("models", config.models_dir)):
        place = next(each for each in (folder, *folder.parents) if each.exists())
        found[f"{name}_free_mb"] = shutil.disk_usage(place).free // 1_000_000
    found["processors"] = os.cpu_count()
    watchdogs = sorted(Path("/sys/class/watchdog").glob("watchdog*/state"))
    found["watchdog"] = [path.read_text().strip() for path in watchdogs if os.access(path, os.R_OK)]
    return found


def _unit(unit: str) -> dict[str, str]:
    argv = ["systemctl", "show", "--property", _UNIT_FACTS, unit]
    return dict(line.split("=", 1) for line in _output(argv).splitlines() if "=" in line)


def _files(folder: Path) -> dict[str, int]:
    """Megabytes by name for what is ours, and how many others there are."""
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        return {}
    found = {name: _size(folder / name) // 1000 for name in _KNOWN_FILES if (folder / name).exists()}
    return {
        **{f"{name} (kB)": size for name, size in found.items()},
        "others": sum(1 for _ in folder.iterdir()) - len(found),
    }


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(each.lstat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size


def _packages() -> list[metadata.Distribution]:
    return sorted(metadata.distributions(), key=lambda one: one.name.lower())


def _log(names: frozenset[str]) -> Iterator[str]:
    """The service's events of this boot and the one before. The broker's own log names its clients: left out."""
    here = Path(__file__).parent
    vocabulary = Vocabulary(log_words([*here.glob("*.py"), *(here.parent / "perslm_runtime").glob("*.py")]), names)
    argv = ["journalctl", "--no-pager", "--output=json", f"--lines={_LOG_LINES}", "--unit=perslm.service"]
    for line in _output(argv).splitlines():
        entry = json.loads(line)
        message = entry.get("MESSAGE")
        if not isinstance(message, str):
            continue
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(entry.get("__REALTIME_TIMESTAMP", 0)) / 1e6))
        yield f"{when} {entry.get('PRIORITY', '')} {entry.get('_PID', '')} {vocabulary.log(message)}"


def _crashes(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("perslm-crash-*.log")) if os.access(folder, os.R_OK) else ():
        yield time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(path.stat().st_mtime))
        yield from (f"  {line}" for line in traceback_lines(path.read_text(encoding="utf-8", errors="replace")))


def _output(argv: list[str]) -> str:
    """What a program prints; "" where it is not there or fails."""
    if shutil.which(argv[0]) is None:
        return ""
    return subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, timeout=60).stdout
