"""The models' files on this board as an update needs them: what a difference may be to, and what may go."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from perslm_daemon.config_sections import Config
from perslm_daemon.stores import open_models
from perslm_daemon.update_book import KEYS
from perslm_runtime.bundles import forget_partial, installed, remove
from perslm_runtime.errors import CatalogError


def in_use(config: Config) -> dict[str, str]:
    """The model in use of each kind."""
    found = {}
    for kind, name in KEYS.items():
        section, _, key = name.partition(".")
        found[kind] = str(getattr(getattr(config, section), key))
    return found


def known_files(config: Config) -> Mapping[str, Path]:
    """By sha256 the files of the models in use, which a difference may be to. Blocks."""
    store = open_models(config)
    found: dict[str, Path] = {}
    for model_id in in_use(config).values():
        try:
            folder = store.folder(model_id)
            found |= {file.sha256: folder / file.path for file in store.catalog[model_id].files}
        except CatalogError:
            continue
    return found


def tidy(config: Config, keep: Collection[str]) -> None:
    """Delete the bundles that are not in `keep`, and what has arrived of others. Blocks."""
    for manifest in installed(config.models_dir):
        if manifest.name not in keep:
            remove(config.models_dir, manifest.name)
    forget_partial(config.models_dir, ())


def drop_refused(config: Config, refused: Collection[str]) -> None:
    """Delete the bundles that are never used again: 200 crashes of new models left 75 of 98 MB each. Blocks."""
    used = set(in_use(config).values())
    for manifest in installed(config.models_dir):
        if manifest.name in refused and manifest.name not in used:
            remove(config.models_dir, manifest.name)
