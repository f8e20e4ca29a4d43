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
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar

import anyio
import anyio.abc
import anyio.to_thread

from perslm_daemon.bulletin import Bulletin, Value
from perslm_daemon.config_sections import Mqtt
from perslm_daemon.homeassistant import BIRTH_DELAY_S, HomeAssistant, Message
from perslm_daemon.journal import Accepted, Journal
from perslm_daemon.mqtt_connection import (
    Address,
    BrokerError,
    Connection,
    Delivery,
    Will,
    WrongProtocolError,
    connect,
)
from perslm_daemon.mqtt_requests import Job, Requests, lost
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
from perslm_daemon.verbs import Response, Verbs, refusal
from perslm_runtime.errors import ConfigError, PersLMError

log = logging.getLogger("perslm.mqtt")

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0
_GOODBYE_S = 0.8
R = TypeVar("R")


class BrokerLink:
    """One node on one broker. `run` returns only when it is cancelled; then `offline` has been published."""

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
    ) -> None:
        link = settings_of_link
        self._home_assistant = home_assistant
        self._link = link
        self._address = address
        self._topics = Topics(link.base, node)
        self._bulletin = bulletin
        self._settings = settings
        self._journal = journal
        self._requests = Requests(
            self._topics, verbs, response_topics=response_filters(link), identities=link.identities
        )
        self._protocol: Literal["5", "3.1.1"] = "3.1.1" if link.protocol == "3.1.1" else "5"
        self._connection: Connection | None = None
        self._up = asyncio.Event()
        self._disk = anyio.CapacityLimiter(1)
        self._tasks: anyio.abc.TaskGroup | None = None
        self._under_way: dict[int, Job] = {}
        self._answers: list[tuple[str, bytes, asyncio.Future[None]]] = []
        self._answers_wait = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return self._connection is not None

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the link up. `task_status` is told at the first connection, or at the first failure to connect."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._write_answers)
            for accepted in self._journal.unanswered():
                tasks.start_soon(self._answer_lost, accepted)
            tasks.start_soon(self._tell_bulletin)
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
            wait = (
                _FIRST_WAIT_S if anyio.current_time() - began > _LONGEST_WAIT_S else min(wait * 2, _LONGEST_WAIT_S)
            )
            await anyio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret

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
            identifier=f"perslm-{self._topics.node}",
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

    async def _arrive(self, connection: Connection) -> None:
        await connection.subscribe(self._topics.subscriptions)
        await self._announce(connection)
        for name, value in self._bulletin.current().items():
            await self._publish_value(connection, name, value)
        self._connection = connection
        self._up.set()

    async def _announce(self, connection: Connection) -> None:
        """Tell Home Assistant what there is; a broker that forbids it costs only this."""
        home = self._home_assistant
        if home is None:
            return
        try:
            await connection.subscribe([home.birth_topic])
            await _publish_all(connection, home.announcements())
        except BrokerError as error:
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
                for job in list(self._under_way.values()):
                    await self._answer_stopped(connection, job)
            except (BrokerError, OSError) as error:
                log.info("goodbye_not_delivered error=%s", error)

    async def _answer_stopped(self, connection: Connection, job: Job) -> None:
        accepted = job.accepted
        answer = self._journal.answer(accepted.key) if job.durable else None
        if answer is None:
            answer = refusal(
                "PersLM stopped while this was under way: ask again later", accepted.transaction
            ).as_json()
            if job.durable:
                await self._release(job)
        await connection.publish(accepted.answer_to, answer, correlation=accepted.correlation)

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
                    await self._on_disk(self._journal.accept, list(durable.values()))
                except OSError as error:
                    jobs = [_unwritten(job, error) for job in jobs]
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
        topic = self._topics.read(delivery.topic)
        if isinstance(topic, RequestTopic):
            return self._requests.admit(topic, delivery)
        return topic

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
                self._under_way[id(job)] = job
                self._start(self._answer, job)

    def _start(self, function: Callable[..., Any], *args: object) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(function, *args)

    async def _answer(self, job: Job) -> None:
        response = await self._requests.carry_out(job, self._publish)
        answer = response.as_json()
        self._requests.done(job, answer)
        if job.durable:
            await self._written(job.accepted.key, answer)
        await self._publish(job.accepted.answer_to, answer, job.accepted.correlation)
        del self._under_way[id(job)]

    async def _refuse(self, job: Job, durable: bool) -> None:
        answer = (job.refused or refusal("busy")).as_json()
        if durable:
            await self._release(job)  # nothing was done: "busy" must not be the answer for ten minutes
        await self._publish(job.accepted.answer_to, answer, job.accepted.correlation)

    async def _release(self, job: Job) -> None:
        try:
            await self._on_disk(self._journal.release, [job.accepted.key])
        except OSError as error:
            log.warning("journal_failed error=%s", error)

    async def _answer_again(self, accepted: Accepted, answer: bytes | None) -> None:
        """A duplicate: the same answer; nothing while the first is still being carried out, whose answer comes."""
        if answer is not None:
            await self._publish(accepted.answer_to, answer, accepted.correlation)

    async def _answer_lost(self, accepted: Accepted) -> None:
        answer = lost(accepted).as_json()
        await self._written(accepted.key, answer)
        await self._publish(accepted.answer_to, answer, accepted.correlation)

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

    async def _publish(self, topic: str, payload: bytes, correlation: bytes | None) -> None:
        """Publish on this connection or, where it breaks, on the next."""
        while True:
            await self._up.wait()
            connection = self._connection
            if connection is None:
                continue
            try:
                await connection.publish(topic, payload, correlation=correlation, limit_s=math.inf)
            except BrokerError as error:
                log.debug("publish_again topic=%s error=%s", topic, error)
                if self._connection is connection:
                    await anyio.sleep(0.1)
            else:
                return

    async def _written(self, key: str, answer: bytes) -> None:
        """Wait until the answer is on disk; answers that come together are written together."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers.append((key, answer, written))
        self._answers_wait.set()
        await written

    async def _write_answers(self) -> None:
        while True:
            await self._answers_wait.wait()
            self._answers_wait.clear()
            batch, self._answers = self._answers, []
            try:
                await self._on_disk(self._journal.finish, [(key, answer) for key, answer, _ in batch])
            except OSError as error:
                log.warning("journal_failed error=%s", error)  # the answer is still sent: it is what was done
                self._bulletin.tell("warning", message=f"the journal cannot be written: {error.strerror}")
            for _, _, written in batch:
                if not written.done():
                    written.set_result(None)

    async def _on_disk(self, function: Callable[[Any], R], argument: Any) -> R:
        return await anyio.to_thread.run_sync(partial(function, argument), limiter=self._disk)


async def _publish_all(connection: Connection, messages: Sequence[Message]) -> None:
    for message in messages:
        await connection.publish(message.topic, message.payload, retain=message.retain)


def address_of(link: Mqtt, url: str) -> Address:
    """Where to connect; the user is "perslm" where only a password is given. Reads files; raises `ConfigError`."""
    address = Address.of(url, ca_file=link.ca_file, cert_file=link.cert_file, key_file=link.key_file)
    if link.password_file is not None:
        try:
            password = link.password_file.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"mqtt.password_file {link.password_file} cannot be read: {error}") from error
        return replace(address, username=address.username or "perslm", password=password)
    if link.password:
        return replace(address, username=address.username or "perslm", password=link.password)
    if address.password is not None:
        log.warning("mqtt.broker carries a password, which any process list may show: use mqtt.password_file")
    return address


def response_filters(link: Mqtt) -> Sequence[str]:
    """The filters that Response Topics have to lie under."""
    given = tuple(part.strip() for part in link.response_topics.split(",") if part.strip())
    return given or (f"{link.base}/+/response/#", f"{link.base}/_clients/#")


def _unwritten(job: Job | SetTopic | None, error: OSError) -> Job | SetTopic | None:
    if not isinstance(job, Job) or not job.durable:
        return job
    reason = f"this cannot be written down before it is done ({error.strerror}): make room on the disk"
    return replace(job, refused=refusal(reason, job.accepted.transaction), durable=False)
