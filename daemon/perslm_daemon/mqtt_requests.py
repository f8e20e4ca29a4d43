"""What becomes of a message: checked, written down, acknowledged, carried out once, answered once.

Knows topics, verbs and the journal; how messages travel is handed in as `Publish`.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from perslm_daemon.config_sections import Mqtt
from perslm_daemon.journal import Accepted, key_of
from perslm_daemon.topics import ReplyPart, RequestTopic, Topics, is_level, may_answer
from perslm_daemon.turn import Event, Sentence
from perslm_daemon.verbs import Request, Response, Verbs, field_of, refusal, transaction_of

log = logging.getLogger("perslm.mqtt")

STALE_S = 60.0
_MODEL_AT_ONCE = 3  # one runs, two wait
_OTHERS_AT_ONCE = 512  # of one verb for one Response Topic
_READ_ANSWERS = 512  # more than a broker sends again at once

Publish = Callable[[str, bytes, bytes | None], Awaitable[None]]
"""Topic, payload, Correlation Data; returns when the broker has it, however long it is away."""


class Message(Protocol):
    """A message as the connection gives it, or as a test writes it."""

    @property
    def payload(self) -> bytes:
        """What was sent."""

    @property
    def retained(self) -> bool:
        """Whether it was published retained."""

    @property
    def response_topic(self) -> str | None:
        """Where the answer is wanted."""

    @property
    def correlation(self) -> bytes | None:
        """What the answer has to carry."""


@dataclass(frozen=True, slots=True)
class Job:
    """A request on its way. `accepted.key` is "" where nothing makes it the same request twice.

    `refused` is an answer that was found before anything ran; `durable`: it has to be on disk first.
    """

    verb: str
    payload: bytes
    accepted: Accepted
    person: str | None = None
    refused: Response | None = None
    durable: bool = False
    needs_model: bool = False

    def unwritten(self, error: OSError) -> Job:
        """The same, refused where it cannot be on disk first."""
        if not self.durable:
            return self
        reason = f"this cannot be written down before it is done ({error.strerror}): make room on the disk"
        return replace(self, refused=refusal(reason, self.accepted.transaction), durable=False)


class Requests:
    """Admission, limits and execution of requests."""

    def __init__(
        self,
        topics: Topics,
        verbs: Verbs,
        *,
        response_topics: Sequence[str],
        identities: bool,
        known: Callable[[str], bool] = lambda _key: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`known` says whether a request with this key was accepted before."""
        self._topics = topics
        self._verbs = verbs
        self._allowed = tuple(response_topics)
        self._identities = identities
        self._known = known
        self._clock = clock
        self._running: Counter[str] = Counter()
        self._read_answers: OrderedDict[str, bytes | None] = OrderedDict()

    def admit(self, topic: RequestTopic, message: Message) -> Job:
        """Look at a request: what makes it itself, where its answer goes, and what forbids it."""
        payload = message.payload
        transaction = transaction_of(payload)
        allowed = message.response_topic is None or may_answer(message.response_topic, self._allowed)
        answer_to = message.response_topic if message.response_topic and allowed else self._standard(topic.verb)
        key = ""
        if message.response_topic and message.correlation is not None:
            key = key_of("response", topic.verb, message.response_topic, message.correlation)
        elif transaction is not None:
            key = key_of("transaction", topic.verb, topic.user or "", transaction)
        accepted = Accepted(key, topic.verb, answer_to, message.correlation, transaction)
        verb = self._verbs.get(topic.verb)
        refused = self._forbidden(topic, message, allowed) if verb is not None or not allowed else None
        changes = verb is not None and verb.changes_world
        if refused is None and changes and not self._known(key):  # what was done once is not too old to be told
            refused = self._stale(payload)
        if refused is not None:
            refused = refusal(refused.error or "", transaction)
        needs_model = verb is not None and verb.needs_model
        durable = changes and refused is None
        if durable and not key:  # written down all the same: after a crash its asker is told, not left waiting
            accepted = replace(accepted, key=key_of("once", uuid.uuid4().bytes))
        return Job(topic.verb, payload, accepted, topic.user, refused, durable, needs_model)

    def read_before(self, job: Job) -> bool:
        """Whether a request of a verb that only reads is known; its answer, if there is one, is `read_answer`."""
        return bool(job.accepted.key) and job.accepted.key in self._read_answers

    def read_answer(self, job: Job) -> bytes | None:
        """The answer that a reading request got a moment ago."""
        return self._read_answers.get(job.accepted.key)

    def forget(self) -> None:
        """Drop what reading requests were answered: they are carried out again."""
        self._read_answers.clear()

    def take(self, job: Job) -> Job:
        """Count a request as running, or refuse it as busy."""
        limit, counted = _limit(job)
        if job.refused is None and self._running[counted] >= limit:
            busy = f"busy: {limit} requests of this kind are under way; ask again in a moment"
            return Job(job.verb, b"", job.accepted, job.person, refusal(busy, job.accepted.transaction))
        self._running[counted] += 1
        if not job.durable and job.accepted.key:
            self._read_answers[job.accepted.key] = None
            while len(self._read_answers) > _READ_ANSWERS:
                self._read_answers.popitem(last=False)
        return job

    def done(self, job: Job, answer: bytes) -> None:
        """Count a request that `take` let through as over, and keep what a reading one was answered."""
        counted = _limit(job)[1]
        self._running[counted] -= 1
        if not self._running[counted]:
            del self._running[counted]
        if not job.durable and job.accepted.key in self._read_answers:
            self._read_answers[job.accepted.key] = answer

    async def carry_out(self, job: Job, publish: Publish) -> Response:
        """Run the verb; sentences of a reply are published as they come, the closing message after the last."""
        if job.refused is not None:
            return job.refused
        transaction = job.accepted.transaction
        name = transaction if transaction is not None and is_level(transaction) else uuid.uuid4().hex[:12]
        said = 0

        async def tell(event: Event) -> None:
            nonlocal said
            if isinstance(event, Sentence):
                said += 1
                await publish(self._topics.reply(name), ReplyPart(event.seq, event.text).as_json(), None)

        request = Request(job.verb, job.payload, "mqtt", job.person)
        response = await self._verbs.answer(request, tell)
        if said or (job.needs_model and response.status == "ok"):
            await publish(self._topics.reply(name), _closing(response, said).as_json(), None)
        return response

    def _standard(self, verb: str) -> str:
        return self._topics.response(verb)

    def _forbidden(self, topic: RequestTopic, message: Message, allowed: bool) -> Response | None:
        if not allowed:
            given = (message.response_topic or "")[:120]
            return refusal(
                f"no answer may go to the Response Topic {given!r}: allowed are {', '.join(self._allowed)}"
            )
        if message.retained:
            return refusal("requests must not be retained: clear this topic and publish without the retain flag")
        if topic.user is not None and not self._identities:
            return refusal(
                "this broker does not bind names to …/as/<user>: use …/request/<verb>, "
                "or set mqtt.identities where it does"
            )
        return None

    def _stale(self, payload: bytes) -> Response | None:
        sent_at = _sent_at(payload)
        if sent_at is None:
            return None
        age = self._clock() - sent_at
        if age <= STALE_S:
            return None
        return refusal(
            f"this request is {age:.0f} s old and is not carried out after {STALE_S:.0f} s: send it anew"
        )


def forgotten() -> Response:
    """The answer to a request that comes again after what it was answered had to be forgotten."""
    return refusal("what this was answered has been forgotten since: ask again under another key")


def lost(accepted: Accepted) -> Response:
    """The answer to a request that was accepted and whose end nobody saw."""
    return refusal(
        f"PersLM ended while this {accepted.verb} was under way, and it is not known whether it was carried out: "
        "look before you ask again",
        accepted.transaction,
    )


def _limit(job: Job) -> tuple[int, str]:
    if job.needs_model:
        return _MODEL_AT_ONCE, "the model"
    return _OTHERS_AT_ONCE, f"{job.verb} {job.accepted.answer_to}"


def _closing(response: Response, said: int) -> ReplyPart:
    data: Mapping[str, Any] = response.data
    timings = data.get("timings_ms")
    turn = data.get("turn")
    return ReplyPart(
        said,
        str(data.get("text", "")),
        True,
        dict(timings) if isinstance(timings, Mapping) else None,
        turn if isinstance(turn, str) else None,
        response.error,
    )


def _sent_at(payload: bytes) -> float | None:
    value = field_of(payload, "sent_at")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def response_filters(link: Mqtt) -> Sequence[str]:
    """The filters that Response Topics have to lie under."""
    given = tuple(part.strip() for part in link.response_topics.split(",") if part.strip())
    return given or (f"{link.base}/+/response/#", f"{link.base}/_clients/#")
