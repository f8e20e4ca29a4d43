"""What a plug-in has told already: the ids of its newest notices, kept so that a restart repeats none."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from perslm_daemon.plugin_wire import NoticeShape

log = logging.getLogger("perslm.plugins")

_KEPT = 500
_MOST_AT_ONCE = 5  # a mailbox of a thousand new messages is no reason to speak for an hour
_MOST_CHARS = 400


class ToldBefore:
    """The ids of one plug-in's notices. `read` and `write` block."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ids: deque[str] = deque(maxlen=_KEPT)
        self._changed = False

    def read(self) -> None:
        """Read what was told before; nothing where there is no file."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        self._ids.extend(one for one in found if isinstance(one, str))

    def new(self, notices: Sequence[NoticeShape]) -> list[NoticeShape]:
        """Those that were not told yet, a few at most; all count as told from now on."""
        fresh = [one for one in notices if one.text.strip() and one.id[:_MOST_CHARS] not in self._ids]
        for one in fresh:
            self._ids.append(one.id[:_MOST_CHARS])
        self._changed = self._changed or bool(fresh)
        shown = [NoticeShape(one.id, one.text[:_MOST_CHARS], one.urgent) for one in fresh[:_MOST_AT_ONCE]]
        if len(fresh) > _MOST_AT_ONCE:
            more = len(fresh) - _MOST_AT_ONCE
            shown.append(NoticeShape("", f"There are {more} more.", urgent=False))
        return shown

    def write(self) -> None:
        """Keep them, where there is anything new."""
        if not self._changed:
            return
        draft = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps(list(self._ids)), encoding="utf-8")
            draft.replace(self._file)
            self._changed = False
        except OSError as error:
            log.warning("told_not_kept error=%s", error.strerror)
