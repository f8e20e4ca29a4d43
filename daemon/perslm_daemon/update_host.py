"""Which training host a board follows: the one it enrolled with, and mirrors that were named. Blocks.

The libraries of TLS accounts and signatures are loaded by who follows a host alone (27 MB).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perslm_daemon.config_sections import Config
from perslm_runtime.errors import CatalogError, PersLMError
from perslm_runtime.lane import Stop

if TYPE_CHECKING:
    from perslm_runtime.host_account import HostAccount
    from perslm_runtime.trust import Trust

log = logging.getLogger("perslm.updates")

FOLDER = "host"
"""Where the account with the host lies in the data folder."""


def followed(config: Config) -> bool:
    """Whether there is a host to look at."""
    return bool(config.sync.mirrors) or (config.data_dir / FOLDER / "url").is_file()


def follow(config: Config, now: Callable[[], float], stop: Stop) -> Trust:
    """What is trusted, and where it is read. Raises `CatalogError` where the host's root metadata is missing."""
    from perslm_runtime.trust import Trust  # noqa: PLC0415 - as the module says

    account = account_of(config)
    mirrors = [part.strip() for part in config.sync.mirrors.split(",") if part.strip()]
    anchor = account.anchor if account is not None and config.sync.root_file is None else _anchor(config)
    tls = None
    if account is not None:
        mirrors, tls = [account.url, *mirrors], account.context()
        tls.load_default_certs()  # for the mirrors; what any of them serves is held to the signatures
    return Trust(config.data_dir / "trust", anchor, mirrors, now=now, stop=stop, tls=tls)


def report(config: Config, told: dict[str, Any]) -> None:
    """Tell the host how this board is, and renew the certificate when due; a host that is away costs nothing."""
    try:
        account = account_of(config)
        if account is not None:
            account.renew_if_due()
            account.report(told)
    except PersLMError as error:
        log.info("host_not_told error=%s", error)


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
