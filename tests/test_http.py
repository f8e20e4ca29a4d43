"""The HTTP port over a real daemon: what it gives, to whom, and that it comes and goes with the daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from daemon_child import daemon
from http_house import house
from perslm_daemon import control_client
from perslm_daemon.http_server import listen
from perslm_daemon.ways import Running
from perslm_runtime.errors import ConfigError

httpx = pytest.importorskip("httpx", reason="needs the dependencies of tests: `make setup`")

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("small_gguf")]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with house(tmp_path_factory.mktemp("http")) as online:
        yield online


@pytest.fixture
async def client(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running.http, timeout=60) as opened:
        yield opened


async def test_prometheus_reads_the_measurements_of_the_control_socket(client: httpx.AsyncClient) -> None:
    got = await client.get("/metrics")
    assert got.status_code == 200
    assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {line.split()[2] for line in got.text.splitlines() if line.startswith("# TYPE")}
    assert {"perslm_uptime_seconds", "perslm_resident_memory_bytes", "perslm_engine_busy"} <= names
    rows = [line for line in got.text.splitlines() if not line.startswith("#")]
    assert all(float(line.rpartition(" ")[2]) >= 0 for line in rows)
    assert 'perslm_engine_busy{engine="model"}' in got.text


async def test_health_and_status_are_those_of_the_verbs(client: httpx.AsyncClient, running: Running) -> None:
    health = (await client.get("/api/health")).json()
    assert health["status"] == "ok"
    assert health["data"]["ok"] is True
    assert health["data"]["rss_mb"] > 20
    status = (await client.get("/api/status")).json()
    assert status["data"]["models"]["model"] == "smollm2-135m-q4_1"
    assert status["data"]["http"] == running.http


async def test_a_page_that_renamed_itself_to_loopback_reads_nothing(client: httpx.AsyncClient) -> None:
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b", "[::1]x"):
        got = await client.get("/api/status", headers={"Host": host})
        assert got.status_code in {400, 421}, host
        assert "smollm2" not in got.text
    for host in ("localhost", "LOCALHOST:8090", "127.0.0.1", "[::1]:80", "192.0.2.7:8090"):
        assert (await client.get("/api/status", headers={"Host": host})).status_code == 200, host


async def test_nothing_is_changed_by_reading(client: httpx.AsyncClient) -> None:
    described = (await client.get("/api/openapi.json")).json()
    assert {"/metrics", "/api/health", "/api/status"} <= set(described["paths"])
    assert (await client.post("/metrics")).status_code == 405
    assert (await client.get("/api/nothing")).status_code == 404


async def test_without_a_token_it_stays_on_loopback_whatever_is_configured(tmp_path: Path) -> None:
    async with house(tmp_path, "http.host=0.0.0.0") as running:
        assert running.http.startswith("http://127.0.0.1:")


async def test_a_taken_port_is_told_with_what_to_do() -> None:
    first = await anyio.to_thread.run_sync(listen, "127.0.0.1", 0)
    with first, pytest.raises(ConfigError, match=r"set http\.port"):
        await anyio.to_thread.run_sync(listen, "127.0.0.1", first.getsockname()[1])


def test_the_process_opens_it_when_asked_and_ends_with_an_open_connection(tmp_path: Path) -> None:
    with daemon(tmp_path, "", http__enabled="true", http__port="0") as child:
        asked = control_client.connect(tmp_path)
        assert asked is not None
        with asked:
            url = asked.ask("status")["http"]
        with httpx.Client(base_url=url, timeout=60) as kept:
            assert kept.get("/api/status").json()["data"]["node"] == "kitchen"
            child.terminate()
            assert child.wait(timeout=30) == 0
