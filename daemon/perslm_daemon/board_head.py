"""The prompt's head, read here for a board that is being built: what saves its first start a minute of computing.

`python -m perslm_daemon.board_head PROFILE MODELS FOLDER SYSTEM…` writes one snapshot for each SYSTEM, the line
with which llama.cpp describes its build on that board (`llama_print_system_info`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from perslm_daemon.config import Flags, load
from perslm_daemon.engine_builds import open_model
from perslm_runtime.errors import EngineError


def write(profile: str, models: Path, folder: Path, systems: Sequence[str]) -> int:
    """Read the head of `profile`'s model in `models` once; return its tokens. Raises EngineError.

    A snapshot is named by the model file's time too: give the very file that the board gets.
    """
    config = load(Flags(profile=profile, config_file=Path("/dev/null")), environ={})
    model = open_model(config, models / config.model.id / "model.gguf", snapshots=None)
    try:
        for system in systems:
            if not model.save_head_for(system, folder):
                raise EngineError(f"{folder} does not take the prompt's head: is the disk full?")
        return model.head_tokens
    finally:
        model.close()


if __name__ == "__main__":
    print(write(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))  # noqa: T201 - it is a program
