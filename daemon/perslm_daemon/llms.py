"""The language models that are on this disk, and which of them this board can run. Loads none of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perslm_daemon.budget import parts
from perslm_daemon.config_sections import Config
from perslm_daemon.stores import open_models
from perslm_runtime.errors import PersLMError


@dataclass(frozen=True, slots=True)
class Llm:
    """A language model on this disk: its size in bytes, what everything takes with it (MB), whether that fits.

    `problem` says what is wrong with its file.
    """

    id: str
    size: int | None
    needs_mb: float
    fits: bool
    problem: str = ""


def llms(config: Config) -> list[Llm]:
    """The language models that are pulled, smallest first. Reads the catalogue and the models' folder."""
    store = open_models(config)
    found: list[Llm] = []
    for model in store.catalog.of_kind("llm"):
        if model.id != config.model.id and not store.installed(model.id):
            continue
        file = store.file(model.id) if store.installed(model.id) else None
        wanted = replace(config, model=replace(config.model, id=model.id))
        try:
            needs = sum(part.mb for part in parts(wanted, store.catalog, file))
        except PersLMError as error:
            found.append(Llm(model.id, model.size, 0, model.id == config.model.id, str(error)))
            continue
        fits = model.id == config.model.id or needs <= config.board.budget_mb
        found.append(Llm(model.id, model.size, round(needs), fits))
    return sorted(found, key=lambda one: one.size or 0)


def usable_llms(config: Config) -> list[str]:
    """Ids of the language models that are pulled and fit the board's budget; the one in force is always one."""
    return [one.id for one in llms(config) if one.fits]
