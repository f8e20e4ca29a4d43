"""Telling a long job from a hang, and leaving a process that holds one.

A native call that ignores its stop cannot be ended from outside: only the process can, without waiting for it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NoReturn

from perslm_runtime.errors import LaneHung
from perslm_runtime.lane import Lane


def find_hang(lanes: Iterable[Lane[Any]], *, silent_s: float) -> LaneHung | None:
    """The first lane that hangs, as the error to end with; None when all is well. Call it every second or so.

    A job that has made no progress for `silent_s` is told to stop; one that was told to stop longer ago than its
    lane allows, by this or by anybody, and still runs, hangs. `silent_s` has to be longer than the longest native
    call: one STT window, one batch of the prompt, one sentence of the voice. An engine that is built anew may take
    the lane's `build_s`.
    """
    for lane in lanes:
        if lane.silent_s > silent_s:
            lane.interrupt()
        if lane.hung():
            return lane.hang_error()
    return None


def leave_without_joining(error: LaneHung) -> NoReturn:
    """End the process now with `error.exit_code`, joining no thread and running no exit handler.

    For the process top alone, after `offline` was published: the interpreter's own way out, and the destructors of
    native libraries, would wait for the thread that hangs, or crash beside it. Flushes the logs and the streams.
    """
    for handler in logging.getLogger().handlers:
        with suppress(Exception):
            handler.flush()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(error.exit_code)
