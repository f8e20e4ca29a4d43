"""The templates of announcements: compiled once, shared by all that use them, out of service after one offence.

Templates come from devices, which are strangers; the sandbox is in the runtime's `templates`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perslm_daemon.home_entity import Payload
from perslm_runtime.errors import InputError
from perslm_runtime.templates import Template

Warn = Callable[[str, str], None]
"""Told who is concerned and what is wrong, once."""

_MOST = 20_000  # different templates: as many as entities can have; then nothing new is compiled


class Templates:
    """The compiled templates. Used in the event loop only."""

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._known: dict[str, Template | None] = {}

    def render(self, source: str, who: str, variables: Mapping[str, Any]) -> str | None:
        """The text; None where the template says nothing, is quarantined or cannot be read."""
        template = self._known[source] if source in self._known else self._compile(source, who)
        if template is None:
            return None
        try:
            return template.render(variables)
        except InputError as error:
            self._known[source] = None
            self._warn(who, f"its template is out of service: {error}")
            return None

    def reader(self, source: str | None, who: str) -> Callable[[Payload], str | None]:
        """A function from a message to its text; the message itself where there is no template."""
        if not source:
            return lambda payload: payload.text

        def read(payload: Payload) -> str | None:
            return self.render(source, who, payload.variables())

        if source not in self._known:
            self._compile(source, who)
        return read

    def writer(self, source: str | None, who: str) -> Callable[..., str | None]:
        """A function from a value and variables to a command's payload; the value itself without a template."""
        if not source:
            return lambda value, **_: str(value)

        def write(value: object, **variables: object) -> str | None:
            return self.render(source, who, {"value": value, **variables})

        return write

    def _compile(self, source: str, who: str) -> Template | None:
        found: Template | None = None
        if len(self._known) >= _MOST:
            self._warn(who, "there are too many different templates: its template is not read")
            return None
        try:
            found = Template(source)
        except InputError as error:
            self._warn(who, f"its template is not read: {error}")
        self._known[source] = found
        return found
