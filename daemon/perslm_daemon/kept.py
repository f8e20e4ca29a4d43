"""What was changed while the daemon ran and outlives it: configuration keys in `kept.json` of the data folder.

A layer of the configuration above the files and below the environment and the flags, which say what this run shall
be. Every function blocks on the disk. What cannot be read is left out of account and told; it prevents no start.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

log = logging.getLogger("perslm.config")

SOURCE = "set while running"
_NAME = "kept.json"
_one_at_a_time = threading.Lock()  # the draft has one name, and what was read has to be what is replaced


def read(data_dir: Path) -> dict[str, object]:
    """The kept values by dotted key; none where there is no file or none that can be read."""
    try:
        found = json.loads((data_dir / _NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("kept_unreadable file=%s error=%s", data_dir / _NAME, type(error).__name__)
        return {}
    return found if isinstance(found, dict) else {}


def change(data_dir: Path, values: Mapping[str, object]) -> None:
    """Keep values; None takes one back. Durable when it returns. Raises OSError."""
    with _one_at_a_time:
        kept = {**read(data_dir), **values}
        _write(data_dir, {name: value for name, value in kept.items() if value is not None})


def take_back(data_dir: Path, wanted: Callable[[str], bool]) -> list[str]:
    """Take back every kept key that is `wanted`; their names. Raises OSError."""
    with _one_at_a_time:
        kept = read(data_dir)
        gone = [name for name in kept if wanted(name)]
        if gone:
            _write(data_dir, {name: value for name, value in kept.items() if name not in gone})
    return gone


def _write(data_dir: Path, kept: Mapping[str, object]) -> None:
    draft = data_dir / f"{_NAME}.new"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(kept, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(data_dir / _NAME)
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
