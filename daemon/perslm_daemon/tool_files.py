"""Files in one folder, as a sandboxed tool: listed, read, written anew, added to, removed.

Runs in the child. That nothing outside the folder is reached is Landlock's to see to, links and races included;
what is checked here is only there for a better sentence.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perslm_daemon.tool_world import ToolError, World
from perslm_runtime.documents import SUFFIXES, read_document
from perslm_runtime.errors import InputError

_MOST_LISTED = 200
_MOST_BYTES = 2 << 20
_MOST_FILES = 2000


def listed(_arguments: Mapping[str, Any], world: World) -> dict[str, Any]:
    """The names of the files, with their sizes."""
    folder = _folder(world)
    names = sorted(str(path.relative_to(folder)) for path in _files(folder))
    if not names:
        return {"text": "There are no files."}
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return {
        "text": f"{', '.join(names[:_MOST_LISTED])}{more}",
        "source": "file names",
        "data": {"count": len(names)},
    }


def read(arguments: Mapping[str, Any], world: World) -> dict[str, Any]:
    """The text of one file; of pages, PDFs, calendars and contacts what is readable in them."""
    path = _path(arguments["file"], world)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ToolError(f"the file is larger than {_MOST_BYTES >> 20} MB")
        if path.suffix.lower() in SUFFIXES - {".txt", ".text", ".md", ".markdown"}:
            text = "\n".join(piece.text for piece in read_document(path))
        else:
            text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ToolError("there is no such file") from None
    except UnicodeDecodeError:
        raise ToolError("that is no text file") from None
    except InputError as error:
        raise ToolError(str(error)) from error
    except OSError as error:
        raise ToolError(f"it cannot be read ({error.strerror})") from error
    return {"text": text, "source": str(arguments["file"])}


def write(arguments: Mapping[str, Any], world: World) -> str:
    """Make a new file. One that is there already stays as it is."""
    path = _path(arguments["file"], world)
    if sum(1 for _ in _files(_folder(world))) >= _MOST_FILES:
        raise ToolError(f"there are {_MOST_FILES} files already")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as out:
            out.write(f"{arguments['text']}\n")
            out.flush()
            os.fsync(out.fileno())
    except FileExistsError:
        raise ToolError("there is a file of this name already: add to it instead") from None
    except OSError as error:
        raise ToolError(f"it cannot be written ({error.strerror})") from error
    return "The file is written."


def append(arguments: Mapping[str, Any], world: World) -> str:
    """Add a line to a file that is there."""
    path = _path(arguments["file"], world)
    try:
        with path.open("r+", encoding="utf-8") as out:
            out.seek(0, os.SEEK_END)
            out.write(f"{arguments['text']}\n")
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise ToolError(f"it cannot be written ({error.strerror})") from error
    return "It is added."


def remove(arguments: Mapping[str, Any], world: World) -> str:
    """Remove one file for good."""
    try:
        _path(arguments["file"], world).unlink()
    except OSError as error:
        raise ToolError(f"it cannot be removed ({error.strerror})") from error
    return "The file is removed."


def _folder(world: World) -> Path:
    if world.folder is None:
        raise ToolError("there is no folder: set tools.folder")
    return world.folder


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if not name.startswith(".")]
        if len(found) > _MOST_FILES:
            break
    return found


def _path(name: object, world: World) -> Path:
    """The file of a name; whatever its case where only one fits."""
    said = Path(str(name).strip())
    if said.is_absolute() or ".." in said.parts or any(part.startswith(".") for part in said.parts):
        raise ToolError("say only the name of a file in the folder")
    folder = _folder(world)
    path = folder / said
    if not path.exists():
        same = [one for one in _files(folder) if str(one.relative_to(folder)).lower() == str(said).lower()]
        path = same[0] if len(same) == 1 else path
    return path
