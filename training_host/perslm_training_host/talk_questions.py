"""Things to say to an assistant that ask for no action, drawn by a seed from the training file's talk."""

from __future__ import annotations

import random

from perslm_training_host.held_out import is_held_out
from perslm_training_host.home_made import data
from perslm_training_host.home_said import is_dev
from perslm_training_host.phrases import as_people_write, lines, resolve


def questions(count: int, seed: int) -> list[str]:
    """Up to `count` different things to say that ask for no action; the same seed gives the same ones."""
    dice = random.Random(f"talk {seed}")  # noqa: S311 - draws sentences, no secrets
    about = data("train")
    templates = [
        line
        for line in (*lines(about["none"]["any"]), *lines(about["talk"]["any"]))
        if "<" not in line and not is_dev(line)
    ]
    found: dict[str, None] = {}
    for _ in range(count * 20):
        if len(found) >= count:
            break
        question = resolve(dice.choice(templates), dice)
        if not is_held_out(question):
            found[as_people_write(question, dice)] = None
    return list(found)
