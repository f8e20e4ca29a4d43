"""Which broker the configuration means, and where its password comes from: a file, the environment, systemd.

A child of our own is started elsewhere; its address and password are handed in. Connects to nothing.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from perslm_daemon import sealed
from perslm_daemon.broker import Own
from perslm_daemon.broker_file import CREDENTIAL, url_host
from perslm_daemon.broker_users import DAEMON_USER
from perslm_daemon.config_sections import Mqtt
from perslm_daemon.mqtt_connection import Address
from perslm_daemon.service import credential
from perslm_runtime.errors import ConfigError, PersLMError

log = logging.getLogger("perslm.mqtt")


def found_again(link: Mqtt, own: Own | None, before: Address) -> Address:
    """The address before a new try: with a password that was put right meanwhile, for which nobody restarts."""
    try:
        return address_of(link, own, again=True)
    except PersLMError as error:
        log.info("broker_address_not_read error=%s", type(error).__name__)
        return before


def address_of(link: Mqtt, own: Own | None = None, *, again: bool = False) -> Address:
    """Where to connect: `own`, else `mqtt.broker`; reads files, raises `ConfigError`.

    systemd's credential is the password where the configuration has none; root may read it where it is kept.
    `again` warns of nothing.
    """
    if own is not None and own.password is not None:
        return Address(own.host, own.port, username=DAEMON_USER, password=own.password)
    address = _configured(link, link.broker if own is None else f"mqtt://{url_host(own.host)}:{own.port}", again)
    secret = credential("mqtt_password") if address.password is None else None
    if secret is None and address.password is None and own is not None and own.asks_passwords:
        secret = sealed.kept(CREDENTIAL)
    return (
        address if secret is None else replace(address, username=address.username or DAEMON_USER, password=secret)
    )


def _configured(link: Mqtt, url: str, again: bool) -> Address:
    """What URL and keys say; the user is "perslm" where only a password is given."""
    address = Address.of(url, ca_file=link.ca_file, cert_file=link.cert_file, key_file=link.key_file)
    if link.password_file is not None:
        try:
            password = link.password_file.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"mqtt.password_file {link.password_file} cannot be read: {error}") from error
        return replace(address, username=address.username or DAEMON_USER, password=password)
    if link.password:
        return replace(address, username=address.username or DAEMON_USER, password=link.password)
    if address.password is not None and not again:
        log.warning("mqtt.broker carries a password, which any process list may show: use mqtt.password_file")
    return address
