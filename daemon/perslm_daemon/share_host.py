"""The training host as examples reach it: over its own port, with both certificates. Blocks.

A batch is cut so that a body stays small; each body is taken whole or not at all, and what the host has already it
takes again without keeping it twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perslm_daemon.config_sections import Config
from perslm_daemon.update_host import FOLDER, account_of
from perslm_runtime.errors import InputError

_BODY_BYTES = 48 << 10  # the host reads 64 KB


@dataclass(frozen=True, slots=True)
class Outcome:
    """The uids that the host has now, those it was told before are taken back, and its receipt."""

    taken: tuple[str, ...]
    withdrawn: tuple[str, ...]
    receipt: str


def address(config: Config) -> str:
    """Where the host is that this board enrolled with; "" where it did not."""
    try:
        return (config.data_dir / FOLDER / "url").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def send(config: Config, examples: Sequence[Mapping[str, Any]]) -> Outcome:
    """Send examples. Raises `FetchError` where the host is away and `InputError` without an account."""
    account = _account(config)
    taken: list[str] = []
    withdrawn: list[str] = []
    receipt = ""
    for part in _parts(examples):
        told = account.tell("/examples", {"examples": list(part)})
        taken += [str(uid) for uid in told.get("taken", ())]
        withdrawn += [str(uid) for uid in told.get("withdrawn", ())]
        receipt = str(told.get("receipt", ""))
    return Outcome(tuple(taken), tuple(withdrawn), receipt)


def withdraw(config: Config, uids: Sequence[str]) -> None:
    """Tell the host that these are taken back. Raises as `send`."""
    _account(config).tell("/withdraw", {"ids": list(uids)})


def _account(config: Config) -> Any:
    account = account_of(config)
    if account is None:
        raise InputError("this board knows no training host: `perslm sync enroll` makes it known to one")
    return account


def _parts(examples: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    part: list[Mapping[str, Any]] = []
    size = 0
    for one in examples:
        length = len(json.dumps(one))
        if part and size + length > _BODY_BYTES:
            yield part
            part, size = [], 0
        part.append(one)
        size += length
    if part:
        yield part
