"""What can be changed while the daemon runs: one table of settings, each with its kind, range and effect.

MQTT (`…/<setting>/set`), Home Assistant and the control socket change settings here; the new value goes on the
bulletin under the setting's name once it is in force.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from perslm_daemon.bulletin import Bulletin
from perslm_runtime.errors import InputError

SettingValue = bool | float | str
Apply = Callable[[SettingValue], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: `switch` (bool), `number` (between `least` and `most`) or `select` (one of `options`)."""

    name: str
    kind: Literal["switch", "number", "select"]
    about: str
    apply: Apply
    least: float = 0.0
    most: float = 1.0
    step: float = 0.05
    unit: str = ""
    options: tuple[str, ...] = ()
    key: str = ""
    """The configuration key under which its value is kept for the next start; "" where it keeps itself."""

    def parse(self, text: str) -> SettingValue:
        """The value that `text` stands for. Raises `InputError` saying what is allowed."""
        word = text.strip()
        if self.kind == "switch":
            known = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
            if word.lower() not in known:
                raise InputError(f"{self.name} is a switch: send ON or OFF, not {word[:40]!r}")
            return known[word.lower()]
        if self.kind == "select":
            if word not in self.options:
                raise InputError(f"{self.name} is one of {', '.join(self.options)}, not {word[:40]!r}")
            return word
        try:
            number = float(word)
        except ValueError:
            number = float("nan")
        if not self.least <= number <= self.most:
            raise InputError(f"{self.name} is a number from {self.least:g} to {self.most:g}, not {word[:40]!r}")
        return number


class Settings:
    """The settings in force."""

    def __init__(
        self,
        bulletin: Bulletin,
        settings: Mapping[str, tuple[Setting, SettingValue]],
        keep: Callable[[str, SettingValue], Awaitable[None]] | None = None,
    ) -> None:
        self._keep = keep
        self._bulletin = bulletin
        self._settings = {name: setting for name, (setting, _) in settings.items()}
        for name, (_, value) in settings.items():
            bulletin.post(name, value)

    @property
    def table(self) -> dict[str, Setting]:
        """All settings by name."""
        return dict(self._settings)

    async def change(self, name: str, text: str) -> SettingValue:
        """Parse, apply and announce a new value. Raises `InputError` for an unknown setting or a wrong value."""
        setting = self._settings.get(name)
        if setting is None:
            raise InputError(f"there is no setting {name!r}: known are {', '.join(sorted(self._settings))}")
        value = setting.parse(text)
        await setting.apply(value)
        self._bulletin.post(name, value)
        if self._keep is not None and setting.key:
            await self._keep(setting.key, value)
        return value
