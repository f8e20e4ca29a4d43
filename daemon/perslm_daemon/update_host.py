"""Which training host a board follows: the one it enrolled with, and mirrors that were named. Blocks.

The way there is one connection a look, with a TLS session that is resumed at the next. The libraries of TLS
accounts and signatures are loaded by who follows a host alone (27 MB).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perslm_daemon.config_sections import Config
from perslm_daemon.update_mailbox import FOLDER as MAILBOX
from perslm_runtime.errors import CatalogError, PersLMError
from perslm_runtime.lane import Stop

if TYPE_CHECKING:
    from perslm_runtime.connections import Connections
    from perslm_runtime.host_account import HostAccount
    from perslm_runtime.trust import Trust

log = logging.getLogger("perslm.updates")

FOLDER = "host"
"""Where the account with the host lies in the data folder."""
_ACCOUNT = ("board.pem", "authority.pem", "url")
_PATIENCE_S = 20.0


def followed(config: Config) -> bool:
    """Whether there is a host to look at."""
    return bool(config.sync.mirrors or config.sync.over_mqtt_mb) or (config.data_dir / FOLDER / "url").is_file()


class HostLink:
    """The way to the host and its mirrors, from look to look. Any thread may use it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._made: tuple[list[int], Connections] | None = None

    def follow(self, now: Callable[[], float], stop: Stop) -> Trust:
        """What is trusted, and where it is read. Raises `CatalogError` where the host's root is missing."""
        from perslm_runtime.trust import Trust  # noqa: PLC0415 - as the module says

        account = account_of(self._config)
        mirrors = [part.strip() for part in self._config.sync.mirrors.split(",") if part.strip()]
        anchor = account.anchor if account and self._config.sync.root_file is None else _anchor(self._config)
        if account is not None:
            mirrors = [account.url, *mirrors]
        if self._config.sync.over_mqtt_mb:
            mirrors.append((self._config.data_dir / MAILBOX).absolute().as_uri())
        folder = self._config.data_dir / "trust"
        return Trust(folder, anchor, mirrors, now=now, stop=stop, connections=self._connections(account))

    def report(self, told: dict[str, Any]) -> None:
        """Tell the host how this board is, and renew the certificate when due; one that is away costs nothing."""
        try:
            account = account_of(self._config)
            if account is not None:
                account.renew_if_due()
                account.report(told, self._connections(account))
        except PersLMError as error:
            log.info("host_not_told error=%s", error)

    def rest(self) -> None:
        """The look is over: end its connections."""
        with self._lock:
            if self._made is not None:
                self._made[1].rest()

    def _connections(self, account: HostAccount | None) -> Connections:
        """Those of before, for as long as the account is the same: another certificate is another session."""
        from perslm_runtime.connections import Connections  # noqa: PLC0415 - as the module says

        folder = self._config.data_dir / FOLDER
        stamps = [] if account is None else [(folder / name).stat().st_mtime_ns for name in _ACCOUNT]
        with self._lock:
            if self._made is None or self._made[0] != stamps:
                if self._made is not None:
                    self._made[1].rest()
                tls = None
                if account is not None:
                    tls = account.context()
                    tls.load_default_certs()  # for the mirrors; what any of them serves is held to the signatures
                self._made = (stamps, Connections(tls, _PATIENCE_S))
            return self._made[1]


def account_of(config: Config) -> HostAccount | None:
    """What `perslm sync enroll` kept; None where this board did not enrol."""
    if not (config.data_dir / FOLDER / "url").is_file():
        return None
    from perslm_runtime.host_account import HostAccount  # noqa: PLC0415 - as above

    return HostAccount.of(config.data_dir / FOLDER)


def _anchor(config: Config) -> bytes:
    file = config.sync.root_file
    if file is None:
        raise CatalogError("sync.root_file is missing: it is the host's metadata/1.root.json")
    try:
        return file.read_bytes()
    except OSError as error:
        raise CatalogError(f"sync.root_file {file} cannot be read ({error.strerror})") from error
