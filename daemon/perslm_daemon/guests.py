"""What guests said a moment ago, so that their conversations go on: a few, and in memory only."""

from __future__ import annotations

from collections import OrderedDict, deque

from perslm_daemon.turn import Ask

_CONVERSATIONS = 8
_TURNS = 6  # as many as are taken up of a conversation that is on record


class Guests:
    """The last turns of the last few conversations. Used in the event loop only."""

    def __init__(self) -> None:
        self._said: OrderedDict[str, deque[tuple[str, str]]] = OrderedDict()

    def add(self, ask: Ask, reply: str) -> None:
        """Keep a turn; the oldest of its conversation, and the oldest conversation, give way."""
        turns = self._said.setdefault(ask.conversation, deque(maxlen=_TURNS))
        self._said.move_to_end(ask.conversation)
        turns.append((ask.text, reply))
        if len(self._said) > _CONVERSATIONS:
            self._said.popitem(last=False)

    @property
    def conversations(self) -> tuple[str, ...]:
        """Those that something is kept of, the latest last."""
        return tuple(self._said)

    def recent(self, conversation: str) -> list[tuple[str, str]]:
        """(question, reply) pairs of a conversation, oldest first."""
        return list(self._said.get(conversation, ()))

    def forget(self) -> None:
        """Drop all."""
        self._said.clear()
