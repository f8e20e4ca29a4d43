"""When a failing engine is built again, and when it is given up.

Counts faults; knows no thread and no engine. A *fault* is an error after which the engine itself is in doubt: an
`EngineError`, or anything that was not raised on purpose. Wrong input, a full disk or a stop are none.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from perslm_runtime.errors import EngineError, PersLMError

_WORDS = ("no times", "once", "twice", "three times", "four times", "five times")


@dataclass(frozen=True, slots=True)
class RebuildPolicy:
    """An engine is rebuilt at most `times` in any `within_s` seconds; the next fault gives it up."""

    times: int = 3
    within_s: float = 600.0
    clock: Callable[[], float] = time.monotonic


def is_fault(error: BaseException | None) -> bool:
    """Whether `error` puts the engine in doubt."""
    if isinstance(error, PersLMError):
        return isinstance(error, EngineError)
    return isinstance(error, Exception)


class Faults:
    """The faults of one engine under a policy; without one they are not counted and nothing is rebuilt."""

    def __init__(self, policy: RebuildPolicy | None) -> None:
        self.policy = policy
        self._at: deque[float] = deque()

    def count(self) -> int:
        """Count one more fault; return how many the policy's time holds, this one included."""
        if self.policy is None:
            return 0
        now = self.policy.clock()
        while self._at and now - self._at[0] > self.policy.within_s:
            self._at.popleft()
        self._at.append(now)
        return len(self._at)

    def too_many(self) -> bool:
        """Whether the last fault counted was one more than the policy allows."""
        return self.policy is not None and len(self._at) > self.policy.times

    def sentence(self, name: str, error: BaseException) -> str:
        """Why the engine was given up, for the people who ask it something now."""
        policy = self.policy or RebuildPolicy()
        times = _WORDS[policy.times] if policy.times < len(_WORDS) else f"{policy.times} times"
        minutes = "ten minutes" if policy.within_s == 600 else f"{policy.within_s:g} seconds"
        return (
            f"the {name} engine failed {times} in {minutes} and then again, so it was given up: "
            f"{type(error).__name__}: {error}: see `perslm doctor`, then restart PersLM"
        )
