"""The broker link: requests come in, answers, values and events go out, and the connection is kept up.

What the daemon is stays the same whether the broker is there or not: answers wait for the broker, values are
published anew when it is back, events that nobody could hear are gone.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import anyio
import anyio.abc
import anyio.to_thread

from perslm_daemon.arbitration import Arbitration
from perslm_daemon.bulletin import Bulletin, Value
from perslm_daemon.config_sections import Mqtt
from perslm_daemon.home_link import HomeLink
from perslm_daemon.homeassistant import BIRTH_DELAY_S, HomeAssistant, Message
from perslm_daemon.journal import Accepted, Journal
from perslm_daemon.journal_writer import JournalWriter
from perslm_daemon.mqtt_claims import hear_claims, tell_claims
from perslm_daemon.mqtt_connection import (
    Address,
    BrokerError,
    Connection,
    Delivery,
    Will,
    WrongProtocolError,
    connect,
)
from perslm_daemon.mqtt_past import Leftovers, Past, find_leftovers, settle
from perslm_daemon.mqtt_requests import Job, Requests, forgotten, lost, response_filters
from perslm_daemon.settings import Settings
from perslm_daemon.topics import (
    RESERVED,
    RequestTopic,
    SetTopic,
    Topics,
    event_payload,
    is_level,
    payload_of,
    state_payload,
)
from perslm_daemon.verbs import STOPPED, Response, Verbs, refusal
from perslm_runtime.errors import ConfigError, PersLMError

log = logging.getLogger("perslm.mqtt")

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0
_GOODBYE_S = 0.8
R = TypeVar("R")


@dataclass(slots=True)
class _UnderWay:
    """A request that is being carried out, and its answer once that is known and not yet on its way."""

    job: Job
    answer: bytes | None = None


class BrokerLink:
    """One node on one broker. `run` returns only when it is cancelled; then `offline` has been published.

    `session_of` gives the client identifier of a node: of this one, and of its former names. `find_again` is
    given the address before every new try, in a thread, and returns it as it is now.
    """

    def __init__(
        self,
        settings_of_link: Mqtt,
        *,
        address: Address,
        node: str,
        verbs: Verbs,
        bulletin: Bulletin,
        settings: Settings,
        journal: Journal,
        home_assistant: HomeAssistant | None = None,
        past: Past | None = None,
        session_of: Callable[[str], str] = "perslm-{}".format,
        arbitration: Arbitration | None = None,
        house: HomeLink | None = None,
        find_again: Callable[[Address], Address] | None = None,
    ) -> None:
        link, self._past, self._house = settings_of_link, past, house
        self._session_of, self._find_again = session_of, find_again
        self._arbitration = arbitration
        self._home_assistant = home_assistant
        self._link, self._address = link, address
        self._topics = Topics(link.base, node)
        self._bulletin, self._settings = bulletin, settings
        self._journal = journal
        allowed, known = response_filters(link), journal.known
        self._requests = Requests(
            self._topics, verbs, response_topics=allowed, identities=link.identities, known=known
        )
        self._protocol: Literal["5", "3.1.1"] = "3.1.1" if link.protocol == "3.1.1" else "5"
        self._connection: Connection | None = None
        self._up = asyncio.Event()
        self._writer = JournalWriter(journal, bulletin)
        self._tasks: anyio.abc.TaskGroup | None = None
        self._last_set: tuple[str, bytes, bytes | None] | None = None
        self._under_way: dict[int, _UnderWay] = {}
        self._on_their_way: dict[str, Connection] = {}

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return self._connection is not None

    async def forget(self) -> None:
        """Drop the answers that are kept for requests that come twice. Raises OSError."""
        self._requests.forget()
        await self._writer.forget(forgotten().as_json())

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the link up. `task_status` is told at the first connection, or at the first failure to connect."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._writer.run)
            for accepted, answer in self._journal.undelivered():
                tasks.start_soon(self._deliver, accepted, answer)
            for accepted in self._journal.unanswered():
                tasks.start_soon(self._answer_lost, accepted)
            tasks.start_soon(self._tell_bulletin)
            if self._arbitration is not None:
                self._arbitration.linked = lambda: self.connected
                tasks.start_soon(tell_claims, self._arbitration, lambda: self._connection)
            await self._keep_connected(task_status)

    async def _keep_connected(self, task_status: anyio.abc.TaskStatus[None]) -> None:
        wait = _FIRST_WAIT_S
        said, started = "", False
        while True:
            began = anyio.current_time()
            try:
                async with self._connected() as connection:
                    log.info("broker_connected address=%s protocol=%s", self._address, connection.protocol)
                    said = ""
                    if not started:
                        task_status.started()
                        started = True
                    await self._take_messages(connection)
            except WrongProtocolError as error:
                if self._link.protocol != "auto" or self._protocol == "3.1.1":
                    said = self._complain(error, said)
                else:
                    log.info("broker_without_mqtt5 address=%s", self._address)
                    self._protocol = "3.1.1"
                    continue
            except BrokerError as error:
                said = self._complain(error, said)
            if not started:
                task_status.started()
                started = True
            lasted = anyio.current_time() - began > _LONGEST_WAIT_S
            wait = _FIRST_WAIT_S if lasted else min(wait * 2, _LONGEST_WAIT_S)
            await anyio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            if self._find_again is not None:
                self._address = await anyio.to_thread.run_sync(self._find_again, self._address)

    def _complain(self, error: BrokerError, said: str) -> str:
        """Say what is wrong once, and again only when it is another thing."""
        text = str(error)
        if text != said:
            log.warning("broker_lost address=%s error=%s", self._address, text)
            self._bulletin.tell("warning", message=text)
        return text

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        """A connection for as long as the block lasts: all published on arrival, `offline` when cancelled."""
        async with connect(
            self._address,
            identifier=self._session_of(self._topics.node),
            will=Will(self._topics.state, state_payload("offline")),
            keepalive_s=self._link.keepalive_s,
            protocol=self._protocol,
        ) as connection:
            try:
                await self._arrive(connection)
                yield connection
            except anyio.get_cancelled_exc_class():
                await self._say_goodbye(connection)
                raise
            finally:
                self._connection = None
                self._up.clear()
                if self._house is not None:
                    self._house.lose()

    async def _arrive(self, connection: Connection) -> None:
        await connection.subscribe(self._topics.subscriptions)
        if self._arbitration is not None:
            await hear_claims(self._arbitration, connection, self._bulletin)
        await self._announce(connection)
        for name, value in self._bulletin.current().items():
            await self._publish_value(connection, name, value)
        self._connection = connection
        self._up.set()
        if self._house is not None:
            self._start(self._house.follow, connection)

    async def _announce(self, connection: Connection) -> None:
        """Tell Home Assistant what there is, and clear what earlier runs left.

        A broker that forbids it costs only this.
        """
        home = self._home_assistant
        link = {"keepalive_s": self._link.keepalive_s, "protocol": self._protocol}
        try:
            left = Leftovers()
            if self._past is not None:
                left = await find_leftovers(self._past, self._address, **link)
            if home is not None:
                await connection.subscribe([home.birth_topic])
            await _publish_all(connection, left.steps(home))
            if self._past is not None and left.traces:
                await settle(self._past, left, self._address, self._session_of, **link)
        except (BrokerError, OSError) as error:
            log.warning("home_assistant_not_told error=%s", error)
            self._bulletin.tell("warning", message=f"Home Assistant cannot be told: {error}")

    async def _welcome(self, home: HomeAssistant, payload: bytes) -> None:
        """Home Assistant has started: tell it all again, after a moment in which others do not."""
        messages = home.birth(home.birth_topic, payload)
        if not messages:
            return
        await anyio.sleep(random.uniform(*BIRTH_DELAY_S))  # noqa: S311 - jitter, no secret
        connection = self._connection
        if connection is None:
            return  # the next connection tells it
        try:
            await _publish_all(connection, messages)
        except BrokerError as error:
            log.debug("birth_not_answered error=%s", error)

    async def _say_goodbye(self, connection: Connection) -> None:
        """Publish `offline` and answer what is under way, within `_GOODBYE_S`; else the last will says it."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(_GOODBYE_S):
            try:
                await connection.publish(self._topics.state, state_payload("offline"), retain=True)
                # The broker takes things in order: what was sent before "offline" has arrived.
                sent = [key for key, way in self._on_their_way.items() if way is connection]
                for one in list(self._under_way.values()):
                    sent += await self._answer_stopped(connection, one)
                await self._writer.deliver(sent)
            except (BrokerError, OSError) as error:
                log.info("goodbye_not_delivered error=%s", error)

    async def _answer_stopped(self, connection: Connection, one: _UnderWay) -> list[str]:
        """Answer what has none yet; the keys of the answers in the journal that the broker has now."""
        job, answer = one.job, one.answer
        accepted = job.accepted
        if answer is None:
            answer = refusal(STOPPED, accepted.transaction).as_json()
            if job.durable:
                await self._writer.release(job.accepted.key)
        elif job.durable:  # it was done, and the stop came before that was written down
            await self._writer.finish_now(accepted.key, answer)
        await connection.publish(accepted.answer_to, answer, correlation=accepted.correlation)
        return [accepted.key] if job.durable else []

    async def _take_messages(self, connection: Connection) -> None:
        while True:
            deliveries = await connection.next()
            jobs = [self._admitted(delivery) for delivery in deliveries]
            durable = {
                job.accepted.key: job.accepted
                for job in jobs
                if isinstance(job, Job) and job.durable and not self._journal.known(job.accepted.key)
            }
            fresh = set(durable)
            if durable:
                try:
                    await self._writer.accept(durable.values())
                except OSError as error:
                    jobs = [job.unwritten(error) if isinstance(job, Job) else job for job in jobs]
            for delivery, job in zip(deliveries, jobs, strict=True):
                connection.acknowledge(delivery)
                if isinstance(job, Job):
                    self._begin(job, fresh)
                elif isinstance(job, SetTopic):
                    self._start(self._change, job.setting, delivery.payload, delivery.retained)

    def _admitted(self, delivery: Delivery) -> Job | SetTopic | None:
        home = self._home_assistant
        if home is not None and delivery.topic == home.birth_topic:
            self._start(self._welcome, home, delivery.payload)
            return None
        if self._arbitration is not None and self._arbitration.received(delivery.topic, delivery.payload):
            return None
        topic = self._topics.read(delivery.topic)
        if topic is None and self._house is not None:
            self._house.take(delivery)
        if not isinstance(topic, RequestTopic):
            return topic
        if topic.verb == "set" and self._came_twice(delivery):
            return None
        return self._requests.admit(topic, delivery)

    def _came_twice(self, delivery: Delivery) -> bool:
        """Whether this is the second copy of a message that two of our subscriptions match.

        Only …/request/set is under …/request/+ and …/+/set; mosquitto then sends it for each.
        """
        seen = (delivery.topic, delivery.payload, delivery.correlation)
        twice = self._last_set == seen
        self._last_set = None if twice else seen
        return twice

    def _begin(self, job: Job, fresh: set[str]) -> None:
        """Carry a request out, or answer it again: of the same key in one batch only the first is fresh."""
        key = job.accepted.key
        if job.durable and key not in fresh:
            self._start(self._answer_again, job.accepted, self._journal.answer(key))
        elif not job.durable and job.refused is None and self._requests.read_before(job):
            self._start(self._answer_again, job.accepted, self._requests.read_answer(job))
        else:
            fresh.discard(key)
            taken = self._requests.take(job)
            if taken is not job:
                self._start(self._refuse, taken, job.durable)
            else:
                one = self._under_way[id(job)] = _UnderWay(job)
                self._start(self._answer, one)

    def _start(self, function: Callable[..., Any], *args: object) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(function, *args)

    async def _answer(self, one: _UnderWay) -> None:
        job = one.job
        response = await self._requests.carry_out(job, self._publish)
        answer = one.answer = response.as_json()
        self._requests.done(job, answer)
        if job.durable:
            await self._writer.finish(job.accepted.key, answer)
        # From the moment the answer is handed to a connection it is on its way: a stop must not send it again.
        await self._publish(
            job.accepted.answer_to, answer, job.accepted.correlation, partial(self._note_on_its_way, job)
        )
        if job.durable:
            self._note_delivered(job.accepted.key)

    def _note_on_its_way(self, job: Job, connection: Connection) -> None:
        self._under_way.pop(id(job), None)
        if job.durable:
            self._on_their_way[job.accepted.key] = connection

    async def _refuse(self, job: Job, durable: bool) -> None:
        answer = (job.refused or refusal("busy")).as_json()
        if durable:
            # Nothing was done: "busy" must not be the answer for ten minutes.
            await self._writer.release(job.accepted.key)
        await self._publish(job.accepted.answer_to, answer, job.accepted.correlation)

    async def _answer_again(self, accepted: Accepted, answer: bytes | None) -> None:
        """A duplicate: the same answer; nothing while the first is still being carried out, whose answer comes."""
        if answer is not None:
            await self._publish(accepted.answer_to, answer, accepted.correlation)

    async def _answer_lost(self, accepted: Accepted) -> None:
        answer = lost(accepted).as_json()
        await self._writer.finish(accepted.key, answer)
        await self._deliver(accepted, answer)

    async def _deliver(self, accepted: Accepted, answer: bytes) -> None:
        await self._publish(accepted.answer_to, answer, accepted.correlation)
        self._note_delivered(accepted.key)

    def _note_delivered(self, key: str) -> None:
        self._on_their_way.pop(key, None)
        self._writer.note_delivered(key)

    async def _change(self, name: str, payload: bytes, retained: bool) -> None:
        """A new value for a setting; told on …/response/set, because a setting has no Response Topic."""
        try:
            if retained:
                raise ConfigError("settings must not be set with retained messages: clear the topic")
            text = payload[:1000].decode("utf-8", "replace")
            value = await self._settings.change(name, text)
            response = Response("ok", {"setting": name, "value": value})
        except PersLMError as error:
            response = refusal(str(error))
        except Exception as error:
            log.exception("setting_failed setting=%s", name)
            response = refusal(f"this is a bug in PersLM ({type(error).__name__}); the log has it")
        await self._publish(self._topics.response("set"), response.as_json(), None)

    async def _tell_bulletin(self) -> None:
        async with self._bulletin.listen() as notices:
            async for notice in notices:
                connection = self._connection
                if connection is None:
                    continue  # at the next connection every value is published; an event is gone
                try:
                    if isinstance(notice, Value):
                        await self._publish_value(connection, notice.name, notice.value)
                    else:
                        payload = event_payload(notice.event_type, dict(notice.fields))
                        await connection.publish(self._topics.event, payload)
                except BrokerError as error:
                    log.debug("notice_not_published error=%s", error)

    async def _publish_value(self, connection: Connection, name: str, value: object) -> None:
        if is_level(name) and name not in RESERVED:
            await connection.publish(self._topics.value(name), payload_of(value), retain=True)
        if self._home_assistant is not None:
            await _publish_all(connection, self._home_assistant.states(name, value))

    async def _publish(
        self,
        topic: str,
        payload: bytes,
        correlation: bytes | None,
        on_its_way: Callable[[Connection], object] = lambda _connection: None,
    ) -> None:
        """Publish on this connection or, where it breaks, on the next. `on_its_way` is told before each try."""
        while True:
            await self._up.wait()
            connection = self._connection
            if connection is None:
                continue
            on_its_way(connection)
            try:
                await connection.publish(topic, payload, correlation=correlation, limit_s=math.inf)
            except BrokerError as error:
                log.debug("publish_again topic=%s error=%s", topic, error)
                if self._connection is connection:
                    await anyio.sleep(0.1)
            else:
                return


async def _publish_all(connection: Connection, messages: Sequence[Message]) -> None:
    for message in messages:
        await connection.publish(message.topic, message.payload, retain=message.retain)
