"""A key, vectors, and every byte that a memory has on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KEY = bytes(range(32))


def vector(seed: int) -> NDArray[np.float32]:
    row = np.random.default_rng(seed).standard_normal(384).astype(np.float32)
    return row / np.float32(np.linalg.norm(row))


def raw_bytes(path: Path) -> bytes:
    files = (path.with_name(path.name + end) for end in ("", "-wal", "-shm"))
    return b"".join(file.read_bytes() for file in files if file.exists())
