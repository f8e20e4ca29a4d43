"""The settings of plug-ins: one TOML file with a table for each, checked against what the plug-in says it takes.

A secret never stands in that file: it is read from a file of its own, or is one of systemd's credentials, and goes
to the plug-in's process alone. What is told of settings has no secret in it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from perslm_daemon.plugin_wire import SettingShape
from perslm_daemon.service import credential
from perslm_runtime.errors import ConfigError

FILE = "plugins.toml"
MCP = "mcp"
_LONGEST = 4096
_ALLOWED = {
    "text": "text",
    "whole": "a whole number",
    "switch": "true or false",
    "list": "a list of texts",
    "url": "an address that begins with http:// or https://, imap://, imaps://, smtp:// or smtps://",
    "urls": "a list of such addresses",
    "places": "a list of HOST:PORT",
    "files": "a list of files",
}
_PORTS = {"http": 80, "https": 443, "imap": 143, "imaps": 993, "smtp": 587, "smtps": 465}


def read(file: Path) -> dict[str, dict[str, Any]]:
    """Every table of the file; none where there is no file. Raises `ConfigError`."""
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the settings of plug-ins, {file}, cannot be read: {error}") from error
    wrong = [name for name, table in tree.items() if not isinstance(table, dict)]
    if wrong:
        raise ConfigError(f"{file}: {wrong[0]} stands in no table: write it under [NAME] of its plug-in")
    return tree


def settings_of(
    plugin: str, shapes: Sequence[SettingShape], table: Mapping[str, Any], base: Path
) -> dict[str, Any]:
    """The settings in force, secrets included. Raises `ConfigError` with everything that is wrong or missing.

    Paths start from `base`, the folder of the file.
    """
    wrong: list[str] = []
    found: dict[str, Any] = {}
    known = {shape.name for shape in shapes} | {f"{one.name}_file" for one in shapes if one.kind == "secret"}
    wrong += [f"there is no setting {name}" for name in sorted(table.keys() - known)]
    for shape in shapes:
        try:
            value = _secret(plugin, shape, table, base) if shape.kind == "secret" else _value(shape, table)
            if shape.kind == "files" and value is not None:
                value = [str((base / Path(one).expanduser()).absolute()) for one in value]
        except ValueError as error:
            wrong.append(str(error))
            continue
        if value is None and shape.needed:
            wrong.append(_missing(plugin, shape))
        found[shape.name] = shape.default if value is None else value
    if wrong:
        raise ConfigError(f"[{plugin}] of the plug-in settings: {'; '.join(wrong)}")
    return found


def shown(shapes: Sequence[SettingShape], table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings for people: what each is, and its value where it is no secret."""
    return [
        {
            "name": f"{one.name}_file" if one.kind == "secret" else one.name,
            "about": one.about,
            "kind": one.kind,
            "needed": one.needed,
            "default": one.default,
            "value": table.get(f"{one.name}_file" if one.kind == "secret" else one.name),
        }
        for one in shapes
    ]


def hosts_of(shapes: Sequence[SettingShape], settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The machines that a plug-in with these settings reaches, as HOST:PORT."""
    found: list[str] = []
    for shape in shapes:
        value = settings.get(shape.name)
        named = {"url": [value], "urls": value, "places": value}.get(shape.kind) if value else None
        found += [host_of(f"//{one}" if shape.kind == "places" else str(one)) for one in named or ()]
    return tuple(dict.fromkeys(found))


def files_of(shapes: Sequence[SettingShape], settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The files outside its folder that a plug-in with these settings reads."""
    return tuple(one for shape in shapes if shape.kind == "files" for one in settings.get(shape.name) or ())


def host_of(url: str) -> str:
    """HOST:PORT of an address. Raises ValueError where it has none."""
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    if not parts.hostname or port is None or parts.username is not None:
        raise ValueError(url)
    return f"[{parts.hostname}]:{port}" if ":" in parts.hostname else f"{parts.hostname}:{port}"


def _reaches(urls: Sequence[object]) -> bool:
    try:
        return all(isinstance(one, str) and host_of(one) for one in urls)
    except ValueError:
        return False


def _value(shape: SettingShape, table: Mapping[str, Any]) -> Any:
    value = table.get(shape.name)
    right = {
        "text": isinstance(value, str) and len(value) <= _LONGEST,
        "whole": isinstance(value, int) and not isinstance(value, bool),
        "switch": isinstance(value, bool),
        "list": isinstance(value, list) and all(isinstance(one, str) for one in value),
        "url": _reaches([value]),
        "urls": isinstance(value, list) and _reaches(value),
        "files": isinstance(value, list) and all(isinstance(one, str) for one in value),
        "places": isinstance(value, list) and _reaches([f"//{one}" for one in value]),
    }
    if value is not None and not right[shape.kind]:
        raise ValueError(f"{shape.name} must be {_ALLOWED[shape.kind]}")
    return value


def _secret(plugin: str, shape: SettingShape, table: Mapping[str, Any], base: Path) -> str | None:
    if shape.name in table:
        raise ValueError(f"{shape.name} is a secret: put it into a file and name that as {shape.name}_file")
    named = table.get(f"{shape.name}_file")
    if named is None:
        return credential(f"plugin_{plugin}_{shape.name}")
    try:
        return (base / Path(str(named)).expanduser()).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise ValueError(f"{shape.name}_file cannot be read ({type(error).__name__})") from None


def _missing(plugin: str, shape: SettingShape) -> str:
    if shape.kind == "secret":
        return f"{shape.name}_file is missing, and so is the credential plugin_{plugin}_{shape.name}"
    return f"{shape.name} is missing ({shape.about})"
