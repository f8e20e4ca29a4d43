"""A key, vectors, every byte that a memory has on the disk; as a script, another process that holds a memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.memory import Memory

KEY = bytes(range(32))


def vector(seed: int) -> NDArray[np.float32]:
    row = np.random.default_rng(seed).standard_normal(384).astype(np.float32)
    return row / np.float32(np.linalg.norm(row))


def raw_bytes(path: Path) -> bytes:
    files = (path.with_name(path.name + end) for end in ("", "-wal", "-shm"))
    return b"".join(file.read_bytes() for file in files if file.exists())


@contextmanager
def other_process(path: Path, what: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the memory open ("open") or locked for writing ("write")."""
    command = [sys.executable, __file__, str(path), what]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, env=environment, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
        child.kill()


def hold(path: Path, what: str) -> None:
    """Open the memory, lock it for writing if asked to, and keep it until killed."""
    memory = Memory(path)
    if what == "write":
        memory._database._connection.execute("BEGIN IMMEDIATE")
    print("held", flush=True)  # noqa: T201 - how the parent hears of it
    sys.stdin.read()


if __name__ == "__main__":
    hold(Path(sys.argv[1]), sys.argv[2])
