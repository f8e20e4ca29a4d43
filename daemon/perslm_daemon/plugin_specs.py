"""What is started for an enabled name: an installed plug-in, or an MCP server that the settings file declares.

Reads the disk, runs nothing. What cannot be started is refused with what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perslm_daemon import plugin_finding, plugin_settings
from perslm_daemon.config_sections import Config
from perslm_daemon.plugin_finding import Found
from perslm_daemon.plugin_mcp import MCP_PROGRAM, Server, mcp_settings
from perslm_daemon.plugin_process import Spec
from perslm_daemon.plugin_wire import Shape
from perslm_runtime.errors import PluginRefused

MCP_PREFIX = "mcp."


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is installed, and the settings of all of it."""

    found: tuple[Found, ...]
    tables: Mapping[str, Mapping[str, Any]]
    file: Path
    folder: Path
    private: tuple[str, ...] = ()
    memory_mb: int = 256
    traces: bool = False
    paths: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Everything that can be enabled."""
        servers = self.tables.get(plugin_settings.MCP, {})
        return [*(one.name for one in self.found), *(f"{MCP_PREFIX}{name}" for name in sorted(servers))]

    def find(self, name: str) -> Found | None:
        """An installed plug-in; None for an MCP server, or where there is none."""
        return next((one for one in self.found if one.name == name), None)

    def spec(self, name: str) -> Spec:
        """What is started to learn what it brings. Raises `PluginRefused`, or `ConfigError` for its settings."""
        if name.startswith(MCP_PREFIX):
            return self._of_server(name.removeprefix(MCP_PREFIX))
        found = self.find(name)
        if found is None:
            raise PluginRefused(
                f"no plug-in {name} is installed: install its package, `perslm plugins list` shows it"
            )
        if found.problem:
            raise PluginRefused(f"the plug-in {name} cannot be used: {found.problem}")
        return Spec(
            name,
            found.group,
            found.target,
            self.folder / name,
            private=self.private,
            memory_mb=self.memory_mb,
            traces=self.traces,
            paths=self.paths,
        )

    def completed(self, spec: Spec, shape: Shape) -> Spec:
        """The same with its settings and the machines that they name. Raises `ConfigError`."""
        if spec.program == MCP_PROGRAM:
            return spec
        table = self.tables.get(spec.name, {})
        settings = plugin_settings.settings_of(spec.name, shape.settings, table, self.file.parent)
        hosts = plugin_settings.hosts_of(shape.settings, settings)
        return replace(
            spec, settings=settings, hosts=hosts, readable=plugin_settings.files_of(shape.settings, settings)
        )

    def governed(self, name: str, shape: Shape) -> Shape:
        """What it brings, as far as it is taken: all of a plug-in, of an MCP server what was declared."""
        return (
            self._server(name.removeprefix(MCP_PREFIX)).governed(shape) if name.startswith(MCP_PREFIX) else shape
        )

    def _server(self, name: str) -> Server:
        servers = self.tables.get(plugin_settings.MCP, {})
        if not isinstance(servers.get(name), dict):
            raise PluginRefused(f"there is no MCP server {name}: declare it as [mcp.{name}] in {self.file}")
        return mcp_settings(name, servers[name], self.file.parent)

    def _of_server(self, name: str) -> Spec:
        server = self._server(name)
        return Spec(
            name,
            plugin_settings.MCP,
            name,
            self.folder / f"{plugin_settings.MCP}.{name}",
            settings=server.for_child(),
            hosts=server.hosts,
            private=self.private,
            memory_mb=server.memory_mb or self.memory_mb,
            traces=self.traces,
            program=MCP_PROGRAM,
        )


def shelf_of(config: Config, *, traces: bool = False) -> Shelf:
    """What there is on this machine. Reads files; raises `ConfigError`."""
    file = config.plugins.file or config.data_dir / plugin_settings.FILE
    folder = config.data_dir / "plugins"
    found = plugin_finding.installed()
    tables = plugin_settings.read(file)
    return Shelf(found, tables, file, folder, config.tools.private, config.plugins.memory_mb, traces)


def hosts_said(hosts: Sequence[str]) -> str:
    """The machines as one text."""
    return ", ".join(hosts) or "none"
