"""What sentences tell of people: the rules of facts.py beside a model held to the sentence's own words.

    python benchmarks/facts.py                                  # the rules, on their lists
    python benchmarks/facts.py --model qwen2.5-coder-1.5b-q4_k_m

`tests/golden/facts.txt` is what the rules are held to; `facts_hard.txt` says the same things in ways that no rule
knows, with near misses. A model reads as the product has it read (fact_reading.py); its guards and threshold were
chosen on the development dialogues and `facts_chosen_on.txt`, `facts_unseen.txt` was written after that.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("runtime", "daemon", "tests")]

from perslm_daemon.engine_calls import note, stands  # noqa: E402 - after the path is set
from perslm_runtime.facts import statements  # noqa: E402 - as above
from perslm_runtime.lane import Stop  # noqa: E402 - as above
from perslm_runtime.model import ChatModel  # noqa: E402 - as above
from real_models import build_model, models_dir  # noqa: E402 - as above
from sayings import Said, golden, same  # noqa: E402 - as above

LISTS = ("facts.txt", "facts_hard.txt", "facts_chosen_on.txt", "facts_unseen.txt")
NAMES = frozenset(("Ana", "Lukas", "Miriam", "Pavel"))


def by_rules(sentence: str) -> set[Said]:
    """What the rules understand."""
    return {
        same(one.subject, one.relation, one.value)
        for one in statements(sentence)
        if not one.pronoun and (one.subject or not one.named)
    }


def by_model(model: ChatModel, sentence: str) -> set[Said]:
    """What the model understands where the rules do not, and stands by when it is asked again."""
    if statements(sentence):
        return set()
    noted = note(model, Stop(), sentence, NAMES)
    if noted is None or not stands(model, Stop(), noted):
        return set()
    found = noted.statement
    return {same((found.named,) if found.named else found.subject, found.relation, found.value)}


def measure(name: str, list_name: str, understand: Callable[[str], set[Said]]) -> None:
    """Print precision, share of the telling sentences, seconds a sentence, and every mistake."""
    right = wrong = 0
    cases, began = golden(list_name), time.perf_counter()
    for sentence, wanted in cases:
        found = understand(sentence)
        right, wrong = right + len(found & wanted), wrong + len(found - wanted)
        if found - wanted:
            print(f"  wrong: {sentence} -> {sorted(map(str, found - wanted))}")
    each_s = (time.perf_counter() - began) / len(cases)
    telling = sum(bool(wanted) for _, wanted in cases)
    print(
        f"{name} on {list_name}: {right} right, {wrong} wrong, of {telling} that tell something and "
        f"{len(cases) - telling} that do not; {each_s:.2f} s a sentence",
        flush=True,
    )


def main() -> None:
    """Measure the rules, and a model where one is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    wanted = parser.parse_args()
    for list_name in LISTS[:2]:
        measure("rules", list_name, by_rules)
    if wanted.model:
        model = build_model(models_dir() / wanted.model / "model.gguf", context_tokens=1024)
        for list_name in LISTS[1:]:
            measure(wanted.model, list_name, lambda sentence: by_model(model, sentence))
        model.close()


if __name__ == "__main__":
    main()
