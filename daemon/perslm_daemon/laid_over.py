"""What bundles lay over the parts of a board: an adapter on its language model, a wake word, sentences.

Names and finds the files that a configuration names; loads none of them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from perslm_runtime.bundle import ADAPTER, MANIFEST, SENTENCES, Manifest, read_manifest, wake_model
from perslm_runtime.errors import CatalogError

if TYPE_CHECKING:
    from pathlib import Path

    from perslm_daemon.config_sections import Config
    from perslm_runtime.catalog import Store
    from perslm_runtime.sentence_layer import Layer

log = logging.getLogger("perslm.start")


def adapter_of(config: Config, store: Store) -> Path | None:
    """The adapter's file, where one is named and the model in use is the one it was made for. Blocks.

    With another model it rests: what it changes would be other numbers there. Raises `CatalogError` for a bundle
    that is not here.
    """
    name = config.model.adapter
    if not name:
        return None
    if why := rests(config, store):
        log.warning("adapter_rests name=%s model=%s", name, config.model.id)
        log.debug("%s", why)
        return None
    return store.folder(name) / ADAPTER


def rests(config: Config, store: Store) -> str:
    """Why the adapter that is named is not put onto the model in use, as a sentence; "" where it is. Blocks."""
    name = config.model.adapter
    if not name:
        return ""
    manifest = _manifest(config, name)
    if manifest.base_sha256 == model_sha256(config, store):
        return ""
    return f"{name} was made for another model than {config.model.id} (sha256 {manifest.base_sha256[:12]})"


def model_sha256(config: Config, store: Store) -> str:
    """The sha256 of the language model's file; "" where the catalogue knows none."""
    try:
        files = store.catalog[config.model.id].files
    except CatalogError:
        return ""
    return next((file.sha256 for file in files if file.path.endswith(".gguf")), "")


def wake_bundle_words(config: Config) -> tuple[str, ...]:
    """The wake word of the bundle, by the path its engine knows it by; none where no bundle is named."""
    name = config.wake.bundle
    return (str(config.models_dir / name / wake_model(name)),) if name else ()


def layer_of(config: Config) -> Layer:
    """The sentences that are laid over the shipped ones; an empty layer where none are. Blocks.

    Raises `InputError` where they cannot be used.
    """
    from perslm_runtime.sentence_layer import EMPTY, read  # noqa: PLC0415 - only a daemon that understands pays

    name = config.intents.bundle
    return read(config.models_dir / name / SENTENCES) if name else EMPTY


def _manifest(config: Config, name: str) -> Manifest:
    path = config.models_dir / name / MANIFEST
    try:
        return read_manifest(path.read_bytes(), str(path))
    except OSError as error:
        raise CatalogError(f"the bundle {name} is not here ({error.strerror}): `perslm sync install`") from error
