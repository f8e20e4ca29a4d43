"""`perslm models`: which models there are, fetching, checking and removing them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perslm_daemon import terminal
from perslm_daemon.cli_session import Session, command_group, session_of
from perslm_daemon.config import Flags, load, profile_file
from perslm_daemon.config_sections import PROFILES
from perslm_daemon.stores import open_models
from perslm_daemon.terminal import megabytes, put, put_json, put_table
from perslm_runtime.errors import CatalogError, InputError

if TYPE_CHECKING:
    from perslm_runtime.catalog import ModelInfo, Pulled, Store

# What the default tests load; the larger models are for slow tests and benchmarks.
TEST_MODELS = (
    "smollm2-135m-q4_1",
    "all-minilm-l6-v2",
    "whisper-tiny.en",
    "vosk-small-ko",
    "piper-en_US-joe-medium",
    "recorded-speech",
)

_Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Models, as `perslm models list` names them.")
]


def register(app: typer.Typer) -> None:
    """Add `models` to the command line."""
    models = command_group(app, "models", "List, fetch, check and remove models.")
    models.command("list")(list_models)
    models.command()(pull)
    models.command()(verify)
    models.command()(remove)
    models.command()(info)
    for command in (use, rollback, pin, unpin):
        models.command()(command)


_Kind = Annotated[str, typer.Argument(metavar="[KIND]", help="llm, adapter, stt, tts, embed, wake or intents.")]


def use(
    context: typer.Context,
    model_id: Annotated[str, typer.Argument(metavar="ID", help="A language model on this disk.")],
) -> None:
    """Let the running PersLM answer with another language model; all else goes on while it loads."""
    _ask(context, "model", {"action": "use", "id": model_id}, f"{model_id} answers from the next turn on")


def rollback(context: typer.Context, kind: _Kind = "llm") -> None:
    """Go back to the model before an update; the present one is not taken again (docs/updates.md)."""
    _ask(context, "sync", {"action": "rollback", "kind": kind}, "the model before is back")


def pin(context: typer.Context, kind: _Kind = "llm") -> None:
    """Keep the model of a kind as it is, whatever a training host offers."""
    _ask(context, "sync", {"action": "pin", "kind": kind}, f"{kind} stays as it is")


def unpin(context: typer.Context, kind: _Kind = "llm") -> None:
    """Let the model of a kind follow its training host again."""
    _ask(context, "sync", {"action": "unpin", "kind": kind}, f"{kind} follows its host again")


def _ask(context: typer.Context, verb: str, payload: dict[str, object], sentence: str) -> None:
    from perslm_daemon.cli_remote import required

    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask(verb, payload)
    put_json(data) if session.json else put(sentence)


def list_models(context: typer.Context) -> None:
    """Show every model in the catalogue: kind, size, licence, whether it is here, and which boards it suits."""
    session = session_of(context)
    store = open_models(session.config)
    found = [store.info(model.id) for model in store.catalog.models]
    if session.json:
        put_json([_as_json(info) for info in found])
        return
    rows = [
        (i.model.id, i.model.kind, megabytes(i.model.size), i.model.licence, _state(i), " ".join(i.model.boards))
        for i in found
    ]
    put_table(("ID", "KIND", "SIZE", "LICENCE", "HERE", "BOARDS"), rows)


def pull(
    context: typer.Context,
    ids: _Ids = None,
    *,
    needed: Annotated[bool, typer.Option("--needed", help="What the configuration in force needs.")] = False,
    tests: Annotated[bool, typer.Option("--tests", help="What the default tests need.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch nothing: fail where a model is missing.")
    ] = False,
) -> None:
    """Fetch models, verify them and show their licences; what is there already is not fetched again."""
    session = session_of(context)
    store = open_models(session.config)
    wanted = _wanted(session, ids or (), needed=needed, tests=tests)
    for model_id in wanted:
        _ = store.catalog[model_id]  # an unknown name is told before the first long download
    pulled, failed = _pull_each(store, wanted, offline=offline, as_json=session.json)
    if session.json:
        put_json([_pulled_as_json(each) for each in pulled])
    if failed:
        raise CatalogError("\n".join(failed))


def _wanted(session: Session, ids: Sequence[str], *, needed: bool, tests: bool) -> list[str]:
    from perslm_daemon.budget import needed_models

    chosen = [*ids, *(needed_models(session.config) if needed else ()), *(TEST_MODELS if tests else ())]
    if not chosen:
        raise InputError(
            "say which models: `perslm models pull ID`, or --needed for what this configuration needs"
        )
    return list(dict.fromkeys(chosen))


def _pull_each(
    store: Store, ids: Iterable[str], *, offline: bool, as_json: bool
) -> tuple[list[Pulled], list[str]]:
    """Pull one after the other; a failure is kept and does not keep the others from coming."""
    pulled: list[Pulled] = []
    failed: list[str] = []
    with terminal.progress_bars() as progress:
        for model_id in ids:
            try:
                pulled.append(store.pull(model_id, progress, offline=offline))
            except CatalogError as error:
                failed.append(str(error))
                continue
            if not as_json:
                put(_pulled_as_text(pulled[-1]))
    return pulled, failed


def verify(context: typer.Context, ids: _Ids = None) -> None:
    """Read every byte of the named models, or of all that are here, and compare them with the catalogue."""
    session = session_of(context)
    store = open_models(session.config)
    wanted = ids or [model.id for model in store.catalog.models if store.installed(model.id)]
    problems: dict[str, list[str]] = {}
    with terminal.progress_bars() as progress:
        for model_id in wanted:
            problems[model_id] = store.verify(model_id, progress)
            if not session.json and not problems[model_id]:
                put(f"{model_id}: right")
    if session.json:
        put_json(problems)
    wrong = [f"{model_id}: {problem}" for model_id, found in problems.items() for problem in found]
    if wrong:
        raise CatalogError("\n".join(wrong))
    if not wanted:
        terminal.note("no models are here: `perslm models pull --needed` fetches what is needed")


def remove(
    context: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Models to delete.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete models from this machine, half-fetched parts included."""
    session = session_of(context)
    store = open_models(session.config)
    sizes = {model_id: _bytes_of(store.info(model_id)) for model_id in ids}
    listing = ", ".join(f"{model_id} ({megabytes(size)})" for model_id, size in sizes.items())
    if not yes and not terminal.confirm(f"Delete {listing}?"):
        raise InputError("nothing was deleted")
    freed = {model_id: store.remove(model_id) for model_id in ids}
    if session.json:
        put_json({"removed": list(freed), "freed_bytes": sum(freed.values())})
    else:
        put(f"deleted {', '.join(freed)}: {megabytes(sum(freed.values()))} are free again")


def info(
    context: typer.Context, model_id: Annotated[str, typer.Argument(metavar="ID", help="One model.")]
) -> None:
    """Show all that is known of one model, with estimates of its memory and speed on each board.

    Of one that a training host has signed also what it was tested on, and what it has learned from.
    """
    session = session_of(context)
    told = _as_json(open_models(session.config).info(model_id)) | _estimates(session, model_id)
    told |= _as_signed(session, model_id)
    if session.json:
        put_json(told)
        return
    for name, value in told.items():
        if isinstance(value, dict):
            put(f"{name}:")
            for inner, figure in value.items():
                put(f"  {inner}: {figure}")
        else:
            put(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")


def _as_signed(session: Session, model_id: str) -> dict[str, Any]:
    """What the manifest of a signed bundle says besides; empty for other models."""
    from perslm_runtime.bundles import installed

    for manifest in installed(session.config.models_dir):
        if manifest.name == model_id:
            return {
                "base": manifest.base or manifest.base_sha256,
                "needs_perslm": manifest.app_min,
                "evaluation": manifest.evaluation,
                "learned_from": manifest.data,
            }
    return {}


def _estimates(session: Session, model_id: str) -> dict[str, Any]:
    """Return the cache per token and the estimated tokens per second of a language model; empty for others."""
    from perslm_daemon.budget import attention_of, tokens_per_second

    store = open_models(session.config)
    model = store.catalog[model_id]
    if model.kind != "llm":
        return {}
    attention = attention_of(model, store.file(model_id) if store.installed(model_id) else None)
    told: dict[str, Any] = {}
    if attention is not None:
        told["attention_cache_bytes_per_token"] = {
            kv: round(attention.kv_bytes_per_token(kv)) for kv in ("f16", "q8_0")
        }
    if model.size:
        boards = [load(Flags(None, name, profile_file(name)), environ={}).board for name in PROFILES]
        told["estimated_tokens_per_second"] = {
            board.name: round(tokens_per_second(model.size, board.bandwidth_gb_s), 1) for board in boards
        }
    return told


def _state(info: ModelInfo) -> str:
    if info.installed:
        return "verified" if info.verified else "yes"
    return f"part ({megabytes(info.partial_bytes)})" if info.partial_bytes else "no"


def _bytes_of(info: ModelInfo) -> int:
    return info.disk_bytes + info.partial_bytes


def _as_json(info: ModelInfo) -> dict[str, Any]:
    model = info.model
    return {
        "id": model.id,
        "kind": model.kind,
        "what": model.what,
        "licence": model.licence,
        "languages": list(model.languages),
        "boards": list(model.boards),
        "size_bytes": model.size,
        "memory_mb": model.memory_mb,
        "installed": info.installed,
        "verified": info.verified,
        "disk_bytes": info.disk_bytes,
        "partial_bytes": info.partial_bytes,
        "folder": str(info.folder),
    }


def _pulled_as_json(pulled: Pulled) -> dict[str, Any]:
    return {
        "id": pulled.model.id,
        "licence": pulled.model.licence,
        "fetched": pulled.fetched,
        "source": pulled.source,
        "folder": str(pulled.folder),
    }


def _pulled_as_text(pulled: Pulled) -> str:
    how = f"fetched from {pulled.source}" if pulled.fetched else "already here"
    return f"{pulled.model.id}: {how}; licence {pulled.model.licence}"
