"""The configuration of tools: which there are, what they may touch, and whether a model may choose them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perslm_daemon.config_keys import (
    Choice,
    Choices,
    Hosts,
    Networks,
    OptionalLocation,
    Programs,
    Real,
    Whole,
    key,
)

FAMILIES = ("calculator", "clock", "notes", "lists", "timers", "memory", "home", "files", "web", "commands")


@dataclass(frozen=True, slots=True)
class Tools:
    """What can be done besides answering (docs/tools.md)."""

    enabled: tuple[str, ...] = key(
        FAMILIES,
        Choices(FAMILIES),
        "families of tools that there are; files, web and commands also need their key below",
    )
    model: str = key(
        "auto",
        Choice(("auto", "on", "off")),
        "let the model choose a tool where no sentence fits; auto: where it has proven to choose (docs/tools.md)",
    )
    folder: Path | None = key(
        None, OptionalLocation(), "the one folder whose files are read and written; none: no files"
    )
    hosts: tuple[str, ...] = key((), Hosts(), "hosts whose pages are read; none: nothing of the web")
    private: tuple[str, ...] = key(
        (), Networks(), "private networks that tools may reach as well, where their hosts lead there"
    )
    commands: tuple[str, ...] = key(
        (), Programs(), "programs that may be run after a yes; each alone, it can start no other"
    )
    seconds: float = key(10.0, Real(1, 120), "seconds that a sandboxed call may take")
    memory_mb: int = key(256, Whole(64, 4096), "megabytes of address space that a sandboxed call may have")
    approval_s: float = key(60.0, Real(5, 3600), "seconds that a question for a yes stands")
