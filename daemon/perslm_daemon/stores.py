"""The things on disk that a configuration points to, opened: models and memory."""

from __future__ import annotations

import os
import re
import secrets
import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from perslm_daemon.service import credential
from perslm_runtime.errors import ConfigError, MemoryDamaged, MemoryStoreError

if TYPE_CHECKING:
    from perslm_daemon.config_sections import Config
    from perslm_runtime.catalog import Store
    from perslm_runtime.memory import Memory


def open_models(config: Config) -> Store:
    """Return the models folder of this configuration; nothing is read but the catalogue."""
    from perslm_runtime.bundles import with_bundles  # noqa: PLC0415 - only commands that touch models pay
    from perslm_runtime.catalog import Store, load_catalog  # noqa: PLC0415 - as above

    return Store(config.models_dir, with_bundles(load_catalog(), config.models_dir))


def open_memory(config: Config, embedder: str | None = None) -> Memory:
    """Open the memory in the data folder, both made when they are missing; the caller closes it.

    `embedder` names what will make the vectors handed in; None keeps the store's. Raises MemoryStoreError, and
    ConfigError for a key that cannot be used. A memory that is damaged, or gone while its backups are there,
    raises MemoryDamaged with the last good backup and the commands that put it back: none is made in its place.
    """
    from perslm_runtime.memory import Memory  # noqa: PLC0415 - only commands that touch memory pay
    from perslm_runtime.memory_files import backups, folder_of  # noqa: PLC0415 - as above

    make_data_dir(config)
    path = memory_file(config)
    folder = folder_of(path)
    if not path.exists() and backups(folder):
        raise MemoryDamaged(
            f"{path} is gone, but it has backups: {_how_to_restore(config)}. To begin anew, move {folder} away"
        )
    try:
        return Memory(path, key=memory_key(config, path), embedder=embedder)
    except MemoryDamaged as error:
        if (half := _half_changed_key(config)) is not None:
            raise MemoryDamaged(
                f"{error}, perhaps because a change of the key was interrupted ({half} is there): finish it with "
                "`perslm memory rekey`"
            ) from error
        raise MemoryDamaged(f"{error}: {_how_to_restore(config)}") from error


def _half_changed_key(config: Config) -> Path | None:
    """The new key of a change that was not finished."""
    kept = config.memory.key_file or config.data_dir / "memory.key"
    fresh = kept.with_name(f"{kept.name}.new")
    return fresh if fresh.exists() else None


def _how_to_restore(config: Config) -> str:
    from perslm_runtime.memory_files import backups, folder_of  # noqa: PLC0415 - as above

    folder = folder_of(memory_file(config))
    newest = next(iter(backups(folder)), None)
    command = f"perslm --data-dir {shlex.quote(str(config.data_dir))} memory restore"
    if newest is None:
        return f"there is no backup in {folder}; `{command} FILE` takes one from elsewhere"
    made = datetime.fromtimestamp(newest.stat().st_mtime).astimezone()
    return (
        f"the last good backup is {newest} ({made:%Y-%m-%d %H:%M}); stop PersLM (`sudo systemctl stop perslm`), "
        f"then `{command}` puts it back and keeps the file that is there now"
    )


def memory_file(config: Config) -> Path:
    """Return where the memory of this configuration lies."""
    return config.data_dir / "memory.db"


def make_data_dir(config: Config) -> Path:
    """Make the data folder, for its owner only. Raises MemoryStoreError where it may not be made."""
    try:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise MemoryStoreError(
            f"the data folder {config.data_dir} cannot be made ({error.strerror}): choose another with --data-dir"
        ) from error
    return config.data_dir


def memory_key(config: Config, database: Path) -> bytes | None:
    """Return the 32 bytes that encrypt the memory, or None; a key file that is missing is made once."""
    from perslm_runtime.memory_db import is_plain  # noqa: PLC0415 - as above

    if not config.memory.encrypt:
        return None
    given = config.memory.key_hex or credential("memory_key")
    if given:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", given):
            raise ConfigError("the credential memory_key must be 64 hexadecimal digits: put the right one there")
        return bytes.fromhex(given)
    path = config.memory.key_file or config.data_dir / "memory.key"
    try:
        if not path.exists():
            if database.exists() and is_plain(database):
                raise ConfigError(f"{database} is not encrypted yet: do that with `perslm memory rekey`")
            if database.exists() or database.with_name("backups").exists():
                raise ConfigError(f"the key file {path} is missing and {database} needs it: put it back")
            _make_key(path)
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be used ({error}): see memory.key_file") from error
    return _key_in(path)


def change_memory_key(config: Config, to: Path | None) -> list[Path]:
    """Give the memory and its copies another key, or none where `memory.encrypt` is false; the files changed.

    The new key is the one in the file `to`, else a new one, which lies durably beside the key file (`.new`) before
    anything is encrypted with it, and takes its place at the end: what was interrupted is gone on with by doing it
    again. Raises `ConfigError` where the key comes from elsewhere and `to` is not given.
    """
    from perslm_runtime.memory_db import is_plain  # noqa: PLC0415 - only commands that touch memory pay
    from perslm_runtime.memory_rekey import rekey  # noqa: PLC0415 - as above

    database = memory_file(config)
    if not database.exists():
        raise MemoryStoreError(f"there is no memory at {database} yet: its first start makes it with its key")
    given = config.memory.key_hex or credential("memory_key")
    kept = config.memory.key_file or config.data_dir / "memory.key"
    old = None if is_plain(database) else bytes.fromhex(given) if given else _key_in(kept)
    if not config.memory.encrypt:
        return rekey(database, old, None)
    if given and to is None:
        raise ConfigError(
            "the key comes from a credential: write the new one into a file, name it with --to, and put it into "
            "the credential when this is done"
        )
    fresh = kept.with_name(f"{kept.name}.new") if to is None else to
    if not fresh.exists():
        _make_key(fresh)
    changed = rekey(database, old, _key_in(fresh))
    if to is None:
        fresh.replace(kept)
    return changed


def _key_in(path: Path) -> bytes:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the key file {path} cannot be used ({error}): see memory.key_file") from error
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ConfigError(f"the key file {path} must hold 64 hexadecimal digits: put the right file there")
    return bytes.fromhex(text)


def _make_key(path: Path) -> None:
    """Write a new key for its owner only, durably before anything is encrypted with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
