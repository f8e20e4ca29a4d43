"""The verbs over HTTP: who may what, memories and their people, settings, events, and what schemathesis finds."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings

import mosquitto
from daemon_child import daemon
from house import House, built
from http_house import house
from perslm_daemon import control_client, http_tokens
from perslm_daemon.bench_devices import SimHouse, add_tasmota
from perslm_daemon.http_scopes import scopes_of
from perslm_daemon.ways import Running
from perslm_runtime.memory import Memory

httpx = pytest.importorskip("httpx", reason="needs the dependencies of tests: `make setup`")
schemathesis = pytest.importorskip("schemathesis")

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("small_gguf")]

PEOPLE = {
    "owner": (["chat", "memory", "home", "admin"], "owner"),
    "ana": (["chat", "memory", "home"], "ana"),
    "chat": (["chat"], "owner"),
    "helper": (["chat", "home"], "owner"),
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def tokens(folder: Path) -> dict[str, str]:
    return {name: http_tokens.add(folder, name, scopes, person) for name, (scopes, person) in PEOPLE.items()}


@pytest.fixture(scope="module")
async def devices(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A lamp and a plug on a real broker, which note what they are told to do."""
    sim = SimHouse()
    add_tasmota(sim, "Kitchen lamp", [2], "DC4F22000001", subtype=5)
    add_tasmota(sim, "Kitchen plug", [1], "DC4F22000002")
    made = mosquitto.running(tmp_path_factory.mktemp("broker"))
    broker = await anyio.to_thread.run_sync(made.__enter__)
    try:
        async with built(broker.port, sim) as here:
            yield here
    finally:
        await anyio.to_thread.run_sync(made.__exit__, None, None, None)


@pytest.fixture(scope="module")
async def running(folder: Path, tokens: dict[str, str], devices: House) -> AsyncIterator[Running]:
    async with house(folder, "http.per_minute=100000", f"mqtt.broker={devices.url}") as online:
        yield online


class As:
    """Somebody who asks."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self.client, self.headers = client, {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.client.get(path, headers=self.headers, **more)

    async def post(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        return await self.client.post(path, content=content, headers=self.headers | headers)


@pytest.fixture
async def people(running: Running, tokens: dict[str, str]) -> AsyncIterator[dict[str, As]]:
    async with httpx.AsyncClient(base_url=running.http, timeout=60) as client:
        yield {name: As(client, token) for name, token in tokens.items()}


async def test_a_verb_answers_as_everywhere(people: dict[str, As]) -> None:
    owner = people["owner"]
    asked = await owner.post("/api/ask", {"text": "What is the capital of Italy?", "transaction": "t1"})
    assert asked.status_code == 200
    assert "Rome" in asked.json()["data"]["text"]
    assert asked.json()["transaction"] == "t1"
    wrong = await owner.post("/api/ask", {"txet": "x"})
    assert (wrong.status_code, wrong.json()["status"]) == (400, "error")
    assert "unknown field" in wrong.json()["error"]
    assert (await owner.post("/api/sing", {})).status_code == 404
    assert (await owner.get("/api/ask")).status_code == 405


async def test_a_turn_is_told_as_it_happens(people: dict[str, As]) -> None:
    told = await people["owner"].post(
        "/api/ask", {"text": "What is the capital of Italy?"}, Accept="text/event-stream"
    )
    events = [line.removeprefix("event: ") for line in told.text.splitlines() if line.startswith("event: ")]
    assert "sentence" in events
    assert events[-1] == "answer"
    last = json.loads(told.text.strip().splitlines()[-1].removeprefix("data: "))
    assert last["status"] == "ok"


async def test_every_verb_is_closed_to_who_lacks_its_scopes(people: dict[str, As], running: Running) -> None:
    for verb in running.verbs.names:
        needed = {scope for scope in scopes_of(verb) if scope}
        for name, (scopes, _) in PEOPLE.items():
            if needed - set(scopes):
                got = await people[name].post(f"/api/{verb}", {})
                assert got.status_code == 403, (verb, name)
                assert "perslm token add" in got.json()["error"]
    for path in ("config", "settings/memory"):
        assert (await people["helper"].post(f"/api/{path}", {"value": True})).status_code == 403
    assert (await people["chat"].get("/api/devices")).status_code == 403
    assert (await people["chat"].get("/api/models")).status_code == 200
    assert scopes_of("a verb of tomorrow") == ("admin",)


async def test_each_person_reads_corrects_and_forgets_only_their_own(people: dict[str, As]) -> None:
    owner, ana = people["owner"], people["ana"]
    mine = (await owner.post("/api/remember", {"text": "The safe's code is 4711."})).json()["data"]["id"]
    hers = (await ana.post("/api/remember", {"text": "My cat is called Momo."})).json()["data"]["id"]
    seen = (await ana.get("/api/memories")).json()["data"]["memories"]
    assert [one["text"] for one in seen] == ["My cat is called Momo."]
    assert "4711" not in (await ana.post("/api/recall", {"text": "safe code"})).text
    for body in ({"id": mine}, {"text": "safe"}, {"id": 10**9}):
        assert (await ana.post("/api/forget", body)).json()["data"]["count"] == 0, body
    assert (await ana.post(f"/api/memories/{mine}", {"text": "x"})).status_code == 404
    corrected = await ana.post(f"/api/memories/{hers}", {"text": "My cat is called Mimi."})
    assert corrected.status_code == 200
    seen = (await ana.get("/api/memories", params={"kind": "fact"})).json()["data"]["memories"]
    assert [one["text"] for one in seen] == ["My cat is called Mimi."]
    assert (await ana.post("/api/forget", {"id": seen[0]["id"]})).json()["data"]["count"] == 1
    assert (await ana.get("/api/memories")).json()["data"]["memories"] == []
    assert [one["id"] for one in (await owner.get("/api/memories?kind=fact")).json()["data"]["memories"]] == [mine]
    assert (await owner.get("/api/memories?limit=0")).status_code == 400


async def test_who_may_not_remember_asks_as_nobody(people: dict[str, As]) -> None:
    await people["owner"].post("/api/remember", {"text": "My sister's name is Ana."})
    question = {"text": "What is the name of my sister?"}
    assert "Ana" in (await people["owner"].post("/api/ask", question)).json()["data"]["text"]
    blind = (await people["helper"].post("/api/ask", question)).json()["data"]
    assert blind["recalled"] == []


async def test_what_is_read_has_a_get_beside_it(people: dict[str, As]) -> None:
    owner = people["owner"]
    await owner.post("/api/timer", {"action": "set", "seconds": 600, "name": "tea"})
    assert [one["name"] for one in (await owner.get("/api/timers")).json()["data"]["timers"]] == ["tea"]
    assert (await owner.get("/api/devices")).json()["status"] == "ok"
    assert "node" in (await owner.get("/api/config")).json()["data"]["keys"]
    assert (await owner.get("/api/keys")).json()["data"]["keys"]["http.port"]["default"] == 8090
    me = (await people["ana"].get("/api/me")).json()["data"]
    assert (me["person"], me["scopes"]) == ("ana", ["chat", "home", "memory"])


GIVEN = {"/v1/models/{name}": "perslm", "/api/settings/{name}": "memory"}


def rows_of(memory: Memory, _stop: object) -> dict[str, list[Any]]:
    """Everything in the memory's file."""
    tables = memory._database.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return {name: memory._database.rows(f'SELECT * FROM "{name}"') for (name,) in tables}  # noqa: S608 - our own


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of the data folder but the memory's own, whose rows are looked at, and links."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith("memory.db")]
    return {path.name: path.read_bytes() for path in sorted(files) if not path.is_symlink()}


async def test_no_get_of_any_route_changes_anything(
    people: dict[str, As], running: Running, folder: Path, devices: House
) -> None:
    owner, memory = people["owner"], running.assistant.parts.memory
    assert memory is not None
    fact = (await owner.post("/api/remember", {"text": "The stopcock is in the cellar."})).json()["data"]["id"]
    await owner.post("/api/timer", {"action": "set", "seconds": 3000, "name": "roast"})
    with anyio.fail_after(60):
        while len((await owner.get("/api/devices")).json()["data"]["devices"]) < 2:  # noqa: ASYNC110 - polled
            await anyio.sleep(0.1)

    async def state() -> dict[str, Any]:
        lists = {verb: {"action": "list"} for verb in ("timer", "plugins", "approve", "tools", "share", "sync")}
        told = {verb: (await owner.post(f"/api/{verb}", body)).text for verb, body in lists.items()}
        told |= {verb: (await owner.post(f"/api/{verb}", {})).text for verb in ("devices", "home", "config")}
        return {
            **{verb: re.sub(r'"(seconds_left|at)": [0-9.]+', "", text) for verb, text in told.items()},
            "rows": await memory.call(rows_of),
            "files": await anyio.to_thread.run_sync(files_of, folder),
            "settings": {name: running.bulletin.current()[name] for name in running.settings.table},
            "commands": list(devices.commands),
        }

    await running.assistant.pipeline.recollection.tidy()
    described = (await owner.get("/api/openapi.json")).json()["paths"]
    before = await state()
    for path, methods in (*described.items(), ("/", {"get": {}}), ("/api/openapi.json", {"get": {}})):
        url = path.format(id=fact, name=GIVEN.get(path, ""))
        if "get" not in methods:
            assert (await owner.get(url, params={"value": "false"})).status_code == 405, path
            continue
        if path == "/api/events":
            async with owner.client.stream("GET", url, headers=owner.headers) as events:
                assert await anext(events.aiter_lines())
            continue
        got = await owner.get(url, params={"text": "cellar", "limit": 5, "action": "forget", "value": "true"})
        assert got.status_code in {200, 304, 400, 404}, (path, got.text)
        assert (await owner.get(url)).status_code in {200, 400}, path
    assert len(described) > 30
    assert await state() == before


async def test_a_setting_is_changed_and_told(people: dict[str, As], running: Running) -> None:
    owner = people["owner"]
    assert (await owner.get("/api/settings")).json()["data"]["settings"]["memory"]["value"] is True
    async with owner.client.stream("GET", "/api/events", headers=owner.headers) as events:
        seen: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: owner.post("/api/settings/memory", {"value": False}))
            with anyio.fail_after(60):
                async for line in events.aiter_lines():
                    seen.append(line)
                    if line == 'data: {"name": "memory", "value": false}':
                        break
    assert "event: value" in seen
    assert running.assistant.pipeline.recollection.remembering is False
    assert (await owner.post("/api/settings/memory", {"value": True})).status_code == 200
    for body in ({"value": "blue"}, {"value": None}, {}, [], "x"):
        assert (await owner.post("/api/settings/memory", body)).status_code == 400, body
    assert (await owner.post("/api/settings/nothing", {"value": 1})).status_code == 400


async def test_what_people_say_is_told_to_who_may_read_memories(people: dict[str, As], running: Running) -> None:
    await people["owner"].post("/api/ask", {"text": "What is the capital of Italy?"})
    for name, sees in (("owner", True), ("ana", False), ("helper", False)):
        somebody = people[name]
        async with somebody.client.stream("GET", "/api/events", headers=somebody.headers) as events:
            seen = ""
            with anyio.fail_after(60):
                async for line in events.aiter_lines():
                    seen += line
                    if '"word of the day"' in line:
                        break
                    if "hello" in line:
                        running.bulletin.tell("heard", text="open sesame")
                        running.bulletin.tell("warning", message="word of the day")
        assert ("capital of Italy" in seen) is sees, name
        assert ("open sesame" in seen) is sees, name


async def test_the_configuration_is_changed_by_who_may(people: dict[str, As]) -> None:
    told = await people["owner"].post("/api/config", {"action": "set", "key": "no.such", "value": 1})
    assert told.status_code == 400
    assert "no.such" in told.json()["error"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a daemon in a process of its own."""
    folder = tmp_path_factory.mktemp("fuzzed")
    more = {
        "http__enabled": "true",
        "http__port": "0",
        "http__per_minute": "1000000",
        "model__max_reply_tokens": "8",
    }
    with daemon(folder, "", **more) as child:
        asked = control_client.connect(folder)
        assert asked is not None
        with asked:
            yield asked.ask("status")["http"]
        assert child.poll() is None, "it still runs"


def test_every_path_is_explained(alone: str) -> None:
    page = (Path(__file__).parents[1] / "docs/http.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`((?:GET|POST) /[^`]*)`", page))
    described = httpx.get(f"{alone}/api/openapi.json").json()["paths"]
    there = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert there - {"GET /v1/models/{name}"} - explained == set()
    assert explained - there <= {"GET /api/openapi.json", "POST /api/say", "POST /api/listen", "POST /api/<verb>"}


LEFT_OUT = {"/api/events", "/api/restart"}  # without an end; ends what the test asks, as a reload does
ROUNDS = int(os.environ.get("PERSLM_STRESS_ROUNDS", "10"))


def test_schemathesis_finds_no_error_of_ours(alone: str) -> None:
    described = httpx.get(f"{alone}/api/openapi.json").json()
    schema = schemathesis.openapi.from_dict(described)
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in LEFT_OUT:
            continue
        tried += 1

        @settings(
            max_examples=max(3, ROUNDS // 3), deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            if case.path == "/api/config" and b"reload" in json.dumps(str(case.body)).encode():
                return
            response = case.call(base_url=alone, timeout=60)
            assert response.status_code < 500, (case.method, case.path, case.body, response.text)

        ask()
    assert tried > 25
