"""The one table of verbs: what can be asked of a running PersLM, with typed arguments and one form of answer.

MQTT, the control socket and later HTTP hand a `Request` to `Verbs.answer` and send back the `Response`; none
of them knows what a verb does. Whatever is wrong with a request is an error response that says what was wrong.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from perslm_daemon.turn import Tell
from perslm_runtime.errors import InputError, PersLMError

log = logging.getLogger("perslm.verbs")

MAX_PAYLOAD_BYTES = 256 * 1024
"""Longest request that is looked at; a context holds a tenth of it."""


STOPPED = "PersLM stopped while this was under way: ask again later"


class Args(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments that every verb takes: `transaction` is echoed, `sent_at` is the sender's Unix time in seconds."""

    transaction: str | None = None
    sent_at: float | None = None


class TextArgs(Args, frozen=True, forbid_unknown_fields=True):
    """Arguments of verbs whose payload may be bare text: the text is `text`."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `source` is "mqtt", "socket", "http" or "terminal"; `person` is set where it is proven."""

    verb: str
    payload: bytes = b""
    source: str = "socket"
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """The one answer to a request; `data` is {} on error. `kind`, the error's class, is not sent."""

    status: Literal["ok", "error"]
    data: Mapping[str, Any]
    error: str | None = None
    transaction: str | None = None
    kind: str | None = None

    def as_json(self) -> bytes:
        """The answer as it goes over the wire: error and transaction only where there are any."""
        body: dict[str, Any] = {"status": self.status, "data": self.data}
        if self.error is not None:
            body["error"] = self.error
        if self.transaction is not None:
            body["transaction"] = self.transaction
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


Run = Callable[[Any, Request, Tell], Awaitable[Mapping[str, Any]]]
"""What a verb does: typed arguments, the request, and where events of a turn go; returns the answer's data."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: its argument type, what it does, and whether it needs the model (queues two, then busy)."""

    name: str
    args: type[Args]
    about: str
    run: Run
    needs_model: bool = False
    changes_world: bool = False


def refusal(error: str, transaction: str | None = None, kind: str | None = None) -> Response:
    """An error response."""
    return Response("error", {}, error, transaction, kind)


def decode(verb: Verb, payload: bytes) -> Args:
    """Typed arguments out of a payload: JSON when it begins with {, else the bare text. Raises `InputError`."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise InputError(f"the payload has {len(payload)} bytes and at most {MAX_PAYLOAD_BYTES} are read")
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"the payload is not UTF-8 (byte {error.start}): send text or JSON in UTF-8") from error
    if not text.lstrip().startswith("{"):
        if issubclass(verb.args, TextArgs):
            return verb.args(text=text)
        if text.strip():
            raise InputError(f"{verb.name} takes no text: send nothing, or a JSON object of its arguments")
        return verb.args()
    try:
        return msgspec.json.decode(payload, type=verb.args)
    except msgspec.ValidationError as error:
        raise InputError(f"wrong arguments for {verb.name}: {error}") from error
    except msgspec.DecodeError as error:
        raise InputError(f"the payload begins with {{ and is no valid JSON: {error}") from error


class Verbs:
    """The table in force: only verbs whose part is there are in it."""

    def __init__(self, verbs: Mapping[str, Verb], absent: Mapping[str, str] | None = None) -> None:
        self._verbs = dict(verbs)
        self._absent = dict(absent or {})

    @property
    def names(self) -> tuple[str, ...]:
        """The verbs that are there, for announcements."""
        return tuple(self._verbs)

    def get(self, name: str) -> Verb | None:
        """The verb, or None."""
        return self._verbs.get(name)

    async def answer(self, request: Request, tell: Tell) -> Response:
        """Run a request and return its one answer; never raises but for cancellation."""
        transaction = transaction_of(request.payload)
        verb = self._verbs.get(request.verb)
        if verb is None:
            return refusal(self._why_absent(request.verb), transaction)
        try:
            args = decode(verb, request.payload)
            return Response("ok", await verb.run(args, request, tell), None, args.transaction)
        except PersLMError as error:
            return refusal(str(error), transaction, type(error).__name__)
        except Exception as error:
            log.exception("verb_failed verb=%s error=%s", request.verb, type(error).__name__)
            return refusal(f"this is a bug in PersLM ({type(error).__name__}); the log has it", transaction)

    def _why_absent(self, name: str) -> str:
        if name in self._absent:
            return f"{name} is not available here: {self._absent[name]}"
        return f"there is no verb {name!r}: known are {', '.join(sorted(self._verbs))}"


def transaction_of(payload: bytes) -> str | None:
    """The `transaction` of a request that may be wrong in other ways, so that its error can be matched."""
    value = field_of(payload, "transaction")
    return value if isinstance(value, str) else None


def field_of(payload: bytes, name: str) -> object:
    """One field of a request that may be wrong in other ways; None where it is missing or cannot be read."""
    if len(payload) > MAX_PAYLOAD_BYTES or not payload.lstrip().startswith(b"{"):
        return None
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return found.get(name) if isinstance(found, dict) else None
