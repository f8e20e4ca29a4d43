"""The door to llama.cpp: the only importer of `llama_cpp`, and what it says on its way out.

Sets how OpenMP waits before the library is loaded, and keeps the last native messages for error texts. What is
done with the library is in llama.py and llama_grammar.py.
"""

from __future__ import annotations

import collections
import ctypes
import os

from perslm_runtime.llama_variant import use_best_variant

# llama.cpp's threads meet at a barrier hundreds of times per token. OpenMP lets them spin there (for milliseconds)
# or sleep. Measured on two cores, tokens per second idle / with one core taken by another process: spinning
# 142 / 32, and at times a 213-token prefill took 9 s; sleeping at once 42 / 40; spinning 1,000 times and then
# sleeping 121 / 35. Read when libgomp is loaded, so it is set before the import.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

use_best_variant()

import llama_cpp as c  # noqa: E402 - the variant is chosen before its library is loaded

__all__ = ["BINDING_VERSION", "c", "last_words"]

BINDING_VERSION: str = c.__version__
_recent_log: collections.deque[str] = collections.deque(maxlen=12)


@c.llama_log_callback  # type: ignore[untyped-decorator]  # ctypes.CFUNCTYPE has no types
def _keep_log(_level: int, text: bytes, _user_data: object) -> None:
    """Keep the last native messages for error texts instead of writing on the user's terminal."""
    line = text.decode("utf-8", "replace").strip()
    if len(line) > 1:
        _recent_log.append(line)


c.llama_log_set(_keep_log, ctypes.c_void_p(0))


def last_words() -> str:
    """The last native messages, for an error's text."""
    return "; ".join(list(_recent_log)[-3:]) or "llama.cpp gave no reason"
