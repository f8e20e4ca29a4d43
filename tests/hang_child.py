"""`perslm run` with a language model whose native call ignores its stop, as where a driver or a disk hangs.

The engine is what production builds; "hang" in a question makes it sleep in its lane's thread, and "break" makes
it raise. How long a stop may be ignored is short.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from typing import Any

from perslm_daemon import app, engine_builds
from perslm_daemon.cli import main
from perslm_runtime.lane import Stop
from perslm_runtime.model import ChatModel

open_real = engine_builds.open_model


class Deaf(ChatModel):
    """Answers as the real one does, and hangs when it is asked to."""

    def reply(self, stop: Stop, text: str, max_tokens: int | None = None) -> Generator[Any, None, None]:
        if "hang" in text:
            print("hangs", flush=True)  # noqa: T201 - how the parent hears of it
            time.sleep(1000)
        if "break" in text:
            raise RuntimeError("ggml says no")
        yield from super().reply(stop, text, max_tokens)


def open_deaf(*args: Any, **named: Any) -> ChatModel:
    model = open_real(*args, **named)
    model.__class__ = Deaf
    return model


if __name__ == "__main__":
    engine_builds.open_model = open_deaf
    app._STOP_S = 0.5
    sys.argv[0] = "perslm"
    main()
