"""The configuration of updates: whose models this board takes, how often it looks, and when it takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perslm_daemon.config_keys import Choice, OptionalLocation, Real, Switch, Text, Whole, key

_ADDRESSES = Text(r"(https?://[^\s,]+( *, *https?://[^\s,]+){0,9})?", "https:// addresses with commas between")


@dataclass(frozen=True, slots=True)
class Sync:
    """Signed models from a training host (docs/updates.md)."""

    mirrors: str = key(
        "", _ADDRESSES, "where the host's repository is served, with commas between; none: no updates"
    )
    root_file: Path | None = key(
        None, OptionalLocation(), "the host's first root metadata (1.root.json): what everything else is judged by"
    )
    channel: str = key("stable", Choice(("stable", "beta")), "the channel that is followed")
    take: str = key(
        "auto", Choice(("auto", "ask")), "auto takes what is offered; ask waits for `perslm sync install`"
    )
    every_h: float = key(24.0, Real(0.1, 720), "hours between two looks")
    rate_kb_s: int = key(2000, Whole(0, 1_000_000), "fastest download in KB/s; 0: as fast as it goes")
    quiet_s: float = key(5.0, Real(0, 600), "seconds without a turn that a trial and a change-over wait for")
    reserve_mb: int = key(
        100,
        Whole(0, 1_000_000),
        "MB of memory to stay free while a new model is tried beside the one in use; with less it is tried alone",
    )
    mains_only: bool = key(
        True, Switch(), "bring and try models on mains power only; without a battery it always is"
    )
    hot_c: float = key(75.0, Real(20, 120), "degrees Celsius from which bringing and trying models waits")
    over_mqtt_mb: int = key(
        0, Whole(0, 100_000), "room in MB for a host's files that come over MQTT in chunks; 0: none are taken"
    )
    watch_h: float = key(24.0, Real(0, 720), "hours a new model is watched, and goes back by itself when it fails")
