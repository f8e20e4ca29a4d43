"""How a board without a screen says where it stands: its green LED, and a line that `avahi-browse` shows.

Heartbeat: first boot is at work. Quick blinking: something is missing, see the card's log. As it was: all is well.
A board without such an LED says nothing by it; no sign ever stops a boot.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_LEDS = ("ACT", "led0", "green:act", "led-act")  # Raspberry Pis: by Debian's kernel, by their own, by newer trees
_SERVICE = """<?xml version="1.0" standalone='no'?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group>
  <name replace-wildcards="yes">PersLM card on %h</name>
  <service>
    <type>_perslm-card._tcp</type>
    <port>9</port>
    <txt-record>stage={stage}</txt-record>
  </service>
</service-group>
"""
WORKING, READY, MISSING = "working", "ready", "something is missing: see perslm-log.txt on the card"


def _led(root: Path) -> Path | None:
    leds = root / "sys/class/leds"
    return next((leds / name for name in _LEDS if (leds / name / "trigger").is_file()), None)


def before(root: Path) -> str:
    """What the LED shows now, to be given back: `mmc0` of "none [mmc0] timer"."""
    led = _led(root)
    words = (led / "trigger").read_text(encoding="ascii", errors="replace").split() if led else []
    return next((word.strip("[]") for word in words if word.startswith("[")), "none")


def show(root: Path, stage: str, was: str, run: Callable[..., object]) -> None:
    """Let LED and network say `stage`; `was` is the LED's own work. `run` starts a program."""
    if stage != WORKING:
        _tell_network(root / "etc/avahi/services/perslm.service", _SERVICE.format(stage=stage))
    led = _led(root)
    if led is None:
        return
    try:
        if stage == MISSING:
            run("modprobe", "ledtrig-timer")
        _put(led / "trigger", {WORKING: "heartbeat", READY: was}.get(stage, "timer"))
        if stage == MISSING:
            _put(led / "delay_on", "100")
            _put(led / "delay_off", "100")
    except Exception as error:  # noqa: BLE001 - a lamp is no reason not to start
        print(f"the LED cannot be set: {error}", flush=True)


def _tell_network(service: Path, text: str) -> None:
    """Avahi's file, which it reads anew by itself; written only where it changes: every boot comes by here."""
    if not service.parent.is_dir() or (service.is_file() and service.read_text(encoding="utf-8") == text):
        return
    fresh = service.with_name(".perslm.service.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(service)


def _put(path: Path, text: str) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(text)
