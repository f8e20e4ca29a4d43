"""Teachers that answer in text: a GGUF file through llama.cpp, or any server that speaks OpenAI's chat API.

A teacher takes a system text and a question and gives its whole reply, "" where it did not come to an end.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from perslm_runtime.errors import EngineError, InputError
from perslm_training_host.generated import Answer

_CONTEXT_TOKENS, _REPLY_TOKENS = 1024, 96
_PATIENCE_S = 120.0


@contextmanager
def teacher(named: str) -> Iterator[tuple[str, Answer]]:
    """The teacher called by a GGUF file or a URL (https://host/v1#MODEL), with its name for the cache.

    Raises `InputError` for what is neither.
    """
    if named.startswith(("http://", "https://")):
        yield named, _Server(named)
        return
    file = Path(named)
    if file.suffix != ".gguf" or not file.is_file():
        raise InputError(f"{named} is no teacher: give a GGUF file, or a server's https://host/v1#MODEL")
    model = _Gguf(file)
    try:
        yield f"{file.name}-{file.stat().st_size}", model
    finally:
        model.close()


class _Gguf:
    """A model in this process; its prompt's head is read once for each system text."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: tuple[str, object] | None = None

    def __call__(self, system: str, question: str) -> str:
        from perslm_runtime.lane import Stop  # noqa: PLC0415 - llama.cpp is loaded by who has a teacher
        from perslm_runtime.llama import LlamaOptions  # noqa: PLC0415 - as above
        from perslm_runtime.model import ChatModel, ReplyEnd  # noqa: PLC0415 - as above

        if self._open is None or self._open[0] != system:
            self.close()
            options = LlamaOptions(context_tokens=_CONTEXT_TOKENS)
            made = ChatModel(self._file, options, system=system, examples=(), max_reply_tokens=_REPLY_TOKENS)
            self._open = (system, made)
        model = self._open[1]
        assert isinstance(model, ChatModel)  # noqa: S101 - as opened above
        model.begin(Stop())
        for piece in model.reply(Stop(), question):
            if isinstance(piece, ReplyEnd):
                return piece.text.strip() if piece.why == "end" else ""
        return ""

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()  # type: ignore[attr-defined]  # a ChatModel
        self._open = None


class _Server:
    """A server with OpenAI's chat API; PERSLM_TEACHER_KEY is its bearer token."""

    def __init__(self, url: str) -> None:
        address, _, self._model = url.partition("#")
        self._parts = urlsplit(address.rstrip("/") + "/chat/completions")

    def __call__(self, system: str, question: str) -> str:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=_PATIENCE_S)
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("PERSLM_TEACHER_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        body = {
            "model": self._model or "default",
            "messages": messages,
            "temperature": 0,
            "max_tokens": _REPLY_TOKENS,
        }
        try:
            connection.request("POST", self._parts.path, json.dumps(body), headers)
            answer = connection.getresponse()
            told = json.loads(answer.read(1 << 20))
            if answer.status != 200:
                raise EngineError(
                    f"the teacher at {self._parts.netloc} answered {answer.status}: run it again later"
                )
            choice = told["choices"][0]
            return (
                str(choice["message"]["content"]).strip() if choice.get("finish_reason", "stop") == "stop" else ""
            )
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"the teacher at {self._parts.netloc} cannot be reached ({error})") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EngineError(f"the teacher at {self._parts.netloc} does not speak OpenAI's API") from error
        finally:
            connection.close()
