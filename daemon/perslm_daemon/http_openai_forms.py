"""What OpenAI's API takes, as far as PersLM does it, and what that means to a chat. Knows no route.

Parameters that would change the answer and are not done are refused by name; those that would not are passed over.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from perslm_daemon.http_library import BaseModel, ConfigDict, Field
from perslm_daemon.http_openai_tools import Calls, calls_of, tools_text
from perslm_runtime.completing import Completion, Message, checked_stops
from perslm_runtime.errors import InputError
from perslm_runtime.json_grammar import any_object, schema_grammar
from perslm_runtime.llama import Sampling

DEFAULT_TOKENS = 512
"""Of a reply that names no bound: a spoken question waits for it."""

_MOST_MESSAGES = 256


class Form(BaseModel):
    """A body of which what is not known is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Part(Form):
    """A part of a message; only text is read."""

    type: str = Field(max_length=40)
    text: str | None = None


class Called(Form):
    """A function that the assistant called in an earlier message."""

    name: str = Field(max_length=64)
    arguments: str = "{}"


class ToolCalled(Form):
    """One call of an earlier message."""

    id: str = Field(default="", max_length=100)
    type: Literal["function"] = "function"
    function: Called


class ChatMessage(Form):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCalled] | None = None
    tool_call_id: str | None = None

    def text(self) -> str:
        """Its words, and calls as the model writes them."""
        if self.tool_calls:
            called = self.tool_calls[0].function
            return f'{{"name": {json.dumps(called.name)}, "arguments": {called.arguments}}}'
        if isinstance(self.content, list):
            if other := next((part.type for part in self.content if part.type != "text"), None):
                raise InputError(f"a message has a part of type {other[:40]!r}, and this model reads text alone")
            return "\n".join(part.text or "" for part in self.content)
        return self.content or ""


class Function(Form):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str = Field(default="", max_length=4096)
    parameters: dict[str, Any] | None = None


class Tool(Form):
    """A tool, which is a function."""

    type: Literal["function"]
    function: Function


class NamedTool(Form):
    """The one tool that has to be called."""

    class _Named(Form):
        name: str

    type: Literal["function"]
    function: _Named


class SchemaFormat(Form):
    """The schema of an answer."""

    name: str = "answer"
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")


class ResponseFormat(Form):
    """What an answer has to look like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None


class StreamOptions(Form):
    """What a stream ends with."""

    include_usage: bool = False


class ChatRequest(Form):
    """`POST /v1/chat/completions`."""

    model: str = Field(max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=_MOST_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=32_768)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    tools: Annotated[list[Tool], Field(max_length=64)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    response_format: ResponseFormat | None = None
    store: bool | None = None
    n: int | None = None
    logprobs: bool | None = None
    logit_bias: dict[str, float] | None = None

    @property
    def calls(self) -> Calls | None:
        """The functions that may be called in this answer; None where none may. Raises `InputError`."""
        if not self.tools or self.tool_choice == "none":
            return None
        functions = [tool.function for tool in self.tools]
        named = self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else None
        return calls_of(
            [(one.name, one.parameters) for one in functions],
            only=named,
            must=named is not None or self.tool_choice == "required",
        )

    @property
    def is_plain(self) -> bool:
        """Whether the newest message is a person's, asked for no form: what skills and memories may answer."""
        return self.messages[-1].role == "user" and not self.tools and self._form() == ""

    def completion(self, own: Sampling, calls: Calls | None) -> Completion:
        """The completion that is wanted; `own` is how the model samples by itself. Raises `InputError`."""
        self._refuse_what_is_not_done()
        gbnf = calls.gbnf if calls is not None else self._form()
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Completion(
            tuple(self._messages()),
            self.max_completion_tokens or self.max_tokens or DEFAULT_TOKENS,
            self._sampling(own, held=bool(gbnf)),
            gbnf,
            checked_stops(stops),
        )

    def _messages(self) -> list[Message]:
        told = [_as_message(message) for message in self.messages]
        if self.tools and self.tool_choice != "none":
            functions = [
                (one.function.name, one.function.description, one.function.parameters) for one in self.tools
            ]
            told.append(Message("system", tools_text(functions)))
        return told

    def _form(self) -> str:
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return ""
        if wanted.type == "json_object":
            return any_object()
        if wanted.json_schema is None:
            raise InputError("response_format json_schema needs json_schema.schema")
        return schema_grammar(wanted.json_schema.schema_)

    def _sampling(self, own: Sampling, *, held: bool) -> Sampling:
        temperature = own.temperature if self.temperature is None else self.temperature
        return Sampling(
            temperature=temperature,
            top_p=own.top_p if self.top_p is None else self.top_p,
            # JSON repeats its quotes and names: a penalty would bend it
            repeat_penalty=1.0 if held else own.repeat_penalty,
            seed=secrets.randbits(32) if self.seed is None else self.seed & 0xFFFF_FFFF,
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
        )

    def _refuse_what_is_not_done(self) -> None:
        if self.n not in {None, 1}:
            raise InputError("n has to be 1: one answer at a time is made here")
        if self.logprobs or self.logit_bias:
            raise InputError("logprobs and logit_bias are not done here: leave them out")


class EmbeddingsRequest(Form):
    """`POST /v1/embeddings`."""

    model: str = Field(max_length=200)
    input: str | Annotated[list[str], Field(min_length=1, max_length=256)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None

    @property
    def texts(self) -> Sequence[str]:
        """What is to be embedded."""
        return [self.input] if isinstance(self.input, str) else self.input


class SpeechRequest(Form):
    """`POST /v1/audio/speech`."""

    model: str = Field(max_length=200)
    input: str = Field(min_length=1, max_length=4096)
    voice: Any = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    stream_format: Literal["audio"] | None = None


def _as_message(message: ChatMessage) -> Message:
    if message.role in {"system", "developer"}:
        return Message("system", message.text())
    if message.role == "tool":
        return Message("user", f"The function answered: {message.text()}")
    return Message("user" if message.role == "user" else "assistant", message.text())
