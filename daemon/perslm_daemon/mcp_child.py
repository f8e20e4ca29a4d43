"""The process between the daemon and one MCP server: its tools as a plug-in's, its answers as text.

The door to the package mcp. A server that is a program runs in a sandbox of its own, without network, and this
process in another; one at an address is reached through the daemon, which dials that machine and no other.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread

from perslm_daemon import plugin_wire as wire
from perslm_daemon.tool_world import World, route_sockets
from perslm_runtime.errors import PersLMError
from perslm_runtime.sandbox import Policy, enter

_CPU_S = 600.0
_MOST_TEXT, _MOST_ABOUT, _MOST_TOOLS = 8000, 300, 32
_MOST_LINE = 4_000_000
_BIGGEST = 10**12
_START_S = 45.0


def main() -> None:
    """Serve the daemon until it closes our standard input; the channel for connections is the first argument."""
    into = os.fdopen(os.dup(0), "rb")
    out = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    body = wire.read_frame(into)
    if body is None:
        return
    begin = wire.asked_of(body)
    if not isinstance(begin, wire.Begin):
        return
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        try:
            pipes = _started(begin, (into.fileno(), out.fileno(), channel.fileno()))
            from mcp import Client  # noqa: F401, PLC0415 - what it reads of its own lies outside the sandbox

            enter(Policy(Path(begin.folder), memory_mb=begin.memory_mb, seconds=_CPU_S))
        except (PersLMError, OSError, ImportError) as error:
            said = (
                f"mcp is not installed: run `pip install 'perslm[mcp]'` ({error.name})"
                if isinstance(error, ImportError)
                else str(error)
            )
            _send(out, wire.Wrong(said, told=True))
            return
        if begin.reaches:
            route_sockets(World(channel, Path(begin.folder)))
        anyio.run(_serve, begin, pipes, into, out)


def _started(begin: wire.Begin, ours: tuple[int, ...]) -> tuple[int, int] | None:
    """Start the server's program in its sandbox; the ends of its pipes to read and write, None for an address."""
    command = list(begin.settings["command"])
    if not command:
        return None
    if not os.access(command[0], os.X_OK):
        raise FileNotFoundError(f"the program {command[0]} is not there or cannot be run")
    from_server, to_us = os.pipe()
    from_us, to_server = os.pipe()
    if os.fork() == 0:
        try:
            os.dup2(from_us, 0)
            os.dup2(to_us, 1)
            for handle in {*ours, from_server, to_us, from_us, to_server} - {0, 1, 2}:
                os.close(handle)
            readable = tuple(map(Path, begin.settings["readable"]))
            policy = Policy(
                Path(begin.folder),
                writes=True,
                readable=readable,
                program=Path(command[0]),
                memory_mb=begin.memory_mb,
                seconds=_CPU_S,
            )
            enter(policy)
            environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": begin.folder}
            os.execve(command[0], command, {**environment, **begin.settings["env"]})
        finally:
            os._exit(127)
    os.close(to_us)
    os.close(from_us)
    return from_server, to_server


async def _serve(begin: wire.Begin, pipes: tuple[int, int] | None, into: BinaryIO, out: BinaryIO) -> None:
    try:
        with anyio.fail_after(_START_S) as starting:
            async with _client(begin, pipes) as client:
                found = (await client.list_tools()).tools
                starting.deadline = float("inf")
                bridge = _Bridge(begin.name, client, found)
                await anyio.to_thread.run_sync(_send, out, bridge.shape())
                while (body := await anyio.to_thread.run_sync(wire.read_frame, into)) is not None:
                    said = await bridge.answer(wire.asked_of(body))
                    await anyio.to_thread.run_sync(_send, out, said)
                    if isinstance(said, wire.Wrong) and said.ends:
                        break
                os._exit(0)  # the daemon or the server is gone: there is nobody to take leave of
    except Exception as error:  # noqa: BLE001 - a server may answer anything
        await anyio.to_thread.run_sync(
            _send, out, wire.Wrong(f"the MCP server {begin.name}: {_why(error)}", told=True, ends=True)
        )


def _why(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return "it does not answer" if isinstance(error, TimeoutError) else f"no connection ({type(error).__name__})"


@asynccontextmanager
async def _client(begin: wire.Begin, pipes: tuple[int, int] | None) -> AsyncIterator[Any]:
    from mcp import Client  # noqa: PLC0415 - read before the sandbox was entered
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415 - as above

    if pipes is not None:
        async with Client(_lines(*pipes)) as client:
            yield client
        return
    import httpx2  # noqa: PLC0415 - mcp's own client

    async with (
        httpx2.AsyncClient(headers=begin.settings["headers"], timeout=60.0, trust_env=False) as web,
        Client(streamable_http_client(begin.settings["url"], http_client=web)) as client,
    ):
        yield client


@asynccontextmanager
async def _lines(from_server: int, to_server: int) -> AsyncIterator[Any]:
    """A server's pipes as the two streams that a client speaks over: one JSON message a line."""
    from mcp.shared.message import SessionMessage  # noqa: PLC0415 - as above
    from mcp_types import jsonrpc_message_adapter  # noqa: PLC0415 - as above

    heard, read = anyio.create_memory_object_stream[Any](0)
    write, said = anyio.create_memory_object_stream[Any](0)
    source, sink = os.fdopen(from_server, "rb"), os.fdopen(to_server, "wb")

    async def listen() -> None:
        async with heard:
            while line := await anyio.to_thread.run_sync(source.readline, _MOST_LINE, abandon_on_cancel=True):
                try:
                    message = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                except ValueError as error:
                    message = error
                await heard.send(message)

    async def speak() -> None:
        async for message in said:
            line = message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
            await anyio.to_thread.run_sync(_write, sink, line)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        tasks.start_soon(speak)
        yield read, write
        tasks.cancel_scope.cancel()


def _write(sink: BinaryIO, line: bytes) -> None:
    sink.write(line)
    sink.flush()


def _send(out: BinaryIO, said: wire.Said) -> None:
    out.write(wire.frame(said))
    out.flush()


class _Bridge:
    """A connected server's tools under names of ours."""

    def __init__(self, name: str, client: Any, tools: list[Any]) -> None:
        self._name, self._client = name, client
        self._tools: dict[str, tuple[Any, dict[str, tuple[str, str]]]] = {}
        self._shapes: list[wire.ToolShape] = []
        for tool in tools[:_MOST_TOOLS]:
            shape, arguments = _shape_of(tool)
            if shape is not None and shape.name not in self._tools:
                self._shapes.append(shape)
                self._tools[shape.name] = (tool, arguments)

    def shape(self) -> wire.Shape:
        """What the server brings, as it says itself."""
        info = self._client.server_info
        version = "" if info is None else str(info.version)[:40]
        return wire.Shape(self._name, "an MCP server", version, tuple(self._shapes), (), False, 0.0, False, False)

    async def answer(self, asked: wire.Asked) -> wire.Said:
        """Call a tool."""
        if not isinstance(asked, wire.Call) or asked.tool not in self._tools:
            return wire.Wrong(f"the MCP server {self._name} cannot do that", told=True)
        tool, known = self._tools[asked.tool]
        given = {known[name][0]: _value(known[name][1], value) for name, value in asked.arguments.items()}
        try:
            result = await self._client.call_tool(tool.name, given)
        except Exception as error:  # noqa: BLE001 - as above
            return wire.Wrong(f"the MCP server {self._name} failed ({type(error).__name__})", told=True, ends=True)
        text = "\n".join(str(one.text) for one in result.content if getattr(one, "text", None))
        if not text and result.structured_content is not None:
            text = json.dumps(result.structured_content, ensure_ascii=False)
        text = text[:_MOST_TEXT] or "It is done, and nothing was answered."
        if result.is_error:
            return wire.Wrong(f"the MCP server {self._name} says: {text[:300]}", told=True)
        data = result.structured_content if isinstance(result.structured_content, dict) else {}
        return wire.Answered(text, data, None)


def _shape_of(tool: Any) -> tuple[wire.ToolShape | None, dict[str, tuple[str, str]]]:
    """A tool as a plug-in's, and each argument's own name and type; None where it needs what cannot be given."""
    schema: Mapping[str, Any] = tool.input_schema if isinstance(tool.input_schema, dict) else {}
    needed = set(schema.get("required", ()))
    arguments: list[wire.ArgumentShape] = []
    names: dict[str, tuple[str, str]] = {}
    for theirs, rule in dict(schema.get("properties", {})).items():
        one = _argument(str(theirs), rule if isinstance(rule, dict) else {}, theirs in needed)
        if one is None or one.name in names:
            if theirs in needed:
                return None, {}
            continue
        arguments.append(one)
        names[one.name] = (str(theirs), str(rule.get("type", "string")))
    about = " ".join(str(tool.description or tool.name).split())[:_MOST_ABOUT]
    name = wire.plain_name(tool.name)
    return (wire.ToolShape(name, about, tuple(arguments)) if name else None), names


def _argument(theirs: str, rule: Mapping[str, Any], needed: bool) -> wire.ArgumentShape | None:
    name, about = wire.plain_name(theirs), " ".join(str(rule.get("description", "")).split())[:_MOST_ABOUT]
    kind = rule.get("type", "string")
    options = tuple(str(one) for one in rule.get("enum", ()) if isinstance(one, str))
    if not name:
        return None
    if kind == "string" and options:
        return wire.ArgumentShape(name, "choice", about, needed, options, 0, 0)
    if kind == "integer":
        least, most = rule.get("minimum"), rule.get("maximum")
        least = least if isinstance(least, int) else -_BIGGEST + 1
        most = most if isinstance(most, int) else _BIGGEST - 1
        return wire.ArgumentShape(
            name, "whole", about, needed, (), max(least, -_BIGGEST + 1), min(most, _BIGGEST - 1)
        )
    if kind == "boolean":
        return wire.ArgumentShape(name, "switch", about, needed, (), 0, 0)
    if kind in ("string", "number"):
        return wire.ArgumentShape(name, "text", about, needed, (), 0, 0)
    return None


def _value(kind: str, value: Any) -> Any:
    if kind != "number":
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


if __name__ == "__main__":
    main()
