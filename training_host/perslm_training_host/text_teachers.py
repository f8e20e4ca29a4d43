"""Teachers that give text alone: any OpenAI-compatible server, a GGUF file in llama.cpp, a Hugging Face folder.

For data sets (`collect`) and for students whose tokenizer is another one (`distill`). A teacher answers a question
under a system text, greedily, or with None where its answer did not come to an end. The key of a server is read
from PERSLM_TEACHER_KEY and written nowhere.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from perslm_runtime.errors import EngineError, InputError
from perslm_training_host.whole_answers import whole_answer

if TYPE_CHECKING:
    from perslm_runtime.model import ChatModel

KEY = "PERSLM_TEACHER_KEY"
_TRIES = 4
_WAIT_S = 0.5  # doubled at each try
_TIMEOUT_S = 120.0
_LONGEST_ANSWER_BYTES = 4_000_000
_CONTEXT_TOKENS = 2048


class TeacherGone(EngineError):
    """The teacher's server does not answer any more; what it has answered is kept."""


class TextTeacher(Protocol):
    """Somebody who answers."""

    def ask(self, system: str, prompt: str) -> str | None:
        """The whole answer; None where it was cut off, or empty."""

    def close(self) -> None:
        """Free what it holds."""


def is_server(teacher: str) -> bool:
    """Whether a teacher's name is a server's address."""
    return teacher.startswith(("http://", "https://"))


@contextmanager
def opened(named: str, answer_tokens: int) -> Iterator[tuple[str, TextTeacher]]:
    """The teacher called by a GGUF file or by https://host/v1#MODEL, with a name to keep its answers under.

    Raises InputError for what is neither.
    """
    file = Path(named)
    found: TextTeacher
    if is_server(named):
        url, _, model = named.partition("#")
        name, found = named, Server(url, model or "default", answer_tokens)
    elif file.suffix == ".gguf" and file.is_file():
        name, found = f"{file.name}-{file.stat().st_size}", Gguf(file, answer_tokens)
    else:
        raise InputError(f"{named} is no teacher: give a GGUF file, or a server's https://host/v1#MODEL")
    try:
        yield name, found
    finally:
        found.close()


class Server:
    """An OpenAI-compatible server."""

    def __init__(self, url: str, model: str, answer_tokens: int) -> None:
        self._url = url.rstrip("/") + "/chat/completions"
        self._model, self._answer_tokens = model, answer_tokens

    def ask(self, system: str, prompt: str) -> str | None:
        """As the protocol says. Raises TeacherGone after four tries, InputError where it refuses."""
        body = {
            "model": self._model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": prompt}],
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
                        f"{self._url} refuses ({error.code} {error.reason}): look at the model's name and {KEY}"
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

    def close(self) -> None:
        """Nothing is held."""


class Gguf:
    """A GGUF file in llama.cpp with its own template; the head of a system text is read once."""

    def __init__(self, path: Path, answer_tokens: int, threads: int = 2) -> None:
        self._path, self._answer_tokens, self._threads = path, answer_tokens, threads
        self._open: tuple[str, ChatModel] | None = None

    def ask(self, system: str, prompt: str) -> str | None:
        """As the protocol says."""
        return whole_answer(self._chat(system), prompt) or None

    def _chat(self, system: str) -> ChatModel:
        from perslm_runtime.llama import LlamaOptions  # noqa: PLC0415 - llama.cpp is not on every machine that trains
        from perslm_runtime.model import ChatModel  # noqa: PLC0415 - as above

        if self._open is None or self._open[0] != system:
            self.close()
            options = LlamaOptions(
                context_tokens=_CONTEXT_TOKENS, threads=self._threads, batch_threads=self._threads
            )
            made = ChatModel(self._path, options, system=system, max_reply_tokens=self._answer_tokens)
            self._open = (system, made)
        return self._open[1]

    def close(self) -> None:
        """Free the file's model."""
        if self._open is not None:
            self._open[1].close()
        self._open = None


class Folder:
    """A Hugging Face folder in torch with its own template."""

    def __init__(self, path: Path, answer_tokens: int, device: str) -> None:
        from perslm_training_host import base_model  # noqa: PLC0415 - torch

        self._base: Any = base_model.load(path, device)
        self._answer_tokens = answer_tokens

    def ask(self, system: str, prompt: str) -> str | None:
        """As the protocol says."""
        from perslm_training_host import chat_replies  # noqa: PLC0415 - torch

        talk = self._base.prompts.head(system, ())
        tokens = [*talk.head, *self._base.prompts.tokens(prompt), *talk.opening]
        return chat_replies.greedy(self._base, [tokens], talk.closing[0], self._answer_tokens)[0] or None

    def close(self) -> None:
        """Let the model go."""
        self._base = None
