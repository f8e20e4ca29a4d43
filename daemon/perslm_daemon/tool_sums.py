"""Sums, as a sandboxed tool: what somebody or a model wrote is parsed and computed in the child alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perslm_daemon.tool_world import World
from perslm_runtime.calculator import calculate


def compute(arguments: Mapping[str, Any], _world: World) -> dict[str, Any]:
    """What an expression comes to. Raises `InputError` where it is none, or too large."""
    found = calculate(str(arguments["expression"]))
    return {"text": found.said(), "data": {"exact": found.exact}}
