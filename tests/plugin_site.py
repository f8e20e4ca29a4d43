"""A folder with installed plug-ins for tests: modules, and the metadata that says so; ours among them."""

from __future__ import annotations

import os
import sys
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from perslm_daemon.config import Flags, load
from perslm_daemon.config_sections import Config

ROOT = Path(__file__).parents[1]


class Site:
    """Where packages are installed for as long as a test, or a module of tests, lasts."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.syspath_prepend(folder)
        paths = [str(folder), *(path for path in sys.path if path)]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(dict.fromkeys(paths)))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        self.metadata("perslm", "1", project["entry-points"])

    def metadata(self, package: str, version: str, points: Mapping[str, Mapping[str, str]]) -> None:
        info = self.folder / f"{package.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        lines = [
            line
            for group, named in points.items()
            for line in (f"[{group}]", *(f"{name} = {target}" for name, target in named.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

    def plugin(self, name: str, source: str, group: str = "perslm.tools", **more: str) -> None:
        """Install a plug-in of a module with `source`, which has what an author imports."""
        (self.folder / f"{name}_plugin.py").write_text(
            "from perslm_runtime.plugin import *\n" + textwrap.dedent(source)
        )
        self.metadata(f"{name}-package", "2.1", {group: {name: f"{name}_plugin:plugin", **more}})


def configured(folder: Path, *settings: str, tables: str = "") -> Config:
    """The configuration of a data folder in which these plug-ins' settings stand."""
    (folder / "plugins.toml").write_text(tables)
    flags = Flags(data_dir=folder, profile="dev", settings=settings)
    return load(flags, environ={"PERSLM_CONFIG": os.devnull})


def needs(*modules: str) -> Any:
    """Skip a test of an extra that is not installed, with the command that installs it."""
    import importlib.util

    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    reason = f"{', '.join(missing)} is not installed: `make install` brings what tests need"
    return pytest.mark.skipif(bool(missing), reason=reason)
