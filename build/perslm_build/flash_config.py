"""`make flash-config`: a few questions, and the `perslm.toml` that a card is given; each answer is checked."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path

from perslm_build import card as cards
from perslm_build.terminal import SetupError, say

Ask = Callable[[str], str]


def ask_all(ask: Ask, ask_secret: Ask) -> str:
    """The file's text, from the answers. An empty answer leaves a thing out; a wrong one is asked again."""
    text = ""
    text = _asked(text, ask, "Host name (empty: one is drawn)", 'hostname = "{}"\n')
    text = _asked(text, ask, "Time zone, as Europe/Berlin (empty: UTC)", 'timezone = "{}"\n')
    text = _wifi(text, ask, ask_secret)
    text = _asked(text, ask, "SSH public key (empty: nobody can log in)", '\n[ssh]\nkeys = ["{}"]\n')
    return _mqtt(text, ask, ask_secret)


def _asked(text: str, ask: Ask, question: str, form: str) -> str:
    while True:
        answer = ask(question).strip()
        if not answer:
            return text
        grown = text + form.format(_escaped(answer))
        if _right(grown):
            return grown


def _right(text: str) -> bool:
    try:
        cards.read(text.encode())
    except cards.CardError as error:
        for mistake in error.mistakes:
            say(f"   {mistake}")
        return False
    return True


def _escaped(answer: str) -> str:
    return answer.replace("\\", "\\\\").replace('"', '\\"')


def _wifi(text: str, ask: Ask, ask_secret: Ask) -> str:
    while True:
        ssid = ask("Wi-Fi network (empty: none)").strip()
        if not ssid:
            return text
        password, country = ask_secret("Its password (empty: open)"), ask("Your country, as DE").strip().upper()
        grown = (
            f'{text}\n[wifi]\nssid = "{_escaped(ssid)}"\npassword = "{_escaped(password)}"\n'
            f'country = "{_escaped(country)}"\n'
        )
        if _right(grown):
            return grown


def _mqtt(text: str, ask: Ask, ask_secret: Ask) -> str:
    while True:
        broker = ask("MQTT broker, as mqtt://192.168.1.2 (empty: the board's own)").strip()
        user = ask("User for it (empty: none; the board's own is then not open to the house)").strip()
        if not broker and not user:
            return text
        grown = f'{text}\n[mqtt]\nbroker = "{_escaped(broker or "own")}"\n'
        if user:
            grown += f'user = "{_escaped(user)}"\npassword = "{_escaped(ask_secret("Its password"))}"\n'
            grown += "" if broker else 'listen = "0.0.0.0"\n'
        if _right(grown):
            return grown


def write() -> None:
    """Ask on the terminal and write `CONFIG` (my-home.toml), for its owner alone. Raises SetupError."""
    path = Path(os.environ.get("CONFIG") or "my-home.toml")
    if path.exists():
        raise SetupError(f"{path} is there already: edit it, or name another with CONFIG=.")
    if not sys.stdin.isatty():
        raise SetupError("questions need a terminal: write the file by hand, docs/image.md shows one.")
    text = ask_all(lambda question: input(f"{question}: "), lambda question: getpass.getpass(f"{question}: "))
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    say(f"{path} is written, readable by you alone. Next: make flash DEVICE=/dev/sdX CONFIG={path}")
