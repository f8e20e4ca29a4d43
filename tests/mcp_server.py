"""A small MCP server, written with the package mcp as anybody's is: notes in a file, over stdio or HTTP."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mcp.server import MCPServer

server = MCPServer("notes")
FILE = Path(os.environ.get("NOTES", "notes.txt"))


@server.tool()
def list_notes(contains: str = "") -> str:
    """All notes, or those that have a word."""
    lines = FILE.read_text().splitlines() if FILE.is_file() else []
    return "\n".join(line for line in lines if contains in line) or "there are none"


@server.tool()
def addNote(text: str, howOften: int = 1) -> str:  # noqa: N802, N803 - other people's names are as they are
    """Write a note down."""
    with FILE.open("a") as file:
        file.write(f"{text}\n" * howOften)
    return f"noted: {text}"


@server.tool()
def add_numbers(first: float, second: float) -> dict[str, float]:
    """Two numbers together."""
    return {"sum": first + second}


@server.tool()
def look_outside(path: str) -> str:
    """Read any file."""
    return Path(path).read_text()[:100]


@server.tool()
def fail() -> str:
    """Go wrong."""
    raise ValueError("this went wrong")


@server.tool()
def end() -> str:
    """End the server."""
    os._exit(3)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")
