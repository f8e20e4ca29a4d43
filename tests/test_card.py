from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_build import card as cards

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7y0Zk0mYb0f8g0n0nJ4m5r1xGJq7v9T2m3Qb1cZ8aX me@home"
WHOLE = f"""hostname = "kitchen"
timezone = "Europe/Berlin"

[wifi]
ssid = "Käse & Brot"
password = "correct horse"  # the one on the fridge
country = "DE"

[ssh]
keys = ["{KEY}"]

[mqtt]
broker = "own"
listen = "0.0.0.0"
user = "hub"
password = 'battery \\ staple'

[perslm.wake]
words = ["hey_jarvis"]
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(cards.CardError) as error:
        cards.read(text.encode())
    return list(error.value.mistakes)


def test_everything_that_can_be_said_is_read() -> None:
    card = cards.read(WHOLE.encode())
    assert (card.hostname, card.timezone) == ("kitchen", "Europe/Berlin")
    assert card.wifi == cards.Wifi("Käse & Brot", "correct horse", "DE")
    assert card.ssh_keys == (KEY,)
    assert card.mqtt == cards.Mqtt("own", "hub", "battery \\ staple", "0.0.0.0")  # noqa: S104 - an address in a file
    assert card.settings == {"wake": {"words": ["hey_jarvis"]}}


def test_a_file_from_windows_and_an_empty_one_are_fine() -> None:
    windows = b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode()
    assert cards.read(windows) == cards.read(WHOLE.encode())
    assert cards.read(b"") == cards.Card()


def test_utf_16_and_broken_lines_are_told_with_what_to_do() -> None:
    with pytest.raises(cards.CardError, match="save it as UTF-8"):
        cards.read(WHOLE.encode("utf-16"))
    with pytest.raises(cards.CardError, match="save it as UTF-8"):
        cards.read('hostname = "Küche"'.encode("latin-1"))
    assert "line 2" in mistakes('timezone = "UTC"\nhostname = kitchen\n')[0]


def test_every_mistake_is_told_at_once() -> None:
    found = mistakes(
        'hostname = "-Kitchen"\ntimezone = "Europe/Berlinn"\nwify = 1\n'
        '[wifi]\nssid = ""\npassword = "short"\n[mqtt]\nlisten = "house"\npasword = "x"\n'
    )
    told = "\n".join(found)
    for words in (
        "`hostname` has",
        "is it `Europe/Berlin`?",
        "`wify` is not known: is it `wifi`?",
        "`wifi.ssid`",
        "`wifi.password` has 8 to 63",
        "`wifi.country` is needed",
        "`mqtt.listen` is an address",
        "needs `mqtt.user` and `mqtt.password`",
        "`mqtt.pasword` is not known: is it `password`?",
    ):
        assert words in told, f"{words} in {told}"


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "this is the private key"),
        ("AAAAC3NzaC1lZDI1NTE5", "one line"),
        (KEY[:60], "cut off"),
        (KEY.replace("ssh-ed25519", "ssh-rsa"), "does not belong"),
    ],
)
def test_an_ssh_key_that_would_lock_its_owner_out_is_refused(key: str, why: str) -> None:
    assert why in mistakes(f'[ssh]\nkeys = ["{key}"]')[0]


@pytest.mark.parametrize(
    "broker", ["192.168.1.2", "http://broker", "mqtt://", "mqtt://me:secret@broker", "mqtt://broker:port"]
)
def test_a_broker_that_cannot_be_one_is_refused(broker: str) -> None:
    assert "`mqtt.broker`" in mistakes(f'[mqtt]\nbroker = "{broker}"')[0]


def test_nothing_is_open_to_the_house_without_a_password() -> None:
    assert "nobody connects without" in mistakes('[mqtt]\nlisten = "0.0.0.0"')[0]


def test_wiping_leaves_stars_and_every_other_byte_as_it_was() -> None:
    raw = WHOLE.encode()
    clean = cards.wiped(raw)
    assert len(clean) == len(raw)
    assert b"correct horse" not in clean
    assert b"staple" not in clean
    assert b"the one on the fridge" in clean
    assert cards.wiped(clean) == clean
    card = cards.read(clean)
    assert card.wifi is not None
    assert cards.taken(card.wifi.password)
    assert cards.taken(card.mqtt.password)


@pytest.mark.parametrize(
    "text",
    [
        'wifi = {ssid = "Home", password = "correct horse", country = "DE"}',
        '[wifi]\nssid = "Home"\npassword = """correct horse"""\ncountry = "DE"',
        'wifi.ssid = "Home"\nwifi.password = "correct horse"\nwifi.country = "DE"',
    ],
)
def test_a_password_that_could_not_be_wiped_is_refused(text: str) -> None:
    assert any("on a line of its own" in mistake for mistake in mistakes(text))


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=8, max_size=63)


@settings(max_examples=40)
@given(printable, st.booleans())
def test_any_password_is_read_as_written_and_wiped_whole(password: str, windows: bool) -> None:
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    text = f'[wifi]\nssid = "Home"\npassword = "{quoted}"\ncountry = "DE"\n'
    raw = text.replace("\n", "\r\n" if windows else "\n").encode()
    card = cards.read(raw)
    assert card.wifi is not None
    assert card.wifi.password == password
    after = cards.read(cards.wiped(raw))
    assert after.wifi is not None
    assert set(after.wifi.password) == {"*"}


values = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
names = st.from_regex(r"[a-z][a-z_0-9]{0,9}", fullmatch=True)
tables = st.dictionaries(names, st.one_of(values, st.lists(values, max_size=3)), max_size=4)


@settings(max_examples=40)
@given(st.dictionaries(names, tables, max_size=3), st.dictionaries(names, values, max_size=3))
def test_settings_come_out_of_the_file_as_they_went_in(
    sections: dict[str, object], top: dict[str, object]
) -> None:
    table = {**top, **sections}
    assert tomllib.loads(cards.toml(table)) == table
