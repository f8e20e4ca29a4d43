"""The configuration of the HTTP port: whether there is one, where it listens, and what it lets through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perslm_daemon.config_keys import Choice, IpAddress, OptionalLocation, Switch, Text, Whole, key


@dataclass(frozen=True, slots=True)
class Http:
    """The HTTP API and the dashboard (docs/http.md)."""

    enabled: bool = key(False, Switch(), "open a port for HTTP: the API, the dashboard, /metrics")
    host: str = key("127.0.0.1", IpAddress(), "address that is listened on; loopback alone until a token exists")
    port: int = key(8090, Whole(0, 65_535), "port of HTTP; 0: any free one")
    names: str = key(
        "",
        Text(r"([A-Za-z0-9._-]{1,253}( *, *|$)){0,20}", "host names with commas between"),
        "more names this machine is reached by, besides its own and its addresses",
    )
    tls: str = key(
        "auto", Choice(("auto", "on", "off")), "encrypt (https); auto: wherever it listens beyond loopback"
    )
    cert_file: Path | None = key(None, OptionalLocation(), "certificate for https; none: one of our own is made")
    key_file: Path | None = key(None, OptionalLocation(), "the key of http.cert_file")
    per_minute: int = key(600, Whole(1, 1_000_000), "requests that each token may make in a minute")
