"""Setting a key from the command line: through the running PersLM, which puts it into force, or on the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio

from perslm_daemon import config as configuration
from perslm_daemon import control_client
from perslm_daemon.cli_session import Session

if TYPE_CHECKING:
    from perslm_daemon.config_sections import Config


def keep(session: Session, action: str, key: str, value: str | None = None) -> Mapping[str, Any]:
    """Set a key or take it back ("set", "unset"); the value, and whether it is in force already."""
    daemon = control_client.connect(session.config.data_dir)
    if daemon is None:
        return _alone(session, action, key, value)
    payload = {"action": action, "key": key, **({} if value is None else {"value": value})}
    with daemon:
        return dict(daemon.ask("config", json.dumps(payload)))


def _alone(session: Session, action: str, key: str, value: str | None) -> dict[str, object]:
    from perslm_daemon.changes import Changes
    from perslm_daemon.stores import make_data_dir

    make_data_dir(session.config)

    def load() -> Config:
        return configuration.load(session.flags, with_kept=True)

    changes = Changes(session.config, load, lambda: None)
    if action == "unset":
        anyio.run(changes.unset, key)
        return {"key": key}
    return {"key": key, "value": anyio.run(changes.set, key, value)}
