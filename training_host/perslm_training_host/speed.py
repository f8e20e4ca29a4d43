"""How quick a GGUF file is on this machine, and how much memory it takes: measured in a process of its own.

A second model in the same process would share its memory and its threads; so `measure` starts this module anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from perslm_runtime.errors import EngineError
from perslm_runtime.llama import Llama, LlamaOptions, bare_speed

_PROMPT_TOKENS, _ANSWER_TOKENS = 512, 64
_CONTEXT_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second reading a prompt of 512 and answering with 64; resident megabytes at the highest."""

    prompt_tokens_per_s: float
    answer_tokens_per_s: float
    resident_mb: float


def measure(path: Path, threads: int = 2) -> Speed:
    """Measure `path`. Raises EngineError, with what the process said, where it does not run."""
    argv = [sys.executable, "-m", "perslm_training_host.speed", str(path), str(threads)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(word for word in sys.path if word)}
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    if ended.returncode != 0:
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise EngineError(f"{path} does not run by itself: {last}")
    return Speed(**json.loads(ended.stdout))


def main(path: Path, threads: int) -> Speed:
    """What the child process does."""
    options = LlamaOptions(_CONTEXT_TOKENS, batch_tokens=128, threads=threads, batch_threads=threads, kv="f16")
    model = Llama(path, options)
    words = "The garden was quiet and the light went on in the house across the street. " * 100
    found = bare_speed(model, [], model.tokenize(words, special=False)[:_PROMPT_TOKENS], _ANSWER_TOKENS)
    model.close()
    return Speed(round(found.prefill, 1), round(found.decode, 1), _highest_resident_mb())


def _highest_resident_mb() -> float:
    """From /proc: getrusage answers with what the process that started this one had, where that was more."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise EngineError("this system does not say how much memory a process takes (/proc/self/status)")


if __name__ == "__main__":
    measured = main(Path(sys.argv[1]), int(sys.argv[2]))
    told = {name: getattr(measured, name) for name in Speed.__slots__}
    sys.stdout.write(json.dumps(told) + "\n")
