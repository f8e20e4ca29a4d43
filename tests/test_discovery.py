"""Being found and finding others, between real processes; every packet stays on loopback or in a net namespace."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from perslm_daemon.addresses import reach
from perslm_daemon.discovery import BROKER, SERVICE, WYOMING, Card, browse, find_broker, identity

ROOT = Path(__file__).parents[1]
CHILD = [sys.executable, str(ROOT / "tests/discovery_child.py")]
PATIENCE_S = 8.0  # announcing takes about two seconds on an idle machine
APART = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
INSIDE = ["nsenter", "--net"] if os.geteuid() == 0 else ["nsenter", "--user", "--preserve-credentials", "--net"]

pytestmark = pytest.mark.skipif(
    not reach("loopback").senders, reason=f"no multicast on loopback: {reach('loopback').why_not}"
)
NAMESPACES = subprocess.run([*APART, "ip", "link"], capture_output=True, check=False).returncode == 0


class Child:
    """A process of discovery_child.py: what it says, by line, and what it is told."""

    def __init__(self, command: list[str]) -> None:
        paths = os.pathsep.join(str(ROOT / folder) for folder in ("runtime", "daemon"))
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        self.pid = self._process.pid
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def tell(self, *lines: str) -> None:
        assert self._process.stdin is not None
        for line in lines:
            self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self, within_s: float = PATIENCE_S, **wanted: object) -> dict[str, Any]:
        """The next line that says `wanted`; others are passed over."""
        end = time.monotonic() + within_s
        while (left_s := end - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left_s)
            except queue.Empty:
                break
            if wanted.items() <= line.items():
                return line
        raise AssertionError(f"not told within {within_s} s: {wanted}")

    def instance(self) -> str | None:
        self.tell("instance")
        return cast("str | None", self.hear(what="instance")["name"])

    def announced(self) -> str:
        end = time.monotonic() + PATIENCE_S
        while (name := self.instance()) is None:
            assert time.monotonic() < end, "never announced"
            time.sleep(0.05)
        return name

    def stop(self) -> None:
        self.tell("stop")
        stopped = self.hear(what="stopped")
        assert stopped["took_s"] < 1.0
        assert stopped["left"] == []

    def end(self) -> int:
        """Close its standard input, which ends it; returns the exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            return self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            assert self._process.stdout is not None
            self._process.stdout.close()


@contextmanager
def child(*words: str, through: Sequence[str] = ()) -> Iterator[Child]:
    started = Child([*through, *CHILD, *words])
    try:
        yield started
    finally:
        code = started.end()
    assert code == 0


def announcer(node: str, *, number: int = 1, interfaces: str = "loopback", **more: object) -> list[str]:
    return ["announce", json.dumps({"node": node, "id": f"{number:016x}", "interfaces": interfaces, **more})]


def unique(name: str) -> str:
    """Other runs of these tests may share this machine's loopback."""
    return f"{name}-{os.getpid()}-{time.monotonic_ns() % 10**6}"


def it_is_announced_once_it_can_answer_and_withdrawn_within_a_second_of_the_stop() -> None:
    node = unique("kitchen")
    name = f"{node}.{SERVICE}"
    with child("watch") as watcher, child(*announcer(node)) as ours:
        watcher.hear(what="watching")
        ours.hear(what="waiting")
        with pytest.raises(AssertionError, match="not told"):
            watcher.hear(within_s=2.5, name=name)  # announcing takes two
        ours.tell("ready")
        seen = watcher.hear(what="Added", name=name)
        assert seen["port"] == 8080
        assert "127.0.0.1" in seen["addresses"]
        assert seen["host"] == f"perslm-{node}-00000000.local."
        assert seen["txt"] == {
            "node": node,
            "version": "1.2.3",
            "base": f"perslm/{node}",
            "api": "8080",
            "id": "0000000000000001",
        }
        ours.stop()
        watcher.hear(within_s=1.5, what="Removed", name=name)


def a_second_of_the_same_name_gets_a_number_and_says_so() -> None:
    node = unique("hall")
    with child("watch") as watcher, child(*announcer(node)) as first, child(*announcer(node, number=2)) as second:
        watcher.hear(what="watching")
        first.tell("ready")
        watcher.hear(what="Added", name=f"{node}.{SERVICE}")
        second.tell("ready")
        warning = second.hear(what="warning")["message"]
        assert f"{node}-2" in warning
        assert "give each its own `node`" in warning
        seen = watcher.hear(what="Added", name=f"{node}-2.{SERVICE}")
        assert seen["txt"]["node"] == node
        second.stop()
        watcher.hear(what="Removed", name=f"{node}-2.{SERVICE}")
        assert first.instance() == node
        first.stop()


def wyoming_is_announced_beside_it_under_its_id_and_withdrawn_with_it() -> None:
    node, number = unique("study"), os.getpid() * 10**6 + time.monotonic_ns() % 10**6
    name = f"{number:016x}.{WYOMING}"
    with child("watch", WYOMING) as watcher, child(*announcer(node, number=number, wyoming=10_900)) as ours:
        watcher.hear(what="watching")
        ours.tell("ready")
        seen = watcher.hear(what="Added", name=name)
        assert seen["port"] == 10_900
        assert "127.0.0.1" in seen["addresses"]
        assert seen["txt"] == {}
        assert ours.instance() == node
        ours.stop()
        watcher.hear(within_s=1.5, what="Removed", name=name)


def a_stop_before_it_was_announced_leaves_nothing() -> None:
    with child(*announcer(unique("attic"))) as ours:
        ours.hear(what="waiting")
        ours.tell("ready")
        ours.stop()


def test_the_first_broker_by_name_is_found() -> None:
    first, second = f"a-{unique('broker')}", f"b-{unique('broker')}"
    with child("broker", second, "18832") as one, child("broker", first, "18831") as two:
        one.hear(what="announced")
        two.hear(what="announced")
        found = anyio.run(find_broker, 5.0, "loopback")
        every = {one.name: one for one in anyio.run(browse, BROKER, 1.5, "loopback")}
    assert {first, second} <= set(every)
    assert list(every) == sorted(every)
    assert found is not None
    assert found.name == min(every)
    ours = every[first]
    assert (ours.host, ours.addresses, ours.port) == (f"{first}.local", ("127.0.0.1",), 18831)
    assert ours.txt == {"tls": "no"}


@pytest.mark.anyio
async def test_a_search_that_nobody_answers_ends_in_time() -> None:
    began = time.monotonic()
    assert await browse("_perslm-nobody._tcp.local.", 0.4, "loopback") == []
    assert time.monotonic() - began < 2


@pytest.mark.anyio
async def test_a_search_on_an_interface_that_is_not_there_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert await find_broker(0.5, "nowhere0") is None
    assert any("nowhere0" in str(vars(record)) for record in caplog.records)


def without_any_address_it_says_so_once_and_announces_when_one_comes() -> None:
    with child(*announcer(unique("shed"), interfaces="all", look_s=0.1), through=APART) as ours:
        ours.hear(what="waiting")
        ours.tell("ready")
        assert "multicast is not possible here: no address is up" in ours.hear(what="warning")["message"]
        with pytest.raises(AssertionError, match="not told"):
            ours.hear(within_s=0.5, what="warning")
        ours.tell("ip link set lo up")
        assert ours.announced().startswith("shed-")
        ours.stop()


def a_machine_of_ipv6_alone_is_announced() -> None:
    with child(*announcer(unique("cellar"), interfaces="all", look_s=0.1), through=APART) as ours:
        ours.hear(what="waiting")
        ours.tell(
            "ip link add one type veth peer name two",
            "ip address add fd00:1::1/64 dev one nodad",
            "ip link set two up",
            "ip link set one up",
            "ready",
        )
        assert ours.announced().startswith("cellar-")
        ours.stop()


def a_new_address_is_announced_without_a_leave() -> None:
    with child(*announcer(unique("porch"), look_s=0.1), through=APART) as ours:
        ours.hear(what="waiting")
        ours.tell("ip link set lo up", "ready")
        with child("watch", through=[*INSIDE, f"--target={ours.pid}"]) as watcher:
            assert "127.0.0.9" not in watcher.hear(what="Added")["addresses"]
            ours.tell("ip address add 127.0.0.9/8 dev lo")
            changed = watcher.hear()
            while "127.0.0.9" not in changed["addresses"]:
                changed = watcher.hear()
            assert changed["what"] == "Updated"
            ours.stop()


IN_THE_HOUSE = (
    it_is_announced_once_it_can_answer_and_withdrawn_within_a_second_of_the_stop,
    a_second_of_the_same_name_gets_a_number_and_says_so,
    a_stop_before_it_was_announced_leaves_nothing,
    wyoming_is_announced_beside_it_under_its_id_and_withdrawn_with_it,
)
IN_A_NAMESPACE = (
    without_any_address_it_says_so_once_and_announces_when_one_comes,
    a_machine_of_ipv6_alone_is_announced,
    a_new_address_is_announced_without_a_leave,
)


@pytest.fixture(scope="module", autouse=True)
def told() -> Iterator[dict[str, Future[None]]]:
    """Every story at the same time: each waits for the network for seconds, and none knows of another."""
    facts = (*IN_THE_HOUSE, *(IN_A_NAMESPACE if NAMESPACES else ()))
    with ThreadPoolExecutor(len(facts)) as pool:
        yield {fact.__name__: pool.submit(fact) for fact in facts}


@pytest.mark.parametrize("fact", [fact.__name__ for fact in IN_THE_HOUSE])
def test_in_the_house(told: dict[str, Future[None]], fact: str) -> None:
    told[fact].result()


@pytest.mark.skipif(not NAMESPACES, reason="this machine makes no net namespaces (unshare --net)")
@pytest.mark.parametrize("fact", [fact.__name__ for fact in IN_A_NAMESPACE])
def test_on_a_machine_of_its_own(told: dict[str, Future[None]], fact: str) -> None:
    told[fact].result()


def test_an_identity_is_made_once_and_kept(tmp_path: Path) -> None:
    made = identity(tmp_path / "new")
    assert re.fullmatch(r"[0-9a-f]{16}", made)
    assert identity(tmp_path / "new") == made != identity(tmp_path)


def test_a_damaged_identity_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "identity").write_bytes(b"\xff\x00")
    assert re.fullmatch(r"[0-9a-f]{16}", made := identity(tmp_path))
    assert identity(tmp_path) == made


def test_the_page_explains_exactly_the_keys_that_are_announced() -> None:
    page = (ROOT / "docs/discovery.md").read_text()
    table = page.partition("| TXT key |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(Card("", "", "", 0, "").txt())
    assert SERVICE.removesuffix(".") in page
    assert BROKER.removesuffix(".") in page
    assert WYOMING.removesuffix(".") in page
