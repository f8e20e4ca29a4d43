"""Tools that misbehave without trying to get out: they never end, die, flood, answer nonsense, or ask too much.

What leads out of the sandbox is the product's own list, perslm_daemon.sandbox_acts.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any


def spin(_arguments: Mapping[str, Any], _world: Any) -> str:
    while True:
        pass


def sleep(_arguments: Mapping[str, Any], _world: Any) -> str:
    time.sleep(60)
    return "slept"


def dies(_arguments: Mapping[str, Any], _world: Any) -> str:
    os._exit(7)


def fails(_arguments: Mapping[str, Any], _world: Any) -> str:
    raise KeyError("a secret word")


def floods(_arguments: Mapping[str, Any], _world: Any) -> str:
    return "x" * 10_000_000


def says_nothing_sensible(_arguments: Mapping[str, Any], _world: Any) -> Any:
    return {"text": 5}


def says_its_file(arguments: Mapping[str, Any], world: Any) -> dict[str, str]:
    """A tool of somebody else, whose answer is what strangers wrote."""
    return {"text": (world.folder / arguments["file"]).read_text(encoding="utf-8"), "source": "weather service"}


def fetch(arguments: Mapping[str, Any], _world: Any) -> str:
    """With the library everybody uses, which knows nothing of the sandbox."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{arguments['port']}/", timeout=5) as answer:
        return str(answer.read().decode())


def asks(arguments: Mapping[str, Any], world: Any) -> str:
    """A tool that was taken over: it sends the daemon these errands, and says what came back for each."""
    came = []
    for errand in json.loads(arguments["errands"]):
        world.tell({"errand": errand})
        came.append(world.channel.recv(1 << 17).decode())
    return "|".join(came)


def asks_and_listens_to_nothing(arguments: Mapping[str, Any], world: Any) -> str:
    while True:
        world.tell(json.loads(arguments["errands"]))


def asks_and_dies(arguments: Mapping[str, Any], world: Any) -> str:
    world.tell({"errand": json.loads(arguments["errands"])[0]})
    os._exit(7)
