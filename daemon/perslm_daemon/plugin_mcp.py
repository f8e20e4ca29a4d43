"""What a person declares of an MCP server: how it is started or reached, and what each of its tools may do.

A tool that is not declared is not taken, and what a server says of itself grants nothing. Pure; reads the files
that hold secrets, speaks to no server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from perslm_daemon.plugin_settings import host_of
from perslm_daemon.plugin_wire import SentenceShape, Shape, ToolShape, plain_name
from perslm_runtime.errors import ConfigError

MCP_PROGRAM = ("-P", "-m", "perslm_daemon.mcp_child")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[mcp.NAME] as it stands in the file."""

    command: list[str] = []
    url: str = ""
    reads: list[str] = []
    changes: list[str] = []
    asks: list[str] = []
    questions: dict[str, str] = {}
    sentences: dict[str, list[str]] = {}
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    headers: dict[str, str] = {}
    readable: list[str] = []
    memory_mb: int = 0


@dataclass(frozen=True, slots=True)
class Server:
    """A declared server. `headers` and `env` have the secrets in them."""

    name: str
    command: tuple[str, ...]
    url: str
    hosts: tuple[str, ...]
    reads: frozenset[str]
    changes: frozenset[str]
    asks: frozenset[str]
    questions: Mapping[str, str]
    sentences: Mapping[str, tuple[str, ...]]
    env: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    readable: tuple[str, ...] = ()
    memory_mb: int = 0

    def for_child(self) -> dict[str, Any]:
        """What the process that speaks to it is told."""
        return {
            "command": list(self.command),
            "url": self.url,
            "env": dict(self.env),
            "headers": dict(self.headers),
            "readable": list(self.readable),
        }

    def governed(self, shape: Shape) -> Shape:
        """What a server brings, as far as it was declared, under the policy that was declared."""
        wanted = self.reads | self.changes | self.asks
        if missing := wanted - {tool.name for tool in shape.tools}:
            raise ConfigError(f"the MCP server {self.name} has no tool {', '.join(sorted(missing))}")
        tools = tuple(self._tool(tool) for tool in shape.tools if tool.name in wanted)
        return msgspec.structs.replace(shape, tools=tools, watches=False, hears=False, speaks=False)

    def _tool(self, tool: ToolShape) -> ToolShape:
        changes = tool.name in self.changes | self.asks
        patterns = self.sentences.get(tool.name, ())
        question = self.questions.get(tool.name) or (f"use {tool.name} of {self.name}" + _arguments(tool))
        return msgspec.structs.replace(
            tool,
            reads=(f"mcp {self.name}"[:24],),
            changes=(f"mcp {self.name}"[:24],) if changes else (),
            question=question if changes else "",
            asks=tool.name in self.asks,
            untrusted=True,
            sends=bool(self.url),
            sentences=(SentenceShape(patterns, {}),) if patterns else (),
            offered=True,
        )


def _arguments(tool: ToolShape) -> str:
    said = ", ".join(f"{one.name} {{{one.name}}}" for one in tool.arguments if one.needed)
    return f" with {said}" if said else ""


def mcp_settings(name: str, table: Mapping[str, Any], base: Path) -> Server:
    """A declared server, checked; paths start from `base`. Reads secrets' files; raises `ConfigError`."""
    where = f"[mcp.{name}] of the plug-in settings"
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: a name of a-z, 0-9 and _ can be used")
    try:
        read = msgspec.convert(table, _Table)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from error
    if bool(read.command) == bool(read.url):
        raise ConfigError(f"{where}: give either `command`, a list of the program and its words, or `url`")
    if read.command and not Path(read.command[0]).is_absolute():
        raise ConfigError(f"{where}: the program is a whole path, such as /usr/bin/node")
    hosts: tuple[str, ...] = ()
    if read.url:
        try:
            hosts = (host_of(read.url),)
        except ValueError as error:
            raise ConfigError(f"{where}: {read.url!r} is no address") from error
        if urlsplit(read.url).scheme not in ("http", "https"):
            raise ConfigError(f"{where}: an MCP server is reached by http or https")
    if not read.reads and not read.changes and not read.asks:
        raise ConfigError(f"{where}: name the tools that are wanted under `reads`, `changes` or `asks`")
    secrets = {key: _secret(where, key, base / Path(file).expanduser()) for key, file in read.secrets.items()}
    words = [word for word in read.command if word.startswith("/")]
    return Server(
        name,
        tuple(read.command),
        read.url,
        hosts,
        frozenset(map(plain_name, read.reads)),
        frozenset(map(plain_name, read.changes)),
        frozenset(map(plain_name, read.asks)),
        {plain_name(tool): question for tool, question in read.questions.items()},
        {plain_name(tool): tuple(lines) for tool, lines in read.sentences.items()},
        {**read.env, **({} if read.url else secrets)},
        {**read.headers, **(secrets if read.url else {})},
        tuple(str((base / Path(one).expanduser()).absolute()) for one in [*read.readable, *words]),
        read.memory_mb,
    )


def _secret(where: str, key: str, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{where}: the file of the secret {key} cannot be read ({type(error).__name__})"
        ) from None
