"""How a staged roll-out goes, by what boards tell of it, and its stop when it fails.

A board counts once it has tried the version. A stop offers it to nobody new; boards that do well with it keep it.
It takes the targets key: where that lies in a drawer, the stop is wished for here and done by hand (`perslm-host
halt`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perslm_runtime.bundle import Channel
from perslm_runtime.errors import PersLMError
from perslm_training_host.boards import BoardRecord, Boards
from perslm_training_host.repository import CHANNELS, Repository
from perslm_training_host.signing_keys import SigningKeys

log = logging.getLogger("perslm.host")

FAILED_SHARE = 0.1
"""Of the boards that have tried a staged version: above it, the roll-out stops."""
_FAILED = ("refused", "rolled_back")
_WELL = ("in_use", "kept")


@dataclass(frozen=True, slots=True)
class RollOut:
    """A version on a channel: to how many of a hundred boards, and how those that tried it are with it.

    `failed` has why, by board.
    """

    bundle: str
    version: int
    channel: str
    percent: int
    well: tuple[str, ...]
    kept: tuple[str, ...]
    failed: Mapping[str, str]

    @property
    def name(self) -> str:
        """The bundle's name with its version."""
        return f"{self.bundle}-v{self.version}"

    @property
    def fails(self) -> bool:
        """Whether too many of those that tried it could not use it."""
        return len(self.failed) > FAILED_SHARE * (len(self.failed) + len(self.well))

    @property
    def is_staged(self) -> bool:
        """Whether it goes to some boards first."""
        return 0 < self.percent < 100


def roll_outs(channels: Mapping[str, Channel], boards: Mapping[str, BoardRecord]) -> list[RollOut]:
    """Every version that is offered, and how boards that are let in are with it."""
    found = []
    for channel_name, channel in channels.items():
        for offer in channel.offers:
            name = f"{offer.id}-v{offer.version}"
            told = {board: one.report for board, one in boards.items() if not one.revoked and one.report}
            steps = {board: report.get("outcomes", {}).get(name, "") for board, report in told.items()}
            failed = {
                board: str(told[board].get("refused", {}).get(name, step))
                for board, step in steps.items()
                if step in _FAILED
            }
            well = tuple(board for board, step in steps.items() if step in _WELL)
            kept = tuple(board for board, step in steps.items() if step == "kept")
            found.append(RollOut(offer.id, offer.version, channel_name, offer.percent, well, kept, failed))
    return found


class RollOuts:
    """The roll-outs of a repository, stopped when they fail. Any thread may call it."""

    def __init__(self, folder: Path, keys: SigningKeys, boards: Boards) -> None:
        self._repository, self._boards = Repository(folder, keys), boards
        self._lock = threading.Lock()
        self.wished: dict[str, str] = {}
        """Stops that could not be signed here, by the version's name: why."""

    def look(self) -> list[str]:
        """Stop what fails; the names of what was stopped now."""
        stopped = []
        with self._lock:
            channels = {name: self._repository.channel(name) for name in CHANNELS}
            for one in roll_outs(channels, self._boards.known()):
                if not one.is_staged or not one.fails or one.name in self.wished:
                    continue
                why = f"{len(one.failed)} of {len(one.failed) + len(one.well)} boards could not use it"
                try:
                    self._repository.halt(one.bundle, one.version)
                except PersLMError as error:
                    self.wished[one.name] = f"{why}: `perslm-host halt {one.bundle} {one.version}` ({error})"
                    log.warning("roll_out_fails name=%s stop=by_hand reason=%s", one.name, error)
                else:
                    log.warning("roll_out_stopped name=%s failed=%d", one.name, len(one.failed))
                    stopped.append(one.name)
        return stopped
