"""Which engine a part gets: the plug-in that the configuration names, or the built-in one.

A plug-in that cannot be used, or that failed in a call, leaves its part to the built-in engine until the engines
are started anew; why is kept here for `perslm doctor`. Knows no lane; called in the engines' own threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from perslm_runtime.errors import PersLMError

log = logging.getLogger("perslm.start")


class _Proves(Protocol):
    def prove(self) -> str: ...

    def close(self) -> None: ...


EngineT = TypeVar("EngineT", bound=_Proves)


@dataclass(slots=True)
class EngineChoice:
    """What became of the engines that are plug-ins; `stands_in` lets the built-in ones take their place."""

    stands_in: bool = True
    problems: dict[str, str] = field(default_factory=dict)
    """By part, why its plug-in is not in use."""
    _tried: set[str] = field(default_factory=set)

    def of(self, part: str, name: str, plugged: Callable[[], EngineT], own: Callable[[], EngineT]) -> EngineT:
        """An engine for a part; `name` is the plug-in's, "" for none.

        Asked again, the plug-in has failed in a call: a lane builds anew after that only. Raises what `plugged`
        raises where nothing stands in, and the plug-in's own error where the built-in engine cannot be built.
        """
        if not name or not self.stands_in:
            return plugged() if name else own()
        try:
            if part not in self._tried:
                self._tried.add(part)
                return _proven(plugged())
            problem = f"the plug-in {name} failed in a call"
        except PersLMError as error:
            problem = str(error)
        log.warning("part=%s plugin=%s not_in_use", part, name)
        engine = own()
        self.told(part, f"{problem}; the built-in engine is in its place until PersLM is started anew")
        return engine

    def anew(self, part: str) -> None:
        """A part is to be built from a new configuration: its plug-in is tried again."""
        self._tried.discard(part)
        self.problems.pop(part, None)

    def told(self, part: str, problem: str) -> None:
        """Keep why a plug-in is not in use; "" when it is again."""
        if problem:
            self.problems[part] = problem
        else:
            self.problems.pop(part, None)

    def by_plugin(self, part: str, name: str) -> bool:
        """Whether a part's plug-in is in use."""
        return bool(name) and part not in self.problems


def _proven(engine: EngineT) -> EngineT:
    """An engine that has done one real thing; closed where it cannot."""
    try:
        engine.prove()
    except PersLMError:
        engine.close()
        raise
    return engine
