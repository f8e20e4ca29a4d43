"""The limits of the service on this board, as a drop-in for perslm.service; `make install` puts it in place.

`python -m perslm_daemon.limits [PROFILE]` prints it, for the board it runs on where no profile is named.
"""

from __future__ import annotations

import sys
from pathlib import Path

from perslm_daemon.config import Flags, load
from perslm_daemon.config_sections import Board

_SYSTEM_MB = 100  # what is left to everything else at the least
_SLACK = 1.15  # above the budget memory is only reclaimed; the model file's pages, mapped, are the first to go


def dropin(board: Board, profile: str) -> str:
    """The drop-in's text. Memory above the budget is reclaimed; far above it the service ends and comes back."""
    budget = board.budget_mb
    most = max(budget, min(round(budget * _SLACK), board.total_mb - _SYSTEM_MB))
    return (
        f"# For {board.name} (profile {profile}); `make install` writes it anew.\n"
        "[Service]\n"
        f"MemoryHigh={budget * 1_000_000}\n"
        f"MemoryMax={most * 1_000_000}\n"
        f"CPUWeight={board.cpu_weight}\n"
    )


def main(arguments: list[str]) -> int:
    """Print the drop-in. Raises ConfigError for a profile that does not exist."""
    if arguments:
        config = load(Flags(profile=arguments[0], config_file=Path("/dev/null")), environ={})
    else:
        config = load(environ={})
    sys.stdout.write(dropin(config.board, config.profile))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
