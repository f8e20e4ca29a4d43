"""Changes of the configuration while the daemon runs: checked as a whole, kept, then put into force.

Knows neither who asks nor what is rebuilt: that is the verbs' and the daemon's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import anyio
import anyio.to_thread

from perslm_daemon import config as configuration
from perslm_daemon import kept
from perslm_daemon.config_keys import Secret
from perslm_daemon.config_sections import Config, keys
from perslm_runtime.errors import ConfigError, InputError, PersLMError

log = logging.getLogger("perslm.config")

_OF_THE_RUN = ("data_dir", "models_dir", "profile")  # where the kept values themselves lie, and what is under them


class Changes:
    """The running daemon's changes to `config`. `load` reads all layers; `reload` puts what is kept into force."""

    def __init__(self, config: Config, load: Callable[[], Config], reload: Callable[[], None]) -> None:
        self._config, self._load, self._reload = config, load, reload
        self.before_force: Callable[[Mapping[str, object]], Awaitable[None]] | None = None
        """Told of values that somebody set, before they are in force."""

    async def keep(self, name: str, value: object) -> None:
        """Keep a value that is in force already. A disk that takes no more is told, and the value is in force."""
        if self._stronger(name) is None:
            try:
                await anyio.to_thread.run_sync(kept.change, self._config.data_dir, {name: value})
            except OSError as error:
                log.warning("not_kept key=%s error=%s", name, error.strerror)

    async def set(self, name: str, value: object) -> object:
        """Set a key, from text or typed; returns the value as it is kept.

        Raises `InputError` for a key that may not be set here and `ConfigMistakesError` for a wrong value.
        """
        self._refuse(name)
        typed = await anyio.to_thread.run_sync(_typed, name, value)
        await self._change({name: typed})
        return typed

    async def set_together(self, values: Mapping[str, object]) -> None:
        """Set several keys, all or none. Raises as `set`."""
        for name in values:
            self._refuse(name)
        await self._change(
            {name: await anyio.to_thread.run_sync(_typed, name, one) for name, one in values.items()}
        )

    async def unset(self, name: str) -> None:
        """Take back what was set while running: what the files say counts again."""
        if name not in keys():
            configuration.value_of(self._config, name)  # raises, and proposes the key that was meant
        await self._change({name: None})

    def reload(self) -> None:
        """Read all layers anew and put them into force."""
        self._reload()

    async def _change(self, values: Mapping[str, object]) -> None:
        folder = self._config.data_dir
        before = await anyio.to_thread.run_sync(kept.read, folder)
        try:
            await anyio.to_thread.run_sync(kept.change, folder, values)
        except OSError as error:
            raise InputError(f"this cannot be kept ({error.strerror}): make room on the disk") from error
        try:
            await anyio.to_thread.run_sync(self._load)
        except PersLMError:
            await anyio.to_thread.run_sync(kept.change, folder, {name: before.get(name) for name in values})
            raise
        if self.before_force is not None:
            await self.before_force(values)
        self._reload()

    def _refuse(self, name: str) -> None:
        if name not in keys():
            configuration.value_of(self._config, name)
        if isinstance(keys()[name].kind, Secret) and name != "mqtt.broker":
            raise InputError(f"{name} is a secret, which is not kept here: docs/config.md says where it goes")
        if name in _OF_THE_RUN:
            raise InputError(f"{name} is decided when PersLM starts: set it in perslm.toml, or by a flag")
        if (stronger := self._stronger(name)) is not None:
            raise InputError(f"{name} comes from {stronger}, which is stronger for as long as this run lasts")

    def _stronger(self, name: str) -> str | None:
        """Where a value that cannot be overruled while running comes from."""
        source = self._config.sources.get(name, "")
        return source if source.startswith(("PERSLM_", "--")) else None


def _typed(name: str, value: object) -> object:
    """The value as JSON can keep it and a file could hold it. Raises ConfigMistakesError."""
    key, folder = keys()[name], Path.cwd()
    try:
        checked = key.kind.parse(value, folder) if isinstance(value, str) else key.kind.read(value, folder)
    except ValueError as error:
        raise ConfigError(f"{name} must be {key.kind.allowed}") from error
    if isinstance(checked, tuple):
        return list(checked)
    return str(checked) if isinstance(checked, Path) else checked
