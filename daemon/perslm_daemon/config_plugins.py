"""The configuration of plug-ins: which are enabled, where their settings are, and what each may use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from perslm_daemon.config_keys import OptionalLocation, Real, Text, Whole, key

_NAME = Text(r"([a-z][a-z0-9_]{0,30})?", "the name of a plug-in")


@dataclass(frozen=True, slots=True)
class NameList:
    """A list of plug-ins, each at most once; as text they are separated by commas."""

    allowed = "names of a-z, 0-9 and _, or mcp.NAME, with commas between"

    def read(self, raw: object, base: Path) -> tuple[str, ...]:
        """Accept a TOML array of them, or a string with commas."""
        words = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError
        found = tuple(word.strip() for word in words if word.strip())
        if len({*found}) != len(found) or not all(
            re.fullmatch(r"(mcp\.)?[a-z][a-z0-9_]{0,30}", one) for one in found
        ):
            raise ValueError
        return found

    def parse(self, text: str, base: Path) -> tuple[str, ...]:
        """Accept names separated by commas; empty text is the empty list."""
        return self.read(text, base)


@dataclass(frozen=True, slots=True)
class Plugins:
    """Plug-ins, connectors and MCP servers (docs/plugins.md, docs/connectors.md)."""

    enabled: tuple[str, ...] = key(
        (), NameList(), "the plug-ins that run, and MCP servers as mcp.NAME; being installed starts none"
    )
    file: Path | None = key(
        None, OptionalLocation(), "the file with their settings, a table for each; none: plugins.toml in data_dir"
    )
    call_s: float = key(20.0, Real(1, 300), "seconds that a plug-in may take for one call before it is ended")
    idle_s: float = key(300.0, Real(0, 86_400), "seconds after its last call until a plug-in's process is ended")
    memory_mb: int = key(384, Whole(128, 8192), "megabytes of address space that a plug-in's process may have")
    hears: str = key(
        "", _NAME, "the plug-in that recognizes speech in place of the engine of stt; none: that engine"
    )
    speaks: str = key("", _NAME, "the plug-in that speaks in place of the voice of tts; none: that voice")
    wakes: str = key("", _NAME, "the plug-in that hears wake words in place of those of wake; none: those")
    embeds: str = key(
        "", _NAME, "the plug-in that gives texts their vectors in place of the model of embed; none: that model"
    )
    replies: str = key(
        "",
        _NAME,
        "the plug-in that answers in place of the language model, which stays beside it; none: that model",
    )
