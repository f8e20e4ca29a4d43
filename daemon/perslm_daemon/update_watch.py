"""The watch over a model that is new: errors, latency, and corrections by the person say when it has to go back.

Judges, and does nothing: each function returns why the former model shall be back, "" where it need not.
"""

from __future__ import annotations

import statistics
from collections import deque

from perslm_daemon.sharing_signs import corrects
from perslm_daemon.turn import Turn
from perslm_daemon.update_book import PART, Watch

_MOST_ERRORS = 3
_MOST_CORRECTIONS, _CORRECTED_SHARE = 4, 0.25  # of a model that is watched; more, and it goes back
_ENOUGH_ANSWERS = 8  # to speak of a median
_SLOWER = 3.0  # times the median before: then it goes back
_ANSWERS = ("llm", "adapter")


class Watching:
    """What is seen of answers and errors. Used in the event loop only."""

    def __init__(self) -> None:
        self._latencies: deque[float] = deque(maxlen=64)
        self._by_model = False

    @property
    def latency_ms(self) -> float | None:
        """The median of the latest answers; None before there was one."""
        return statistics.median(self._latencies) if self._latencies else None

    def before_ms(self) -> float | None:
        """The median that a new model is held to; None where too few answers were given."""
        before = list(self._latencies)[-_ENOUGH_ANSWERS * 2 :]
        return statistics.median(before) if len(before) >= _ENOUGH_ANSWERS else None

    def answered(self, watch: Watch | None, latency_ms: float) -> str:
        """An answer took so long."""
        self._latencies.append(latency_ms)
        if watch is None or watch.kind not in _ANSWERS:
            return ""
        watch.answers += 1
        if (before := watch.before_ms) is None or watch.answers < _ENOUGH_ANSWERS:
            return ""
        now = statistics.median(list(self._latencies)[-_ENOUGH_ANSWERS:])
        return f"answers take {now:.0f} ms and took {before:.0f} ms before" if now > _SLOWER * before else ""

    def saw(self, watch: Watch | None, turn: Turn) -> str:
        """A turn is over: did it say that what was answered or understood before it was wrong?

        Sentences that were laid over are judged by what skills made of them, a model by its own answers.
        """
        corrected = self._by_model and corrects(turn.heard)
        understood = watch is not None and watch.kind == "intents"
        self._by_model = turn.intent is not None if understood else bool(turn.model)
        if watch is None or watch.kind not in (*_ANSWERS, "intents"):
            return ""
        watch.answers += understood and turn.intent is not None
        if not corrected:
            return ""
        watch.corrections += 1
        if watch.corrections >= _MOST_CORRECTIONS and watch.corrections > _CORRECTED_SHARE * watch.answers:
            return f"{watch.corrections} of {watch.answers} answers were corrected"
        return ""

    def went_wrong(self, watch: Watch | None, engine: str) -> str:
        """An engine failed; "" is none in particular."""
        if watch is None or engine not in ("", PART.get(watch.kind, watch.kind)):
            return ""
        watch.errors += 1
        return f"{watch.errors} errors since it is used" if watch.errors >= _MOST_ERRORS else ""
