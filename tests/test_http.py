"""The HTTP port over a real daemon: what it gives, to whom, and that it comes and goes with the daemon."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from daemon_child import daemon
from http_house import house
from perslm_daemon import control_client, http_tls
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


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def certified(folder: Path) -> None:
    """A certificate of the house's own in `folder`: by its own authority, for 127.0.0.1 alone."""
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 2)
    for name, more in (
        ("authority", ("-addext", "keyUsage=keyCertSign")),
        ("port", ("-CA", folder / "authority.pem", "-CAkey", folder / "authority.key")),
    ):
        to = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")
        for_ = ("-subj", f"/CN={name}", *(("-addext", "subjectAltName=IP:127.0.0.1") if name == "port" else ()))
        openssl("req", "-x509", *new, *to, *for_, *more)


async def test_without_a_token_it_stays_on_loopback_with_its_own_certificate_and_within_its_rate(
    tmp_path: Path,
) -> None:
    await anyio.to_thread.run_sync(certified, tmp_path)
    cert, key = f"http.cert_file={tmp_path / 'port.pem'}", f"http.key_file={tmp_path / 'port.key'}"
    async with house(tmp_path, "http.host=0.0.0.0", "http.tls=on", cert, key, "http.per_minute=40") as running:
        assert running.http.startswith("https://127.0.0.1:")
        trusted = partial(ssl.create_default_context, cafile=tmp_path / "authority.pem")
        async with httpx.AsyncClient(verify=await anyio.to_thread.run_sync(trusted), timeout=60) as client:
            got = [await client.get(f"{running.http}/api/me") for _ in range(60)]
            assert {one.status_code for one in got} == {200, 429}
            refused = next(one for one in got if one.status_code == 429)
            assert refused.json()["error"].startswith("too many requests: go on in ")
            wait_s = int(refused.headers["retry-after"])
            assert 1 <= wait_s <= 2  # 40 in a minute are one in 1.5 s
            of_openai = [
                await client.get(f"{running.http}/v1/models") for _ in range(6)
            ]  # a slow one may be let in
            under_openai = next(one for one in of_openai if one.status_code == 429)
            assert under_openai.json()["error"]["type"] == "rate_limit_error"
            await anyio.sleep(2.2)
            assert (await client.get(f"{running.http}/api/me")).status_code == 200
        trusts_others = await anyio.to_thread.run_sync(ssl.create_default_context)
        async with httpx.AsyncClient(verify=trusts_others) as stranger:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await stranger.get(f"{running.http}/api/me")


def test_a_certificate_whose_key_is_anothers_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    certified(tmp_path)
    served = http_tls.given(tmp_path / "port.pem", tmp_path / "port.key")
    assert served.fingerprint.count(":") == 31
    for cert, key in (("port.pem", "authority.key"), ("port.pem", "port.pem"), ("port.key", "port.key")):
        with pytest.raises(ConfigError, match=r"cannot be used .*: set http\.cert_file and http\.key_file"):
            http_tls.given(tmp_path / cert, tmp_path / key)


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
