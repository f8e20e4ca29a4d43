"""What `perslm doctor` asks the PersLM that runs: its plug-ins, what is shared, what waits for a yes.

Where none runs, plug-ins are judged by what is installed, without starting a line of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from perslm_daemon import control_client
from perslm_daemon.findings import Finding, Verdict
from perslm_daemon.plugin_specs import shelf_of
from perslm_runtime.errors import PersLMError
from perslm_runtime.plugin import ENGINES

if TYPE_CHECKING:
    from perslm_daemon.config_sections import Config

_PARTS = {"hears": "stt", "speaks": "tts", "wakes": "wake", "embeds": "embed", "replies": "model"}
_ENABLE = "`perslm plugins info NAME` says what is wrong, `perslm plugins disable NAME` leaves it out"


def check_plugins(config: Config) -> Iterator[Finding]:
    """Whether each enabled plug-in runs, or could."""
    enabled = config.plugins.enabled
    engines = {kind: name for kind in ENGINES if (name := getattr(config.plugins, kind))}
    yield from _engines(config, engines)
    if not enabled and not engines:
        yield Finding("plugins", Verdict.OK, "none is enabled")
        return
    told = _asked(config, "plugins", {"action": "list"})
    running = {one["name"]: one for one in told["plugins"]} if told is not None else {}
    shelf = shelf_of(config)
    for name in enabled:
        state, problem = running.get(name, {}).get("state", "not running"), running.get(name, {}).get("problem")
        if not running:
            try:
                shelf.spec(name)
            except PersLMError as error:
                problem = str(error)
        if problem:
            yield Finding("plugins", Verdict.FAIL, f"{name}: {problem}", _ENABLE)
        else:
            yield Finding("plugins", Verdict.OK, f"{name}: {state}")


def _engines(config: Config, engines: Mapping[str, str]) -> Iterator[Finding]:
    """Whether each engine that is a plug-in is in use, or could be."""
    told = _asked(config, "status", {}) if engines else None
    missing = {one["part"]: one["reason"] for one in told["degraded"]} if told is not None else {}
    for kind, name in engines.items():
        problem = missing.get(_PARTS[kind], "")
        if told is None:
            try:
                shelf_of(config).spec(name)
            except PersLMError as error:
                problem = str(error)
        if problem:
            advice = f"`perslm plugins info {name}`, or `perslm config unset plugins.{kind}` leaves it out"
            yield Finding("plugins", Verdict.FAIL, f"plugins.{kind}: {problem}", advice)
        else:
            state = "not running" if told is None else "in use"
            yield Finding("plugins", Verdict.OK, f"plugins.{kind}: {name} is {state}")


def check_sharing(config: Config) -> Iterator[Finding]:
    """What of the owner's goes to the training host, how much waits, and whether it gets through."""
    if not any(config.share.people(kind) for kind in ("corrections", "failed", "conversations")):
        yield Finding("sharing", Verdict.OK, "nothing leaves this machine: nobody has allowed it")
        return
    told = _asked(config, "share", {"action": "status"})
    if told is None:
        yield Finding("sharing", Verdict.OK, "somebody shares; PersLM does not run, so what waits is not known")
        return
    counts = ", ".join(f"{sum(kinds.values())} {state}" for state, kinds in told["counts"].items())
    found = f"{told['person']} shares {', '.join(told['allowed']) or 'nothing'}: {counts or 'nothing yet'}"
    if told["problem"]:
        advice = "`perslm share status` tells more, `perslm sync status` how the host is reached"
        yield Finding("sharing", Verdict.WARN, f"{found}; {told['problem']}", advice)
    elif told["counts"].get("waiting") and told["host"] is None:
        yield Finding("sharing", Verdict.WARN, f"{found}; no training host is known", "`perslm sync enroll`")
    else:
        yield Finding("sharing", Verdict.OK, found)


def check_approvals(config: Config) -> Iterator[Finding]:
    """Whether something waits for a yes now."""
    told = _asked(config, "approve", {"action": "list"})
    for one in told["approvals"] if told is not None else ():
        advice = f"`perslm tools yes {one['id']}` or `perslm tools no {one['id']}`, or the dashboard"
        yield Finding("approvals", Verdict.WARN, f"{one['tool']} waits for a yes", advice)
    if told is None or not told["approvals"]:
        yield Finding("approvals", Verdict.OK, "nothing waits for a yes")


def _asked(config: Config, verb: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """The answer of the PersLM that runs; None where none runs or it has no such verb."""
    try:
        connection = control_client.connect(config.data_dir)
        if connection is None:
            return None
        with connection:
            return dict(connection.ask(verb, arguments))
    except PersLMError:
        return None
