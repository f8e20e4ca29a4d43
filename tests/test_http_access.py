"""Who may use the HTTP port: tokens, this machine's user, other sites' pages, sizes, rates, TLS."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import in_this_process
from http_house import house
from perslm_daemon import http_gate, http_tls, http_tokens
from perslm_daemon.http_access import Measure, is_loopback, uid_of
from perslm_daemon.ways import Running
from perslm_runtime.errors import ConfigError, InputError

httpx = pytest.importorskip("httpx", reason="needs the dependencies of tests: `make setup`")

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("http")


@pytest.fixture(scope="module")
def tokens(folder: Path) -> dict[str, str]:
    """A token for each set of scopes: "chat", "chat home", ..., "all"."""
    made = {scope: http_tokens.add(folder, scope, [scope], "ana") for scope in http_tokens.SCOPES}
    several = {
        " ".join(chosen): http_tokens.add(folder, "-".join(chosen), list(chosen), "ana")
        for size in (2, 3)
        for chosen in itertools.combinations(http_tokens.SCOPES, size)
    }
    return {**made, **several, "all": http_tokens.add(folder, "all", list(http_tokens.SCOPES), "owner")}


@pytest.fixture(scope="module")
async def running(small_gguf: Path, folder: Path, tokens: dict[str, str]) -> AsyncIterator[Running]:
    async with house(folder, "http.host=0.0.0.0", "http.per_minute=100000") as online:
        yield online


@pytest.fixture
async def client(running: Running, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    context = await anyio.to_thread.run_sync(lambda: ssl.create_default_context(cafile=folder / "http-cert.pem"))
    async with httpx.AsyncClient(base_url=running.http, timeout=60, verify=context) as opened:
        yield opened


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


PAGE = (Path(__file__).parents[1] / "docs/http.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\|(?P<paths>(?: ?`(?:GET|POST) /[^`]+`,?)+) \|(?P<rest>.*)\|$", re.MULTILINE)


def documented() -> dict[str, frozenset[str]]:
    """`METHOD /path` -> the scopes that it needs, all of them, as the page says."""
    found = {}
    for row in _ROW.finditer(PAGE):
        needs = re.split("[:;]", row["rest"].rpartition("|")[2])[0]
        scopes = frozenset(re.findall(r"`(\w+)`", needs)) & set(http_tokens.SCOPES)
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", row["paths"]), scopes)
    return found


async def test_every_route_opens_to_the_scopes_of_its_page_and_to_no_others(
    client: httpx.AsyncClient, tokens: dict[str, str]
) -> None:
    page, wrong, every = documented(), [], frozenset(http_tokens.SCOPES)
    by_scopes = {every if name == "all" else frozenset(name.split()): secret for name, secret in tokens.items()}
    described = (await client.get("/api/openapi.json", headers=bearer(tokens["all"]))).json()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert sorted(routes - set(page)) == [], "docs/http.md has every route with its scope"
    for route in sorted(routes - {"GET /api/events"}):  # which does not end by itself
        method, path = route.split()
        content = b"{" if method == "POST" else b""  # refused where the token was not
        assert (await client.request(method, path)).status_code == 401, route
        needs = page[route]
        exact = set() if route == "POST /api/restart" else {needs or frozenset({"chat"})}  # it would restart
        for held in {*exact, *(every - {one} for one in needs)}:  # just enough, and all but one that is needed
            got = await client.request(
                method, path.format(id=1, name="volume"), content=content, headers=bearer(by_scopes[held])
            )
            if (got.status_code == 403) == (needs <= held):
                wrong.append((route, sorted(held), got.status_code))
    assert not wrong


async def test_beyond_loopback_it_is_encrypted_with_a_certificate_of_its_own(
    client: httpx.AsyncClient, running: Running, folder: Path, tokens: dict[str, str]
) -> None:
    assert running.http.startswith("https://127.0.0.1:")
    assert (await client.get("/api/status", headers=bearer(tokens["chat"]))).status_code == 200
    assert stat.S_IMODE((await anyio.Path(folder / "http-key.pem").stat()).st_mode) == 0o600
    trusting_others = await anyio.to_thread.run_sync(ssl.create_default_context)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        async with httpx.AsyncClient(verify=trusting_others) as stranger:
            await stranger.get(f"{running.http}/api/status")


async def test_once_there_is_a_token_nobody_comes_in_without_one(client: httpx.AsyncClient) -> None:
    for headers in ({}, bearer("perslm_"), bearer("x" * 5000), {"Authorization": "Basic b3duZXI6"}):
        got = await client.get("/api/status", headers=headers)
        assert got.status_code == 401
        assert got.headers["www-authenticate"] == "Bearer"
        assert "token" in got.json()["error"]
    under_openai = await client.get("/v1/models")
    assert under_openai.json()["error"]["code"] == "invalid_api_key"


async def test_a_revoked_token_is_refused_while_it_runs(client: httpx.AsyncClient, folder: Path) -> None:
    made = await anyio.to_thread.run_sync(lambda: http_tokens.add(folder, "guest", ["chat"], "ana"))
    with anyio.fail_after(30):
        while (await client.get("/api/status", headers=bearer(made))).status_code != 200:  # noqa: ASYNC110 - polled
            await anyio.sleep(0.2)
        await anyio.to_thread.run_sync(http_tokens.revoke, folder, "guest")
        while (await client.get("/api/status", headers=bearer(made))).status_code == 200:  # noqa: ASYNC110 - polled
            await anyio.sleep(0.2)


async def test_pages_of_other_sites_are_refused(client: httpx.AsyncClient, tokens: dict[str, str]) -> None:
    mine = bearer(tokens["all"])
    own = str(client.base_url).rstrip("/")
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": own.replace("https", "http")},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert (await client.get("/api/status", headers=mine | headers)).status_code == 403, headers
    answer = await client.get("/api/status", headers=mine | {"Origin": own, "Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_body_that_is_too_long_is_not_read(client: httpx.AsyncClient, tokens: dict[str, str]) -> None:
    mine = bearer(tokens["all"])
    long = b"x" * (http_gate.MAX_BODY_BYTES + 1)

    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield long[: len(long) // 2]

    for content in (long, in_pieces()):
        assert (await client.post("/api/status", content=content, headers=mine)).status_code == 413
    assert (await client.get("/api/status", headers=mine)).status_code == 200


async def test_half_a_request_leaves_the_others_alone(client: httpx.AsyncClient, tokens: dict[str, str]) -> None:
    port = client.base_url.port
    assert port is not None
    halves = []
    for sent in (b"", b"GET /api/st", b"\x16\x03\x01\x02\x00", b"\x00" * 3000):
        stream = await anyio.connect_tcp("127.0.0.1", port)
        if sent:
            await stream.send(sent)
        halves.append(stream)
    assert (await client.get("/api/status", headers=bearer(tokens["chat"]))).status_code == 200
    for stream in halves:
        await stream.aclose()


def test_a_token_is_kept_as_a_digest_and_told_once(tmp_path: Path) -> None:
    made = http_tokens.add(tmp_path, "phone", ["memory", "chat"], "ana")
    kept = tmp_path / "http_tokens.json"
    assert made.removeprefix("perslm_") not in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    found = http_tokens.find(http_tokens.read(tmp_path), made)
    assert found is not None
    assert (found.name, found.person, found.scopes) == ("phone", "ana", ("chat", "memory"))
    with pytest.raises(InputError, match="already"):
        http_tokens.add(tmp_path, "phone", ["chat"], "ana")
    for name, scopes in (("", ["chat"]), ("x", ["root"]), ("x", []), ("../x", ["chat"])):
        with pytest.raises(InputError):
            http_tokens.add(tmp_path, name, scopes, "ana")
    assert http_tokens.revoke(tmp_path, "phone") is True
    with pytest.raises(InputError, match="no token"):
        http_tokens.revoke(tmp_path, "phone")


@given(presented=st.one_of(st.text(max_size=200), st.text(max_size=100).map(lambda text: f"perslm_{text}")))
def test_no_other_text_is_a_token(presented: str) -> None:
    token = http_tokens.Token("a", "ana", ("chat",), "", "00" * 16, "00" * 32)
    assert http_tokens.find([token], presented) is None


def test_a_broken_file_of_tokens_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "http_tokens.json").write_text("{")
    with pytest.raises(ConfigError, match="mend the file"):
        http_tokens.read(tmp_path)


def test_two_processes_that_make_tokens_lose_none(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from perslm_daemon import http_tokens\n"
        "for n in range(20): http_tokens.add(Path(sys.argv[1]), f'{sys.argv[2]}{n}', ['chat'], 'ana')"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "ab"]
    assert [child.wait(60) for child in both] == [0, 0]
    assert len(http_tokens.read(tmp_path)) == 40


def test_requests_are_measured_by_caller() -> None:
    now = 0.0
    measure = Measure(60, lambda: now)
    assert [measure.take("a") for _ in range(60)] == [0] * 60
    assert measure.take("a") == 1
    assert measure.take("b") == 0
    now = 1.0
    assert measure.take("a") == 0
    assert measure.take("a") == 1
    for number in range(5000):
        measure.take(str(number))
    assert len(measure._left) <= 1024


def test_the_kernel_says_whose_a_loopback_connection_is(tmp_path: Path) -> None:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as listening, socket.socket(family) as client:
            listening.bind((host, 0))
            listening.listen()
            client.connect(listening.getsockname()[:2])
            here, there = client.getsockname()[:2], listening.getsockname()[:2]
            assert uid_of(here, there) == os.geteuid()
            assert uid_of((host, 1), there) is None
            assert uid_of(here, there, tmp_path) is None


def test_only_loopback_is_near() -> None:
    assert [is_loopback(one) for one in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1")] == [True] * 4
    assert [is_loopback(one) for one in ("0.0.0.1", "192.0.2.7", "::", "", "localhost")] == [False] * 5


def test_the_own_certificate_stays_until_it_must_change(tmp_path: Path) -> None:
    first = http_tls.own(tmp_path, ["localhost"], ["127.0.0.1"])
    assert http_tls.own(tmp_path, ["localhost"], ["192.0.2.7"]).fingerprint == first.fingerprint
    renamed = http_tls.own(tmp_path, ["localhost", "kitchen.local"], ["127.0.0.1"])
    assert renamed.fingerprint != first.fingerprint
    first.file.write_text("torn")
    assert http_tls.own(tmp_path, ["localhost"], []).fingerprint != renamed.fingerprint
    with pytest.raises(ConfigError, match=r"http\.cert_file"):
        http_tls.given(tmp_path / "missing.pem", tmp_path / "missing.pem")


def test_the_command_line_makes_lists_and_revokes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with in_this_process(tmp_path, monkeypatch, capfd) as perslm:
        made = perslm("token", "add", "phone", "--scope", "chat,home", "--person", "ana")
        assert made.code == 0
        assert made.out.strip().startswith("perslm_")
        assert "only time" in made.err
        listed = perslm("--json", "token", "list").data["tokens"]
        assert [(one["name"], one["person"], one["scopes"]) for one in listed] == [
            ("phone", "ana", ["chat", "home"])
        ]
        assert made.out.strip() not in json.dumps(listed)
        assert perslm("token", "add", "phone").code == 3
        assert perslm("token", "revoke", "phone").code == 0
        assert perslm("--json", "token", "list").data == {"tokens": []}
