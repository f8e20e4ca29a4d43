"""`perslm.toml` on the boot partition of a card: what a board is told before its first start, and its mistakes.

Only the standard library and no other file of ours, because the board's first boot reads the same module. Knows
text and bytes; writes nothing and opens no network.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import ipaddress
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

NAME = "perslm.toml"
_KEYS: dict[str, tuple[str, ...]] = {
    "": ("hostname", "timezone"),
    "wifi": ("ssid", "password", "country", "hidden"),
    "ssh": ("keys",),
    "mqtt": ("broker", "user", "password", "listen"),
}
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
_SECRET = re.compile(rb"""(?m)^([ \t]*password[ \t]*=[ \t]*)(?:"((?:[^"\\\r\n]|\\.)*)"|'([^'\r\n]*)')""")
_TAKEN = re.compile(r"\*+")


class CardError(ValueError):
    """The file cannot be used. `mistakes` has one sentence each, with what to write instead."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Wifi:
    """A network to join. `password` is empty for an open one."""

    ssid: str
    password: str
    country: str
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Mqtt:
    """The broker: our own on this board ("own") or another's, with its user; `listen` opens our own."""

    broker: str = "own"
    user: str = ""
    password: str = ""
    listen: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """All that the file says. `settings` are PersLM's own keys, section by section, as in docs/config.md."""

    hostname: str = ""
    timezone: str = ""
    wifi: Wifi | None = None
    ssh_keys: tuple[str, ...] = ()
    mqtt: Mqtt = Mqtt()
    settings: Mapping[str, Any] = field(default_factory=dict)


def taken(password: str) -> bool:
    """Whether a password is only the stars that the board wrote over the one it has taken."""
    return _TAKEN.fullmatch(password) is not None


def wiped(raw: bytes) -> bytes:
    """The file with stars over every password: as long as before, so that it can be written over in place.

    So there is no moment at which a pulled plug leaves a file that cannot be read.
    """

    def stars(found: re.Match[bytes]) -> bytes:
        head, value = found[1], found[2] if found[2] is not None else found[3]
        quote = found[0][len(head) : len(head) + 1]
        return head + quote + b"*" * len(value) + quote

    return _SECRET.sub(stars, raw)


def read(raw: bytes) -> Card:
    """The card that these bytes describe; Windows' line ends and byte order mark are fine.

    Raises CardError with every mistake at once.
    """
    table = _table(raw)
    mistakes = [*_unknown(table), *_unwipeable(raw, table)]
    card = Card(
        hostname=_hostname(table, mistakes),
        timezone=_timezone(table, mistakes),
        wifi=_wifi(_section(table, "wifi", mistakes), mistakes),
        ssh_keys=_ssh_keys(_section(table, "ssh", mistakes), mistakes),
        mqtt=_mqtt(_section(table, "mqtt", mistakes), mistakes),
        settings=_section(table, "perslm", mistakes),
    )
    if mistakes:
        raise CardError(mistakes)
    return card


def settings(raw: bytes) -> dict[str, Any]:
    """PersLM's own part of the file alone, whatever is wrong with the rest; nothing where it cannot be read."""
    try:
        found = _table(raw).get("perslm", {})
    except CardError:
        return {}
    return found if isinstance(found, dict) else {}


def _table(raw: bytes) -> dict[str, Any]:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise CardError([f'{NAME} was saved as UTF-16 ("Unicode"): save it as UTF-8.'])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CardError([f"{NAME} is not UTF-8 at byte {error.start}: save it as UTF-8."]) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CardError([f'{NAME} cannot be read: {error}. A line is name = "value" or [section].']) from None


def _unknown(table: Mapping[str, Any]) -> list[str]:
    sections = {name for name in _KEYS if name} | {"perslm"}
    found = []
    for name, value in table.items():
        if name not in sections and name not in _KEYS[""]:
            found.append(f"`{name}` is not known{_near(name, [*sections, *_KEYS['']])}")
        elif name in _KEYS and isinstance(value, dict):
            found += [
                f"`{name}.{key}` is not known{_near(key, _KEYS[name])}" for key in value if key not in _KEYS[name]
            ]
    return found


def _near(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, 1)
    return f": is it `{close[0]}`?" if close else f": there is {', '.join(sorted(known))}."


def _unwipeable(raw: bytes, table: Mapping[str, Any]) -> list[str]:
    """Passwords that could not be wiped from the card are refused: they would stay there for ever."""
    try:
        after = _table(wiped(raw))
    except CardError:
        after = dict(table)
    return [
        f'`{name}.password` has to stand on a line of its own: password = "…"'
        for name in ("wifi", "mqtt")
        if (secret := _of(after, name)) and not taken(secret)
    ]


def _of(table: Mapping[str, Any], section: str) -> str:
    value = table.get(section)
    secret = value.get("password", "") if isinstance(value, dict) else ""
    return secret if isinstance(secret, str) else ""


def _section(table: Mapping[str, Any], name: str, mistakes: list[str]) -> dict[str, Any]:
    value = table.get(name, {})
    if isinstance(value, dict):
        return value
    mistakes.append(f"`{name}` is a section: write [{name}] on a line of its own and its keys below.")
    return {}


def _text(section: Mapping[str, Any], name: str, key: str, mistakes: list[str]) -> str:
    value = section.get(key, "")
    if isinstance(value, str) and not any(ord(sign) < 32 for sign in value):
        return value
    shown = f"{name}.{key}" if name else key
    mistakes.append(f'`{shown}` is text on one line: {key} = "…"')
    return ""


def _hostname(table: Mapping[str, Any], mistakes: list[str]) -> str:
    name = _text(table, "", "hostname", mistakes)
    if name and _HOSTNAME.fullmatch(name) is None:
        mistakes.append("`hostname` has 1 to 63 of a-z, 0-9 and -, and neither begins nor ends with -.")
    return name


def _timezone(table: Mapping[str, Any], mistakes: list[str]) -> str:
    name = _text(table, "", "timezone", mistakes)
    known = available_timezones() if name else set()  # empty where there is no tzdata: then the board decides
    if name and known and name not in known:
        mistakes.append(f"`timezone` {name!r} does not exist{_near(name, sorted(known)) if _close(name) else ''}")
    if name and (".." in name or name.startswith("/")):
        mistakes.append("`timezone` is a name such as Europe/Berlin.")
    return name


def _close(name: str) -> bool:
    return bool(difflib.get_close_matches(name, sorted(available_timezones()), 1))


def _wifi(section: Mapping[str, Any], mistakes: list[str]) -> Wifi | None:
    if not section:
        return None
    ssid, password, country = (_text(section, "wifi", key, mistakes) for key in ("ssid", "password", "country"))
    if not 1 <= len(ssid.encode()) <= 32:
        mistakes.append("`wifi.ssid`, the network's name, has 1 to 32 bytes.")
    as_hex = re.fullmatch(r"[0-9A-Fa-f]{64}", password) is not None
    printable = 8 <= len(password) <= 63 and all(32 <= ord(sign) < 127 for sign in password)
    if password and not (as_hex or printable or taken(password)):
        mistakes.append(
            "`wifi.password` has 8 to 63 letters, digits and signs of ASCII, or 64 hexadecimal digits."
        )
    if re.fullmatch(r"[A-Z]{2}", country) is None:
        mistakes.append(
            '`wifi.country` is needed, in two capitals, as "DE": it decides which channels are allowed.'
        )
    hidden = section.get("hidden", False)
    if not isinstance(hidden, bool):
        mistakes.append("`wifi.hidden` is true or false, without quotes.")
    return Wifi(ssid, password, country, hidden is True)


def _ssh_keys(section: Mapping[str, Any], mistakes: list[str]) -> tuple[str, ...]:
    keys = section.get("keys", [])
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        mistakes.append('`ssh.keys` is a list of public keys: keys = ["ssh-ed25519 AAAA… me"]')
        return ()
    for number, key in enumerate(keys, 1):
        if (why := _key_mistake(key)) is not None:
            mistakes.append(f"`ssh.keys`, number {number}: {why}")
    return tuple(key.strip() for key in keys)


def _key_mistake(key: str) -> str | None:
    if "PRIVATE KEY" in key:
        return "this is the private key. The public one is in the file that ends with .pub"
    words = key.split()
    if "\n" in key.strip() or len(words) < 2 or words[0] not in _KEY_TYPES:
        return "a public key is one line, as ssh-ed25519 AAAA… (the file that ends with .pub)"
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        return "its second word is no base64: it was cut off"
    name = words[0].encode()
    if blob[:4] != len(name).to_bytes(4, "big") or blob[4 : 4 + len(name)] != name or len(blob) < 40:
        return "it was cut off, or its first word does not belong to it"
    return None


def _mqtt(section: Mapping[str, Any], mistakes: list[str]) -> Mqtt:
    broker = _text(section, "mqtt", "broker", mistakes) or "own"
    user, password, listen = (_text(section, "mqtt", key, mistakes) for key in ("user", "password", "listen"))
    if broker != "own":
        mistakes += _broker_mistakes(broker, listen)
    elif listen:
        try:
            ipaddress.ip_address(listen)
        except ValueError:
            mistakes.append('`mqtt.listen` is an address: "0.0.0.0" opens the board\'s broker to the house.')
        if not (user and password):
            mistakes.append("`mqtt.listen` needs `mqtt.user` and `mqtt.password`: nobody connects without.")
    if user and _USER.fullmatch(user) is None:
        mistakes.append("`mqtt.user` has 1 to 64 of a-z, 0-9, _ and -, and starts with a letter or digit.")
    if password and not user:
        mistakes.append("`mqtt.password` needs `mqtt.user`.")
    return Mqtt(broker, user, password, listen)


def _broker_mistakes(broker: str, listen: str) -> list[str]:
    try:
        url = urlsplit(broker)
        good = url.scheme in ("mqtt", "mqtts") and bool(url.hostname) and url.path in ("", "/")
        _ = url.port  # raises ValueError where it is none
    except ValueError:
        good = False
    if not good:
        return ['`mqtt.broker` is "own" (the board\'s own) or an address as "mqtt://192.168.1.2:1883".']
    found = []
    if "@" in url.netloc:
        found.append("`mqtt.broker` holds no user and no password: they have keys of their own below it.")
    if listen:
        found.append("`mqtt.listen` is for the board's own broker: take it out, or `mqtt.broker`.")
    return found


def toml(table: Mapping[str, Any], prefix: str = "") -> str:
    """A table as TOML: text, numbers, truths, lists of these, in sections. Raises CardError for others."""
    plain = {name: value for name, value in table.items() if not isinstance(value, dict)}
    lines = [f"{name} = {_value(name, value)}" for name, value in plain.items()]
    for name, value in table.items():
        if isinstance(value, dict):
            lines += ["", f"[{prefix}{name}]", toml(value, f"{prefix}{name}.").rstrip("\n")]
    return "\n".join(lines) + "\n"


def _value(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        signs = ((f"\\{sign}" if sign in '"\\' else sign) for sign in value)
        return '"' + "".join(sign if 32 <= ord(sign[-1]) != 127 else f"\\u{ord(sign):04x}" for sign in signs) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(_value(name, item) for item in value) + "]"
    raise CardError([f"`perslm.{name}`: text, numbers, true, false and lists of them can be written here."])
