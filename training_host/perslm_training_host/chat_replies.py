"""What the base model answers in plain talk: made once by the board's own engine and prompt, kept in a file.

A student that learns commands forgets how to talk. These dialogues are its reminder: on them it is held to the
base model's own probabilities. Questions come from the training file's talk, never from the golden files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from perslm_runtime.errors import InputError
from perslm_runtime.prompt import EXAMPLES, user_text
from perslm_training_host.base_model import Base
from perslm_training_host.console import Progress
from perslm_training_host.runs import write_whole
from perslm_training_host.talk_questions import questions
from perslm_training_host.whole_answers import whole_answer

SYSTEM = "You are a helpful AI assistant named PersLM. Your answers are short, because they are spoken aloud."
"""The system text that the daemon has where nobody changed it; a test compares the two."""
_CONTEXT_TOKENS = 1024
_REPLY_TOKENS = 64


def make(model: Path, file: Path, count: int, seed: int, threads: int = 2) -> None:
    """Let the GGUF file `model` answer `count` questions and write them to `file`; what is there already is kept.

    Some 1 s an answer with a 135M model on two cores.
    """
    kept = dict(read(file)) if file.exists() else {}
    wanted = [question for question in questions(count, seed) if question not in kept]
    progress = Progress("replies", len(wanted))
    for number, (question, reply) in enumerate(answered(model, wanted, threads), start=1):
        if reply:
            kept[question] = reply
        if number % 50 == 0 or number == len(wanted):
            write(file, kept)
        progress.at(number)


def answered(model: Path, wanted: Sequence[str], threads: int = 2) -> Iterator[tuple[str, str]]:
    """Each question with what the GGUF file `model` answers on a board, "" where that did not come to an end."""
    from perslm_runtime.llama import LlamaOptions  # noqa: PLC0415 - llama.cpp is not on every machine that trains
    from perslm_runtime.model import ChatModel  # noqa: PLC0415 - as above

    if not wanted:
        return
    options = LlamaOptions(context_tokens=_CONTEXT_TOKENS, threads=threads, batch_threads=threads)
    chat = ChatModel(model, options, system=SYSTEM, examples=EXAMPLES, max_reply_tokens=_REPLY_TOKENS)
    try:
        for question in wanted:
            yield question, whole_answer(chat, question)
    finally:
        chat.close()


def make_on_device(base: Base, file: Path, count: int, seed: int, rows: int = 128) -> None:
    """As `make`, by PyTorch on the device that holds `base`, `rows` at a time: for a GPU without llama.cpp."""
    kept = dict(read(file)) if file.exists() else {}
    wanted = [question for question in questions(count, seed) if question not in kept]
    talk = base.prompts.head(SYSTEM, EXAMPLES)
    progress = Progress("replies", len(wanted))
    for start in range(0, len(wanted), rows):
        some = wanted[start : start + rows]
        prompts = [[*talk.head, *base.prompts.tokens(user_text(one)), *talk.opening] for one in some]
        for question, reply in zip(some, greedy(base, prompts, talk.closing[0]), strict=True):
            if reply:
                kept[question] = reply
        progress.at(min(len(wanted), start + rows))
    write(file, kept)


def greedy(base: Base, prompts: Sequence[Sequence[int]], end: int, most: int = _REPLY_TOKENS) -> list[str]:
    """The likeliest reply to each prompt, "" where it did not end in time."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[end] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    seen = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    device = base.model.device
    with torch.no_grad():
        written = base.model.generate(
            ids.to(device), attention_mask=seen.to(device), max_new_tokens=most, do_sample=False,
            eos_token_id=end, pad_token_id=end, use_cache=True,
        )[:, longest:].tolist()  # fmt: skip
    found = (row[: row.index(end)] if end in row else [] for row in written)
    return [base.prompts.tokenizer.decode(row, clean_up_tokenization_spaces=False).strip() for row in found]


def read(file: Path) -> list[tuple[str, str]]:
    """The (question, reply) pairs of a file. Raises InputError naming the line that is no such pair."""
    found: list[tuple[str, str]] = []
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}): make it with `perslm-host student replies`"
        ) from error
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            pair = json.loads(line)
            found.append((str(pair["question"]), str(pair["reply"])))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}, line {number} is no question with its reply: {error}") from error
    if not found:
        raise InputError(f"{file} holds no replies: delete it and make it anew")
    return found


def write(file: Path, kept: dict[str, str]) -> None:
    """Write (question, reply) pairs, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pairs = (json.dumps({"question": question, "reply": reply}) for question, reply in kept.items())
    write_whole(file, "".join(pair + "\n" for pair in pairs))
