"""The whole daemon as a process of its own, online, for tests of what a home sees of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from real_models import models_dir, with_heads

COMMAND = [sys.executable, "-c", "from perslm_daemon.cli import main; main()", "--json", "run", "--profile", "dev"]


def settings_of(broker: str, **more: str) -> list[str]:
    """The command line's settings of a node "kitchen" without voice; `more` are keys with __ for the dot."""
    settings = {
        "mqtt.broker": broker,
        "models_dir": str(models_dir()),
        "node": "kitchen",
        "voice.enabled": "false",
        "embed.enabled": "false",
        "discovery.enabled": "false",
        "model.max_reply_tokens": "24",
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


@contextmanager
def daemon(
    folder: Path,
    broker: str,
    environ: dict[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    **more: str,
) -> Iterator[subprocess.Popen[str]]:
    """A node "kitchen" without voice; `more` are configuration keys with __ for the dot. Killed at the end."""
    with subprocess.Popen(
        [*command, "--data-dir", str(with_heads(folder)), *settings_of(broker, **more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environ or {})},
    ) as child:
        assert child.stdout is not None
        online = json.loads(child.stdout.readline())
        assert online["state"] == "online"
        try:
            yield child
        finally:
            child.kill()
