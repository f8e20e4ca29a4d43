"""Teachers that give text alone: what they answer becomes what the student learns, word by word (sequence-level).

For a teacher with another tokenizer, and for any OpenAI-compatible server. Answers are kept as they come, so a
server that goes away costs nothing that was answered. The key of a server is read from PERSLM_TEACHER_KEY and
written nowhere.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from perslm_runtime.errors import EngineError, InputError
from perslm_training_host import chat_replies
from perslm_training_host.console import Progress

KEY = "PERSLM_TEACHER_KEY"
Answer = Callable[[str], str | None]
"""Answers one prompt; None where the answer was cut off."""

_TRIES = 4
_WAIT_S = 0.5  # doubled at each try
_TIMEOUT_S = 120.0
_LONGEST_ANSWER_BYTES = 4_000_000


class TeacherGone(EngineError):
    """The teacher's server does not answer any more; what it has answered is kept."""


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


class Server:
    """An OpenAI-compatible server. `system` goes before every prompt."""

    def __init__(self, url: str, model: str, system: str, answer_tokens: int) -> None:
        self._url = url.rstrip("/") + "/chat/completions"
        self._model, self._system, self._answer_tokens = model, system, answer_tokens

    def __call__(self, prompt: str) -> str | None:
        """Its answer. Raises TeacherGone after four tries, InputError where it refuses."""
        body = {
            "model": self._model,
            "messages": [{"role": "system", "content": self._system}, {"role": "user", "content": prompt}],
            "max_tokens": self._answer_tokens,
            "temperature": 0,
        }
        told = ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_WAIT_S * 2**attempt)
            try:
                return self._answer(json.dumps(body).encode())
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code not in (408, 429):
                    raise InputError(
                        f"{self._url} refuses ({error.code} {error.reason}): look at --teacher-model and {KEY}"
                    ) from error
                told = f"{error.code} {error.reason}"
            except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
                told = str(error) or type(error).__name__
        raise TeacherGone(
            f"{self._url} does not answer ({told}): what it has answered is kept; start it, then run this again"
        )

    def _answer(self, body: bytes) -> str | None:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, body, headers)  # noqa: S310 - http and https alone: checked by is_server
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:  # noqa: S310 - as above
            choice = json.loads(reply.read(_LONGEST_ANSWER_BYTES))["choices"][0]
        text = str(choice["message"]["content"]).strip()
        return text if text and choice.get("finish_reason") == "stop" else None


def is_server(teacher: str) -> bool:
    """Whether a teacher's name is a server's address."""
    return teacher.startswith(("http://", "https://"))


def from_gguf(path: Path, system: str, answer_tokens: int) -> tuple[Answer, Callable[[], None]]:
    """A GGUF file in llama.cpp with its own template; and what frees it."""
    from perslm_runtime.lane import Stop  # noqa: PLC0415 - llama.cpp is not on every machine that trains
    from perslm_runtime.llama import LlamaOptions  # noqa: PLC0415 - as above
    from perslm_runtime.model import ChatModel, ReplyEnd  # noqa: PLC0415 - as above
    from perslm_runtime.prompt import user_text  # noqa: PLC0415 - as above

    chat = ChatModel(path, LlamaOptions(context_tokens=2048), system=system, max_reply_tokens=answer_tokens)

    def answer(prompt: str) -> str | None:
        chat.begin(Stop())
        for piece in chat.reply(Stop(), user_text(prompt)):
            if isinstance(piece, ReplyEnd):
                return piece.text.strip() or None if piece.why == "end" else None
        return None

    return answer, chat.close


def from_folder(path: Path, system: str, answer_tokens: int, device: str) -> tuple[Answer, Callable[[], None]]:
    """A Hugging Face folder in torch with its own template; and what frees it."""
    from perslm_training_host import base_model  # noqa: PLC0415 - torch

    base = base_model.load(path, device)
    talk = base.prompts.head(system, ())

    def answer(prompt: str) -> str | None:
        tokens = [*talk.head, *base.prompts.tokens(prompt), *talk.opening]
        said = chat_replies.greedy(base, [tokens], talk.closing[0], answer_tokens)[0]
        return said or None

    return answer, lambda: None
