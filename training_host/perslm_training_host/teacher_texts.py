"""What teachers of text alone are asked, and their answers: what the student learns word by word (sequence-level).

Answers are kept as they come, so a teacher that goes away costs nothing that was answered. Who answers is
text_teachers.py's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from perslm_runtime.errors import InputError
from perslm_training_host import chat_replies
from perslm_training_host.console import Progress

Answer = Callable[[str], str | None]
"""Answers one prompt; None where the answer was cut off."""


def read_prompts(path: Path) -> list[str]:
    """The different prompts of a JSONL file, in order. Raises InputError naming the line that has none."""
    found: dict[str, None] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            prompt = json.loads(line)["prompt"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f'{path}, line {number}: expected {{"prompt": "…"}}: {error}') from error
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError(f"{path}, line {number}: `prompt` has to be some text")
        found[prompt] = None
    if not found:
        raise InputError(f"{path} holds no prompts: there is nothing to ask the teacher")
    return list(found)


def ask_all(answer: Answer, prompts: Sequence[str], file: Path, *, quiet: bool = False) -> None:
    """Have the prompts answered that `file` has no answer to yet; it is written every 20 answers and at the end.

    Raises what `answer` raises, after keeping what is there.
    """
    kept = dict(chat_replies.read(file)) if file.exists() else {}
    wanted = [prompt for prompt in prompts if prompt not in kept]
    progress = Progress("teacher", len(wanted), quiet=quiet)
    fresh = 0
    try:
        for number, prompt in enumerate(wanted, start=1):
            if (said := answer(prompt)) is not None:
                kept[prompt] = said
                fresh += 1
            if fresh >= 20:
                chat_replies.write(file, kept)
                fresh = 0
            progress.at(number)
    finally:
        if kept:
            chat_replies.write(file, kept)
    if not kept:
        raise InputError("the teacher has ended no answer: give --answer-tokens more, or other prompts")
