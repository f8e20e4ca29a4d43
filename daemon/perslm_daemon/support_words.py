"""What of a line may leave the board: the words PersLM itself put there, and nothing anybody else did.

A sentence of ours is filled with names, addresses, errors of libraries. So only what stands in the source of the
module that wrote it passes; every other word becomes "…". It knows no files but sources.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

GONE = "…"
_WORD = re.compile(r"[A-Za-z][A-Za-z'_-]*")
_NUMBER = re.compile(r"-?\d{1,9}(\.\d{1,6}){0,2}(%|MB|GB|ms|s|C)?")
_FIELD = re.compile(r'(?<!\S)(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
_SETTLED = re.compile(r"true|false|null|-?\d{1,12}(\.\d{1,9})?(e[+-]?\d{1,3})?|[0-9A-HJKMNP-TV-Z]{26}")
_LINE = re.compile(r"(?P<when>\S+) (?P<level>debug|info|warning|error|critical) (?P<rest>.*)", re.DOTALL)
_FRAME = re.compile(
    r'^\s*File "(?:.*?/)??((?:perslm_[a-z_]+/)?[A-Za-z0-9_]+\.py)", line (\d+), in ([A-Za-z_<][A-Za-z0-9_>]*)$'
)
_RAISED = re.compile(r"^([A-Za-z_][A-Za-z0-9_.]*(?:Error|Exception|Interrupt|Refused|Exit|Group))(?::|$)")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the writer of a line may have written: its words, and the names that are one of a fixed set."""

    words: frozenset[str]
    names: frozenset[str] = frozenset()

    def line(self, text: str) -> str:
        """A sentence with its own words and figures. Addresses, names and what people said become "…"."""
        return _joined(self._token(token, numbers=True) for token in text.split())

    def log(self, text: str) -> str:
        """A line of the log: time, level, our words; of its fields the figures, turn ids and fixed names."""
        found = _LINE.fullmatch(text)
        head = f"{found['when']} {found['level']} " if found and _is_time(found["when"]) else ""
        rest = found["rest"] if found and head else text
        fields = [
            f"{name}={value if self._settled(value) else GONE}"
            for name, value in _FIELD.findall(rest)
            if name in self.words
        ]
        said = (self._token(token, numbers=False) for token in _FIELD.sub("", rest).split())
        return head + " ".join(part for part in (_joined(said), *fields) if part)

    def _settled(self, value: str) -> bool:
        return bool(_SETTLED.fullmatch(value)) or value in self.names

    def _token(self, token: str, *, numbers: bool) -> str:
        bare = token.strip("()[]`'\".,;:!?")
        if bare in self.names or (numbers and _NUMBER.fullmatch(bare)):
            return token
        pieces = _WORD.findall(bare)
        known = (
            pieces
            and _WORD.sub("", bare).strip("/-") == ""
            and all(piece.lower() in self.words for piece in pieces)
        )
        return token if known or not bare else GONE


def words_of(sources: Iterable[Path]) -> frozenset[str]:
    """Every word in the strings and the keyword names of Python files, in lower case; a file that is not there has
    none."""
    found: set[str] = set()
    for path in sources:
        if not path.is_file():
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(word.lower() for word in _WORD.findall(node.value))
            elif isinstance(node, ast.keyword) and node.arg is not None:
                found.add(node.arg.lower())
    return frozenset(found)


def log_words(sources: Iterable[Path]) -> frozenset[str]:
    """Only the words that calls of a log take as their text or as the names of their fields."""
    found: set[str] = set()
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _is_log(node.func):
                for argument in (*node.args[:2], *(word.value for word in node.keywords)):
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        found.update(word.lower() for word in _WORD.findall(argument.value))
                found.update(word.arg.lower() for word in node.keywords if word.arg is not None)
    return frozenset(found)


def _is_log(function: ast.expr) -> bool:
    match function:
        case ast.Name(id="event"):
            return True
        case ast.Attribute(value=ast.Name(id="log"), attr="debug" | "info" | "warning" | "error" | "exception"):
            return True
        case _:
            return False


def traceback_lines(text: str) -> list[str]:
    """Where a bug happened and its kind: file, line and function of each frame. No message, no source line."""
    kept = []
    for line in text.splitlines():
        if frame := _FRAME.match(line):
            kept.append(f"{frame[1]}:{frame[2]} {frame[3]}")
        elif raised := _RAISED.match(line.strip()):
            kept.append(raised[1])
    return kept


def plain(value: object, names: frozenset[str]) -> object:
    """A structure with its figures, switches and fixed names; every other text becomes its length."""
    match value:
        case dict():
            return {key: plain(each, names) for key, each in value.items()}
        case list() | tuple():
            return [plain(each, names) for each in value]
        case str():
            return value if value in names or value == "" else f"({len(value)} characters)"
        case bool() | int() | float() | None:
            return value
        case _:
            return f"({type(value).__name__})"


def as_json(value: object) -> str:
    """JSON for people."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _is_time(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9T:.+Z-]{10,40}", text))


def _joined(tokens: Iterable[str]) -> str:
    kept: list[str] = []
    for token in tokens:
        if token != GONE or kept[-1:] != [GONE]:
            kept.append(token)
    return " ".join(kept)
