"""The configuration of the HTTP port: whether there is one, where it listens, and what it lets through."""

from __future__ import annotations

from dataclasses import dataclass

from perslm_daemon.config_keys import IpAddress, Switch, Whole, key


@dataclass(frozen=True, slots=True)
class Http:
    """The HTTP API and the dashboard (docs/http.md)."""

    enabled: bool = key(False, Switch(), "open a port for HTTP: the API, the dashboard, /metrics")
    host: str = key("127.0.0.1", IpAddress(), "address that is listened on; loopback alone until a token exists")
    port: int = key(8090, Whole(0, 65_535), "port of HTTP; 0: any free one")
