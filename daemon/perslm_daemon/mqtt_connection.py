"""The door to aiomqtt and paho: one connection to a broker, as MQTT 5 or 3.1.1, with acknowledgements by hand.

aiomqtt connects without MQTT 5 unless it is asked for, acknowledges by itself, and its bounded queue drops what
does not fit. So nothing here is dropped, and the broker waits instead: it sends no more than Receive Maximum (on
3.1.1 its own limit) that are not acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTTMessage, error_string
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from perslm_runtime.errors import ConfigError, PersLMError

log = logging.getLogger("perslm.mqtt")

RECEIVE_MAXIMUM = 256
_SESSION_S = 7 * 24 * 3600
_CONNECT_S = 4.0
_SUBSCRIBED_AT_ONCE = 100  # so that what is retained comes in portions
_UNSUPPORTED = frozenset({1, 132})
_REFUSED = {4: "password", 134: "password", 5: "rights", 135: "rights"}


class BrokerError(PersLMError):
    """The broker cannot be reached, refuses us, or is gone; the message says what to do."""


class WrongProtocolError(BrokerError):
    """The broker does not speak MQTT 5."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the broker is and who we are there; the password is not printed."""

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def of(cls, url: str, **more: Path | None) -> Address:
        """An address out of mqtt(s)://user:password@host:port. Raises `ConfigError`."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigError("mqtt.broker is no URL: write mqtt://user:password@host:1883") from error
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ConfigError("mqtt.broker is no URL: write mqtt://host:1883, or mqtts://host:8883 for TLS")
        tls = parts.scheme == "mqtts"
        return cls(
            parts.hostname,
            port or (8883 if tls else 1883),
            tls,
            None if parts.username is None else unquote(parts.username),
            None if parts.password is None else unquote(parts.password),
            **more,
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the connection breaks."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that came in; it has to be acknowledged on the connection that brought it."""

    topic: str
    payload: bytes
    retained: bool
    qos: int
    mid: int
    response_topic: str | None = None
    correlation: bytes | None = None


class Connection:
    """A connection that is up.

    Messages, confirmations and writing go past aiomqtt straight to paho inside it: aiomqtt starts two tasks for
    each message, wakes the loop through a pipe for each packet, and walks all pending calls at every publish.
    """

    def __init__(self, client: aiomqtt.Client, protocol: Literal["5", "3.1.1"]) -> None:
        self.protocol = protocol
        self._client = client
        self._paho = client._client
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[Delivery] = deque()
        self._news = asyncio.Event()
        self._confirming: dict[int, asyncio.Future[None]] = {}
        self._lost = False
        self._paho.on_message = self._take
        self._paho.on_publish = self._confirmed
        self._paho.on_socket_register_write = self._wants_to_write

    def up(self) -> None:
        """The broker has accepted us: from now on a loss wakes whoever waits for messages."""
        self._client._disconnected.add_done_callback(lambda _: self._news.set())

    async def subscribe(self, topics: Sequence[str], *, with_retained: bool = False) -> None:
        """Listen at QoS 1. Raises `BrokerError` where the broker does not allow it.

        What is retained there comes only `with_retained`, or when this session did not listen there before.
        """
        for topic in topics:
            options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=0 if with_retained else 1)
            try:
                granted = await (
                    self._client.subscribe(topic, options=options)
                    if self.protocol == "5"
                    else self._client.subscribe(topic, qos=1)
                )
            except aiomqtt.MqttError as error:
                raise BrokerError(str(error)) from error
            if any(map(_refuses, granted)):
                raise BrokerError(f"the broker does not let us listen to {topic}: allow it in the broker's ACL")

    async def subscribe_many(self, topics: Sequence[str], *, qos: int) -> list[str]:
        """Listen to many at once and have what is retained there; the topics that the broker refuses.

        At QoS 0 the broker keeps nothing for us while we are away. Raises `BrokerError`.
        """
        refused: list[str] = []
        for at in range(0, len(topics), _SUBSCRIBED_AT_ONCE):
            some = topics[at : at + _SUBSCRIBED_AT_ONCE]
            options = SubscribeOptions(qos=qos, retainAsPublished=True, retainHandling=0)
            try:
                granted = await (
                    self._client.subscribe([(topic, options) for topic in some])
                    if self.protocol == "5"
                    else self._client.subscribe([(topic, qos) for topic in some])
                )
            except aiomqtt.MqttError as error:
                raise BrokerError(str(error)) from error
            refused += [topic for topic, code in zip(some, granted, strict=False) if _refuses(code)]
        return refused

    async def unsubscribe(self, *topics: str) -> None:
        """Listen there no more. Raises `BrokerError`."""
        for at in range(0, len(topics), _SUBSCRIBED_AT_ONCE):
            try:
                await self._client.unsubscribe(list(topics[at : at + _SUBSCRIBED_AT_ONCE]))
            except aiomqtt.MqttError as error:
                raise BrokerError(str(error)) from error

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        correlation: bytes | None = None,
        limit_s: float = _CONNECT_S,
    ) -> None:
        """Publish at QoS 1 and wait until the broker has it. Raises `BrokerError`."""
        properties = _Correlation(correlation) if correlation is not None and self.protocol == "5" else None
        try:
            info = self._paho.publish(topic, payload, 1, retain, properties)
        except ValueError as error:  # a topic that paho does not take
            raise BrokerError(f"nothing can be published to {topic[:80]}: {error}") from error
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BrokerError(f"nothing can be published to {topic[:80]}: {error_string(info.rc)}")
        confirmed = self._confirming[info.mid] = self._loop.create_future()
        try:
            # Without a time limit of its own a wait costs no task; `lose` ends it.
            await (confirmed if limit_s == math.inf else asyncio.wait_for(confirmed, limit_s))
        except TimeoutError as error:
            raise BrokerError(f"the broker has not confirmed {topic[:80]} within {limit_s:g} s") from error
        finally:
            self._confirming.pop(info.mid, None)
        if self._lost:
            raise BrokerError(f"the connection broke before the broker had {topic[:80]}")

    def lose(self) -> None:
        """Wake whoever waits for the broker to confirm: nothing will come on this connection."""
        self._lost = True
        for confirmed in self._confirming.values():
            if not confirmed.done():
                confirmed.set_result(None)

    async def next(self) -> list[Delivery]:
        """Wait for messages and give all that are there. Raises `BrokerError` when the connection is gone."""
        while not self._arrived:
            gone = self._client._disconnected
            if gone.done():
                error = None if gone.cancelled() else gone.exception()
                cause = _cause(error) if error is not None else "it said goodbye"
                raise BrokerError(f"the connection to the broker is gone: {cause}") from error
            self._news.clear()
            await self._news.wait()
        return [self._arrived.popleft() for _ in range(min(len(self._arrived), RECEIVE_MAXIMUM))]

    def acknowledge(self, delivery: Delivery) -> None:
        """Let the broker forget a message. On a connection that is gone it does nothing: it is delivered again."""
        if delivery.qos:
            self._paho.ack(delivery.mid, delivery.qos)

    def _take(self, _client: object, _data: object, message: MQTTMessage) -> None:
        self._arrived.append(_delivery(message))
        self._news.set()

    def _confirmed(self, _client: object, _data: object, mid: int, *_: object) -> None:
        confirmed = self._confirming.get(mid)
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(None)

    def _wants_to_write(self, *_: object) -> None:
        """Write in the loop's next round all that is said in this one. paho connects in another thread."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._loop.call_soon_threadsafe(self._write)
        else:
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        connection = self._paho.socket()
        if connection is None:
            return
        try:
            self._paho.loop_write()
        except Exception as error:  # noqa: BLE001 - whatever breaks while writing has broken the connection
            if not self._client._disconnected.done():
                self._client._disconnected.set_exception(error)
            return
        if self._paho.want_write() and self._paho.socket() is connection:
            self._loop.add_writer(connection.fileno(), self._write)  # aiomqtt removes it when all is written


class _Correlation(Properties):
    """The Correlation Data of an answer, packed at once: paho's own properties cost a tenth of a whole answer."""

    def __init__(self, data: bytes) -> None:
        object.__setattr__(self, "_packed", _packed_correlation(data))

    def pack(self) -> bytes:
        """Length and property as they go over the wire (MQTT 5, 2.2.2)."""
        packed: bytes = self.__dict__["_packed"]
        return packed


def _packed_correlation(data: bytes) -> bytes:
    body = b"\x09" + len(data).to_bytes(2, "big") + data
    length, rest = bytearray(), len(body)
    while rest > 127:
        length.append(rest % 128 | 128)
        rest //= 128
    length.append(rest)
    return bytes(length) + body


@asynccontextmanager
async def connect(
    address: Address,
    *,
    identifier: str,
    will: Will | None,
    keepalive_s: int,
    protocol: Literal["5", "3.1.1"],
    lasting: bool = True,
    patience_s: float = _CONNECT_S,
) -> AsyncIterator[Connection]:
    """Connect, with a session that outlives the connection unless not `lasting`; leaving the block disconnects.

    Raises `WrongProtocolError` where MQTT 5 is not understood, else `BrokerError` with what to do.
    """
    client = _client(address, identifier, will, keepalive_s, protocol, lasting=lasting)
    paho = client._client
    paho.manual_ack_set(True)
    paho.connect_timeout = client.timeout = patience_s
    connection = Connection(client, protocol)  # before connecting: a session's messages come at once
    try:
        await client.__aenter__()
    except aiomqtt.MqttError as error:
        raise _explained(error, address) from error
    except ValueError as error:
        raise BrokerError(f"no connection to {address}: {error}") from error
    connection.up()
    try:
        yield connection
    finally:
        connection.lose()
        client.timeout = 1.0
        try:
            await client.__aexit__(None, None, None)
        except aiomqtt.MqttError as error:
            log.debug("disconnect_failed error=%s", error)


def _client(
    address: Address,
    identifier: str,
    will: Will | None,
    keepalive_s: int,
    protocol: Literal["5", "3.1.1"],
    *,
    lasting: bool,
) -> aiomqtt.Client:
    is_5 = protocol == "5"
    properties = None
    if is_5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho gives it no types
        properties.SessionExpiryInterval = _SESSION_S if lasting else 0
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
    tls = None
    if address.tls:
        tls = aiomqtt.TLSParameters(
            ca_certs=_text(address.ca_file),
            certfile=_text(address.cert_file),
            keyfile=_text(address.key_file),
            cert_reqs=ssl.CERT_REQUIRED,
        )
    return aiomqtt.Client(
        address.host,
        address.port,
        username=address.username,
        password=address.password,
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V5 if is_5 else aiomqtt.ProtocolVersion.V311,
        will=None if will is None else aiomqtt.Will(will.topic, will.payload, qos=1, retain=True),
        clean_session=None if is_5 else not lasting,
        clean_start=not lasting if is_5 else MQTT_CLEAN_START_FIRST_ONLY,  # all that 3.1.1 accepts
        keepalive=keepalive_s,
        timeout=_CONNECT_S,
        properties=properties,
        tls_params=tls,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )


def _refuses(code: Any) -> bool:
    value: int = code.value if isinstance(code, ReasonCode) else int(code)
    return value >= 128


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _delivery(message: MQTTMessage) -> Delivery:
    properties = message.properties
    return Delivery(
        message.topic,
        bytes(message.payload),
        message.retain,
        message.qos,
        message.mid,
        getattr(properties, "ResponseTopic", None),
        getattr(properties, "CorrelationData", None),
    )


def _cause(error: BaseException) -> str:
    return str(error.__cause__ or error)


def _explained(error: aiomqtt.MqttError, address: Address) -> BrokerError:
    """What went wrong while connecting, and what to do. aiomqtt hides the OSError behind `from None`."""
    below = error.__context__
    code = getattr(error, "rc", None)
    number = code.value if isinstance(code, ReasonCode) else code
    if number in _UNSUPPORTED:
        return WrongProtocolError(f"{address} does not speak MQTT 5")
    if number in _REFUSED:
        what = "user name or password" if _REFUSED[number] == "password" else "access"
        return BrokerError(
            f"{address} refuses our {what}: check mqtt.broker's user and mqtt.password_file against the broker's"
        )
    return BrokerError(_explained_below(below, error, address))


def _explained_below(below: BaseException | None, error: aiomqtt.MqttError, address: Address) -> str:
    if isinstance(below, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {address} does not hold ({below.verify_message}): check mqtt.ca_file, the "
            "certificate's names and dates, and this machine's clock"
        )
    if isinstance(below, ssl.SSLError):
        return f"TLS with {address} fails ({below.reason}): is the port one for TLS, mqtt.cert_file right?"
    if isinstance(below, socket.gaierror):
        return f"no address is known for {address.host}: check the name in mqtt.broker and the DNS"
    if isinstance(below, FileNotFoundError | PermissionError):
        return f"{below.filename or 'a certificate file'} cannot be read: {below.strerror}"
    return f"{address} cannot be reached ({error}): is the broker running there?"
