"""Which broker is meant, who we are there, and that no password is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from perslm_daemon.broker import Own
from perslm_daemon.broker_address import address_of
from perslm_daemon.config_sections import Mqtt
from perslm_runtime.errors import ConfigError


@pytest.mark.parametrize("url", ["http://a", "mqtt://", "mqtt://a:b:c", "mqtt://a:99999"])
def test_what_is_no_broker_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no URL"):
        address_of(Mqtt(broker=url))


def test_a_password_is_in_no_print_of_an_address(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("deep\n")
    from_file = address_of(Mqtt(broker="mqtt://anna@host", password_file=tmp_path / "password"))
    assert (from_file.username, from_file.password) == ("anna", "deep")
    from_url = address_of(Mqtt(broker="mqtt://anna:de%40ep@host:1884"))
    assert (from_url.port, from_url.password) == (1884, "de@ep")
    assert "deep" not in f"{from_file} {from_file!r}"
    assert "de@ep" not in f"{from_url} {from_url!r}"


def test_a_child_of_our_own_has_the_password_that_was_drawn_for_it(tmp_path: Path) -> None:
    link = Mqtt(broker="own", password_file=tmp_path / "of another broker")
    address = address_of(link, Own("::1", 1884, True, "drawn"))
    assert (address.host, address.port, address.username, address.password) == ("::1", 1884, "perslm", "drawn")
    assert "drawn" not in repr(address)


def test_our_service_takes_systemd_s_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mqtt_password").write_text("loaded\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    address = address_of(Mqtt(broker="own", own="service"), Own("::1", 1883, asks_passwords=True))
    assert (str(address), address.username, address.password) == ("::1:1883", "perslm", "loaded")
    foreign = address_of(Mqtt(broker="mqtt://house@broker"))
    assert (foreign.username, foreign.password) == ("house", "loaded")
    told = address_of(Mqtt(broker="mqtt://house:told@broker"))
    assert told.password == "told"  # noqa: S105 - the test's
