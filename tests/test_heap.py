"""Large blocks go back to the system when they are freed; the environment keeps the last word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A freed block of 16 MB would raise glibc's limit, and the next one would come from a heap that keeps it.
MEASURE = """
import ctypes, sys
from perslm_runtime.heap import give_back_large_blocks
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
settled = give_back_large_blocks()
size = 16 << 20
c.free(c.malloc(size))
before, blocks = held(), [c.malloc(size) for _ in range(6)]
for block in blocks:
    ctypes.memset(block, 1, size)
for block in blocks[:-1]:
    c.free(block)
print(settled, (held() - before) >> 20)
"""

# Blocks that come from a heap, each below one that stays.
SMALL = """
import ctypes
from perslm_runtime.heap import give_back_free_pages, give_back_large_blocks
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
give_back_large_blocks()
size, before = 5 << 20, held()
blocks = []
for _ in range(12):
    blocks.append(c.malloc(size))
    ctypes.memset(blocks[-1], 1, size)
    c.malloc(100_000)
for block in blocks:
    c.free(block)
kept = (held() - before) >> 20
print(give_back_free_pages(), kept, (held() - before) >> 20)
"""


def measured(**environ: str) -> tuple[str, int]:
    told = subprocess.run(
        [sys.executable, "-c", MEASURE],
        env={**os.environ, "PYTHONPATH": str(ROOT / "runtime"), **environ},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return told[0], int(told[1])


def test_freed_blocks_are_the_systems_again() -> None:
    settled, held_mb = measured()
    assert settled == "True"
    assert held_mb < 24, "one block of 16 MB is still in use"


def test_without_it_they_are_kept_and_the_environment_decides_alone() -> None:
    settled, held_mb = measured(MALLOC_MMAP_THRESHOLD_="33554432")
    assert settled == "False"
    assert held_mb > 60, "the control: freed blocks below the last one stay"


def test_what_a_heap_keeps_is_the_systems_again_when_it_is_asked_for() -> None:
    argv = [sys.executable, "-c", SMALL]
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "runtime")}
    given, kept_mb, left_mb = subprocess.run(
        argv, env=environ, capture_output=True, text=True, check=True
    ).stdout.split()
    assert given == "True"
    assert int(kept_mb) > 50, "the control: the heap keeps what was freed"
    assert int(left_mb) < 5
