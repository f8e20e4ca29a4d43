"""Whatever is published to a node's topics: each request gets one answer, and the daemon goes on as before."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mosquitto
from daemon_child import daemon
from perslm_daemon import verb_table, verbs
from perslm_daemon.process import resident_bytes

pytestmark = [pytest.mark.usefixtures("small_gguf"), pytest.mark.stress, pytest.mark.timeout(3600)]

ROUNDS = int(os.environ.get("PERSLM_STRESS_ROUNDS", "10"))
BATCH = 20 if ROUNDS < 100 else 200  # 200 payloads by default, 20,000 in 100 rounds
ROOT = "perslm/kitchen"
ANSWERS = "perslm/_clients/fuzz"
GROWTH_BYTES = 60_000_000  # a leak of every payload would be more; memories, the journal and the heap may grow


def arguments() -> dict[str, type[verbs.Args]]:
    """Every verb of the table with the type of its arguments."""
    source = Path(str(verb_table.__file__)).read_text(encoding="utf-8")
    found = re.findall(r'Verb\(\s*"(\w+)", (\w+),', source)
    return {verb: getattr(verb_table, kind, None) or getattr(verbs, kind) for verb, kind in found}


VERBS = arguments()
ODD = (
    b"",
    b" ",
    b"{",
    b"{" * 50_000,
    b"[" * 50_000,
    b'{"text": ' * 2_000,
    b'{"text": NaN}',
    b'{"k": 1e999, "text": "a"}',
    b'{"k": ' + b"9" * 5_000 + b"}",
    b'{"text": "\\ud800"}',
    b'\xef\xbb\xbf{"text": "a"}',
    b"\xff\xfe\x00",
    b"\x00",
    b'{"text": "a", "text": "b"}',
    b'{"transaction": "x"} {"transaction": "y"}',
    b'{"transaction": {"a": 1}}',
    b'{"sent_at": -1e300}',
    b"null",
    b"x" * 300_000,
    '{"text": "ﷺ'.encode() + "\u202e🏳️‍🌈".encode() * 50 + b'"}',
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
texts = st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
elsewhere = [
    "",
    "zigbee2mqtt/bridge/request/permit_join",
    "perslm/x/response/y",
    "perslm/_clients/+",
    "perslm/_clients/#",
    "$SYS/broker/uptime",
    f"{ROOT}/request/ask",
    "a" * 60_000,
]
LONGEST_CORRELATION = 65_535  # what MQTT has room for
# The broker throws out who publishes to a topic with control or noncharacters.
levels = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn"], exclude_characters="/+#"), min_size=1, max_size=12
)
names = st.sampled_from(["volume", "memory", "model", "mute", "nothing", "state", "request", "as", "as/eve"])


def objects(kind: type[verbs.Args]) -> st.SearchStrategy[bytes]:
    """JSON objects with the verb's own fields, of any type."""
    fields = [field.name for field in msgspec.structs.fields(kind)] + ["nothing"]
    found = st.dictionaries(st.sampled_from(fields), values, max_size=4)
    return found.map(lambda given: json.dumps(given).encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Shot:
    """One message."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    response_topic: str
    expiry_s: int | None
    correlation_bytes: int = 8

    @property
    def asks(self) -> bool:
        """Whether it has to be answered: a message that nobody may lose, on a topic of a request."""
        parts = self.topic.removeprefix(f"{ROOT}/").split("/")
        legal = parts[:1] == ["request"] or (parts[:1] == ["as"] and parts[2:3] == ["request"])
        return self.qos > 0 and legal and self.expiry_s is None


@st.composite
def shots(draw: st.DrawFn) -> Shot:
    """One message to somewhere under the node."""
    verb = draw(st.sampled_from(sorted(VERBS)) | levels)
    kind = VERBS.get(verb, verbs.TextArgs)
    payload = draw(st.sampled_from(ODD) | st.binary(max_size=60) | texts | objects(kind))
    if verb == "restart":
        payload = b"{{" + payload  # a real restart is tested where nothing waits for it
    requests = [f"{ROOT}/request/{verb}", f"{ROOT}/request/{verb}", f"{ROOT}/as/eve/request/{verb}"]
    topic = draw(
        st.sampled_from(requests)
        | st.builds(lambda name: f"{ROOT}/{name}/set", names | levels)
        | st.builds(lambda more: f"{ROOT}/" + "/".join(more), st.lists(levels, min_size=1, max_size=4))
    )
    return Shot(
        topic,
        payload,
        qos=draw(st.integers(0, 2)),
        retain=draw(st.booleans()) and draw(st.booleans()),
        response_topic=draw(st.sampled_from([ANSWERS, ANSWERS, *elsewhere])),
        expiry_s=draw(st.sampled_from([None, None, None, 0])),
        correlation_bytes=draw(st.sampled_from([8, 8, 8, 8, 8, 300, LONGEST_CORRELATION])),
    )


class Gun(mosquitto.Client):
    """Fires shots and counts what is answered to each."""

    def __init__(self, port: int) -> None:
        super().__init__(port, ("perslm/_clients/#", "perslm/+/response/#"))
        self._number = 0

    def fire(self, shot: Shot) -> bytes:
        """Send it, and take it off the broker where it was retained; returns its Correlation Data."""
        self._number += 1
        correlation = self._number.to_bytes(shot.correlation_bytes, "big")
        self.send(
            shot.topic,
            shot.payload,
            qos=shot.qos,
            retain=shot.retain,
            response_topic=shot.response_topic or None,
            correlation=correlation,
            expiry_s=shot.expiry_s,
        )
        if shot.retain:
            self.send(shot.topic, b"", retain=True)
        return correlation

    def answers(self, wanted: set[bytes]) -> Counter[bytes]:
        """How often each was answered, once all of `wanted` are."""
        found: Counter[bytes] = Counter()
        while not wanted <= set(found):
            message = self.arrived.get(timeout=60)
            key = getattr(message.properties, "CorrelationData", None)
            if key is not None:
                told = json.loads(message.payload)
                assert set(told) <= {"status", "data", "error", "transaction"}
                assert "a bug in PersLM" not in told.get("error", ""), told["error"]
                found[key] += 1
        for message in self.all(0.05):
            found[getattr(message.properties, "CorrelationData", b"")] += 1
        return found


@contextmanager
def under_fire(folder: Path) -> Iterator[tuple[Gun, subprocess.Popen[str]]]:
    (folder / "broker").mkdir()
    lines = ("max_queued_messages 100000", "max_packet_size 20000000")
    with (
        mosquitto.running(folder / "broker", *lines) as broker,
        daemon(folder / "data", broker.url, model__max_reply_tokens="8") as child,
    ):
        gun = Gun(broker.port)
        yield gun, child
        gun.close()


def test_a_daemon_under_fire_answers_each_request_once_and_stays_as_it_was(tmp_path: Path) -> None:
    with under_fire(tmp_path) as (gun, child):
        known = Shot(f"{ROOT}/request/status", b"", 1, False, ANSWERS, None)
        gun.answers({gun.fire(known)})
        before = resident_bytes(child.pid)

        @settings(max_examples=ROUNDS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(shots(), min_size=BATCH, max_size=BATCH))
        def fire(batch: list[Shot]) -> None:
            fired = {gun.fire(shot): shot for shot in batch}
            wanted = {key for key, shot in fired.items() if shot.asks}
            last = gun.fire(known)
            found = gun.answers(wanted | {last})
            assert {fired[key].topic: times for key, times in found.items() if key in wanted and times > 1} == {}
            assert child.poll() is None

        fire()
        grown = resident_bytes(child.pid) - before
        child.terminate()
        _, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    assert "Traceback" not in errors
    assert grown < GROWTH_BYTES, f"{grown / 1e6:.0f} MB more after {ROUNDS * BATCH} payloads"


def test_no_answer_blames_a_bug(tmp_path: Path) -> None:
    """Each odd payload on each verb; the answers are read."""
    with under_fire(tmp_path) as (gun, _child):
        fired = {}
        for verb in sorted(VERBS):
            for payload in ODD:
                if verb != "restart" or payload.strip() not in (b"", b"null"):
                    shot = Shot(f"{ROOT}/request/{verb}", payload, 1, False, ANSWERS, None)
                    fired[gun.fire(shot)] = shot
        huge = Shot(f"{ROOT}/request/ask", b"{" + b" " * 10_000_000, 1, False, ANSWERS, None)
        fired[gun.fire(huge)] = huge
        told: dict[bytes, dict[str, Any]] = {}
        while len(told) < len(fired):
            message = gun.arrived.get(timeout=60)
            key = getattr(message.properties, "CorrelationData", None)
            if key in fired:
                told[key] = json.loads(message.payload)
        blamed = {
            f"{fired[key].topic} {fired[key].payload[:40]!r}": one["error"]
            for key, one in told.items()
            if "bug" in one.get("error", "")
        }
        assert blamed == {}
