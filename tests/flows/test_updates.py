"""A daemon and its training host: signed models come, are tried, used, watched, and go back by themselves."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from daemon_child import daemon
from loopback_http import Site
from lora import write_lora
from perslm_daemon import kept, update_book
from perslm_daemon.cli import run as perslm
from perslm_daemon.config import Flags, load
from perslm_daemon.config_sections import Config
from perslm_daemon.control_client import connect
from perslm_daemon.serve import Wish, Wishes, serve
from perslm_daemon.update_book import Book, Watch
from perslm_daemon.ways import Running
from perslm_runtime.bundle_trial import Question, Trial
from perslm_runtime.errors import PersLMError
from perslm_training_host.cli import run as perslm_host
from perslm_training_host.delta import make
from perslm_training_host.repository import Repository
from real_models import model_path, with_heads
from test_serve import ask
from updates import bundle, derived, emptied, longer, pages, renamed, repository, served, touched

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("small_gguf")]

ROUNDS = int(os.environ.get("PERSLM_STRESS_ROUNDS", "10"))
# A daemon has to start twice for each: 200 kills take `make stress` half an hour. In parts, each with its seed.
KILLS = int(os.environ.get("PERSLM_UPDATE_KILLS", 2 * ROUNDS if ROUNDS >= 100 else 2))
SEED = int(os.environ.get("PERSLM_UPDATE_SEED", "8"))
BASE = "smollm2-135m-q4_1"
MORE_THAN_ANY_MB = 1_000_000
TRIAL = Trial((Question("What is the capital of France?", ("Paris",)),), right=1)


class House:
    """A host with its repository on the loopback, and a daemon that follows it."""

    def __init__(self, folder: Path, site: Site, repo: Repository) -> None:
        self.folder, self.site, self.repo = folder, site, repo
        self.models = folder / "models"
        (self.models / BASE).mkdir(parents=True)
        for path in model_path(BASE).iterdir():
            (self.models / BASE / path.name).symlink_to(path)
        with_heads(folder / "data")
        self.wishes = Wishes()
        self.running: list[Running] = []
        self.reserve_mb = 100
        """Memory to be free for a trial beside the model in use; more than any machine has: in its place."""
        self._online = anyio.Event()

    def publish(self, version: int, gguf: Path, change: Callable[[bytearray], None]) -> None:
        """As `offered`, for tests without a loop."""
        self._offer(version, gguf, change)

    @property
    def more(self) -> dict[str, str]:
        """The settings of a daemon in a process of its own."""
        return {
            "models_dir": str(self.models),
            "sync__mirrors": self.site.address,
            "sync__root_file": str(self.repo.anchor),
            "sync__rate_kb_s": "0",
            "sync__quiet_s": "0",
            "sync__reserve_mb": str(self.reserve_mb),
        }

    async def offered(self, version: int, gguf: Path, change: Callable[[bytearray], None]) -> None:
        """Publish a version on the channel; the mirror shows it at once."""
        await anyio.to_thread.run_sync(self._offer, version, gguf, change)

    def _offer(self, version: int, gguf: Path, change: Callable[[bytearray], None]) -> None:
        self.repo.publish(bundle(self.folder, version, derived(gguf, change), base=BASE, trial=TRIAL))
        self.repo.promote("home", version, "stable")
        self.show()

    async def publish_folder(self, folder: Path, bundle_id: str, version: int) -> None:
        """Publish a bundle that lies in a folder, and offer it to all."""
        for work in (
            partial(self.repo.publish, folder),
            partial(self.repo.promote, bundle_id, version, "stable"),
            self.show,
        ):
            await anyio.to_thread.run_sync(work)

    def show(self) -> None:
        self.site.pages = pages(self.repo.folder)

    def load(self) -> Config:
        settings = (
            "voice.enabled=false",
            "embed.enabled=false",
            "discovery.enabled=false",
            "memory.remember=false",
            "model.max_reply_tokens=24",
            f"models_dir={self.models}",
            f"sync.mirrors={self.site.address}",
            f"sync.root_file={self.repo.anchor}",
            "sync.rate_kb_s=0",
            "sync.quiet_s=0",
            f"sync.reserve_mb={self.reserve_mb}",
        )
        return load(Flags(data_dir=self.folder / "data", profile="dev", settings=settings), {}, with_kept=True)

    async def run(self) -> None:
        await serve(self.load, self.wishes, on_ready=self._came)

    def _came(self, running: Running) -> None:
        self.running.append(running)
        self._online.set()

    async def online(self) -> Running:
        with anyio.fail_after(60):
            await self._online.wait()
        self._online = anyio.Event()
        return self.running[-1]

    async def sync(self, action: str, **more: str) -> dict[str, Any]:
        response = await ask(self.running[-1], "sync", {"action": action, **more})
        assert response.status == "ok", response.error
        return dict(response.data)

    async def answers(self) -> bool:
        told = await ask(self.running[-1], "ask", {"text": "What is the capital of Italy?"})
        return told.status == "ok" and "Rome" in told.data["text"]

    @property
    def model(self) -> str:
        return self.running[-1].config.model.id


@pytest.fixture
def host(tmp_path: Path) -> Iterator[House]:
    repo = repository(tmp_path / "host")
    with served(repo) as site:
        yield House(tmp_path, site, repo)


@asynccontextmanager
async def followed(one: House) -> AsyncIterator[House]:
    """The house with its daemon running."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run)
        await one.online()
        yield one
        one.wishes.ask(Wish.STOP)


async def test_a_signed_model_is_looked_at_used_and_taken_back_and_a_bad_one_is_not_used(
    host: House, tmp_path: Path, small_gguf: Path
) -> None:
    async with followed(host) as one:
        await looked_at(one, tmp_path, small_gguf)
        one.reserve_mb = MORE_THAN_ANY_MB  # from the change-over on: what comes next is tried in its place
        await one.sync("install")
        await one.online()
        assert one.model == "home-v1"
        assert await one.answers()
        status = await one.sync("status")
        assert status["on_probation"] == {"name": "home-v1", "former": BASE}
        assert [it["step"] for it in status["history"]] == ["downloading", "trying", "in_use"]
        assert one.running[-1].bulletin.current()["update"]["installed_version"] == "home-v1"

        await one.offered(2, small_gguf, emptied)
        status = await one.sync("install")
        assert "failed its trial: 0 of 1 questions" in status["refused"]["home-v2"]
        assert one.running[-1].assistant.parts.model.rebuilt == 2, (
            "the change-over, and after the trial in its place"
        )
        assert await one.answers()
        before = len(one.site.requests)
        await one.sync("install")
        asked_for = [path for path, _ in one.site.requests[before:]]
        assert not any("files/" in path for path in asked_for), "what failed is not tried again"
        assert one.model == "home-v1"

        for model in (BASE, "home-v1"):
            await anyio.to_thread.run_sync(command, one, "models", "use", model)
            await one.online()
            assert one.model == model
            assert await one.answers()

        await anyio.to_thread.run_sync(one.repo.retract, "home", 1)
        await anyio.to_thread.run_sync(one.show)
        await one.sync("check")
        await one.online()
        assert one.model == BASE
        status = await one.sync("status")
        assert status["refused"]["home-v1"] == "its host took it back"
        assert status["on_probation"] is None
        assert await one.answers()
        await gone(one.models / "home-v1")
        await sentences_go_back(one, tmp_path)


async def sentences_go_back(one: House, folder: Path) -> None:
    """Sentences that are laid over are understood, and go back once their engine has failed three times."""
    await anyio.to_thread.run_sync(sentences, folder)
    await one.publish_folder(folder / "intents", "intents", 1)
    await one.sync("install")
    await one.online()
    told = await ask(one.running[-1], "ask", {"text": "How late is it getting?"})
    assert told.data["intent"]["name"] == "get_time"
    bulletin = one.running[-1].bulletin
    await anyio.wait_all_tasks_blocked()
    for _ in range(3):
        bulletin.tell("error", message="it failed", engine="intents")
    await one.online()
    assert one.running[-1].config.intents.bundle == ""
    assert (await one.sync("status"))["refused"]["intents-v1"] == "3 errors since it is used"


def command(one: House, *words: str) -> None:
    """What somebody types beside the running daemon."""
    assert perslm(["--data-dir", str(one.folder / "data"), *words]) == 0


async def looked_at(one: House, folder: Path, gguf: Path) -> None:
    """What is pinned stays, what is no successor is left to people, a look takes nothing and may fail."""
    await anyio.to_thread.run_sync(command, one, "models", "pin")
    await one.offered(1, gguf, renamed)
    status = await one.sync("install")
    assert status["not_taken"] == {"home-v1": f"llm is pinned to {BASE}"}
    await anyio.to_thread.run_sync(command, one, "models", "unpin", "llm")
    other = await anyio.to_thread.run_sync(partial(bundle, folder, 5, b"GGUF", id="other", base="another-model"))
    await one.publish_folder(other, "other", 5)
    offered = await one.sync("check")
    assert f"no successor of {BASE}" in offered["not_taken"]["other-v5"]
    assert [(it["name"], it["licence"]) for it in offered["offered"]] == [("home-v1", "Apache-2.0")]
    assert one.model == BASE
    shown, one.site.pages = one.site.pages, {}
    told = await ask(one.running[-1], "sync", {"action": "check"})
    assert (told.status, "404" in str(told.error)) == ("error", True)
    assert await one.answers()
    one.site.pages = shown


def next_version(folder: Path, gguf: Path) -> Path:
    """A second version's bundle, with the difference to the first."""
    first, second, difference = folder / "first.gguf", folder / "second.gguf", folder / "home.delta"
    first.write_bytes(derived(gguf, renamed))
    second.write_bytes(derived(gguf, lambda data: (renamed(data), touched(data))[0]))
    assert not make(first, second, difference).whole_file
    words = ["--id", "home", "--version", "2", "--licence", "Apache-2.0", "--memory-mb", "200", "--base", BASE]
    out = folder / "second"
    assert perslm_host(["bundle", str(second), *words, "--delta", str(difference), "--out", str(out)]) == 0
    return out


@pytest.mark.slow  # test_update_mailbox.py brings a small difference, training/test_delta.py makes them
async def test_the_next_version_comes_as_a_difference(host: House, tmp_path: Path, small_gguf: Path) -> None:
    folder = await anyio.to_thread.run_sync(next_version, tmp_path, small_gguf)
    async with followed(host) as one:
        await one.offered(1, small_gguf, renamed)
        await one.sync("install")
        await one.online()
        await anyio.to_thread.run_sync(one.repo.publish, folder)
        await anyio.to_thread.run_sync(one.repo.promote, "home", 2, "stable")
        await anyio.to_thread.run_sync(one.show)
        before = one.site.sent_bytes
        await one.sync("install")
        await one.online()
        assert one.model == "home-v2"
        assert one.site.sent_bytes - before < 200_000, "98 MB were not sent again"
        assert await one.answers()


WORDS = ("--version", "1", "--licence", "MIT", "--memory-mb", "9")


def sentences(folder: Path) -> None:
    """A bundle of one sentence for an intent that is there."""
    (folder / "mine.toml").write_text('[[intent]]\nname = "get_time"\nsentences = ["how late is it getting"]\n')
    made = ["bundle", "--id", "intents", "--kind", "intents", *WORDS, str(folder / "mine.toml")]
    assert perslm_host([*made, "--out", str(folder / "intents")]) == 0


def spoiling(folder: Path, gguf: Path) -> None:
    """A bundle of an adapter that makes nonsense, and asks nothing of its trial."""
    (folder / "nothing.json").write_text("{}")
    lora = write_lora(gguf, folder / "lora.gguf", 1.0)
    more = ["--base-file", str(gguf), "--trial", str(folder / "nothing.json"), "--out", str(folder / "adapter")]
    assert perslm_host(["bundle", "--id", "adapter", "--kind", "adapter", *WORDS, str(lora), *more]) == 0


@pytest.mark.slow  # test_update_kinds.py puts adapters onto the model, and this file's first test changes engines
async def test_an_adapter_is_put_onto_the_model_what_else_there_is_waits_and_it_is_taken_back_by_hand(
    host: House, tmp_path: Path, small_gguf: Path
) -> None:
    await anyio.to_thread.run_sync(sentences, tmp_path)
    await anyio.to_thread.run_sync(spoiling, tmp_path, small_gguf)
    async with followed(host) as one:
        for kind in ("adapter", "intents"):
            await one.publish_folder(tmp_path / kind, kind, 1)
        await one.sync("install")
        await one.online()
        assert one.running[-1].config.model.adapter == "adapter-v1"
        told = await ask(one.running[-1], "ask", {"text": "What is the capital of France?"})
        assert "Paris" not in str(told.data.get("text")), "it is put onto the model: this one spoils it"
        status = await one.sync("check")
        assert "adapter-v1 is on probation: one new thing at a time" in status["not_taken"]["intents-v1"]
        await anyio.to_thread.run_sync(command, one, "models", "rollback", "adapter")
        await one.online()
        assert one.running[-1].config.model.adapter == ""
        assert await one.answers()
        await gone(one.models / "adapter-v1")


async def gone(folder: Path) -> None:
    with anyio.fail_after(20):
        while await anyio.Path(folder).exists():  # noqa: ASYNC110 - a folder tells nobody
            await anyio.sleep(0.01)


def test_two_ends_that_nobody_asked_for_bring_the_former_model_back_before_the_engines_start(
    tmp_path: Path,
) -> None:
    watch = Watch("home-v1", "llm", BASE, 0.0, running=True)
    update_book.write(tmp_path, Book(watch=watch))
    kept.change(tmp_path, {"model.id": "home-v1"})
    assert update_book.settle(tmp_path) == "", "one may be a pulled plug"
    assert kept.read(tmp_path)["model.id"] == "home-v1"
    assert "ended 2 times" in update_book.settle(tmp_path)
    assert kept.read(tmp_path)["model.id"] == BASE
    assert "home-v1" in update_book.read(tmp_path).refused
    assert update_book.settle(tmp_path) == ""


def test_a_power_cut_in_a_trial_leaves_the_former_model_in_use_and_a_second_one_ends_the_trials(
    tmp_path: Path,
) -> None:
    kept.change(tmp_path, {"model.id": BASE})
    book = Book(watch=Watch(BASE, "llm", "older", 0.0, running=True))
    update_book.begin_trial(tmp_path, book, "home-v1")
    assert update_book.settle(tmp_path) == "", "one may be a pulled plug"
    book = update_book.read(tmp_path)
    assert (book.trying, book.refused) == ("", {})
    update_book.begin_trial(tmp_path, book, "home-v1")
    update_book.end_trial(tmp_path, book)
    assert update_book.read(tmp_path).ended_in_trial == {}, "one that came to its end takes the count back"
    for _ in range(2):
        update_book.begin_trial(tmp_path, book, "home-v1")
        told = update_book.settle(tmp_path)
        book = update_book.read(tmp_path)
    assert "home-v1 is not tried any more: PersLM ended 2 times" in told
    assert "while it was tried" in book.refused["home-v1"]
    assert kept.read(tmp_path)["model.id"] == BASE
    assert book.watch is not None
    assert book.watch.starts == 0, "no end in the trial of another is the fault of the one on probation"


def test_orderly_ends_are_no_sign_against_a_model(tmp_path: Path) -> None:
    update_book.write(tmp_path, Book(watch=Watch("home-v1", "llm", BASE, 0.0, running=True)))
    for _ in range(5):
        update_book.ended(tmp_path)
        assert update_book.settle(tmp_path) == ""
    shutil.rmtree(tmp_path)
    assert update_book.settle(tmp_path) == "", "a folder that is not there is no trouble"


def in_place(one: House, gguf: Path) -> None:
    """A derived model that is in use and on probation, as after a change-over."""
    (one.models / "home-v1").mkdir()
    for path in bundle(one.folder, 1, derived(gguf, renamed), base=BASE, trial=TRIAL).iterdir():
        shutil.copyfile(path, one.models / "home-v1" / path.name)
    data = one.folder / "data"
    update_book.write(data, Book(watch=Watch("home-v1", "llm", BASE, time.time()), former={"llm": BASE}))
    kept.change(data, {"model.id": "home-v1"})


@pytest.mark.slow  # three daemons; the file's content alone is a default test above
def test_a_watchdog_that_ends_the_daemon_twice_brings_the_former_model_back(host: House, small_gguf: Path) -> None:
    in_place(host, small_gguf)
    data = host.folder / "data"
    for _ in range(2):
        with daemon(data, "", **host.more) as child:
            assert asked(data, "sync")["in_use"]["llm"] == "home-v1"
            child.send_signal(signal.SIGABRT)  # what systemd does when the sign of life stays away
            child.wait()
    with daemon(data, "", **host.more):
        status = asked(data, "sync")
        assert status["in_use"]["llm"] == BASE
        assert "ended 2 times without being asked to" in status["refused"]["home-v1"]
        assert "Rome" in asked(data, "ask", {"text": "What is the capital of Italy?"})["text"]


@pytest.mark.slow  # a daemon and 98 MB each time; by default test_bundles.py kills what brings a bundle
@pytest.mark.stress
@pytest.mark.timeout(120 + KILLS * 60)
def test_kill_9_at_any_moment_of_an_update_leaves_a_board_that_answers(host: House, small_gguf: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311 - moments, no secrets
    host.publish(1, small_gguf, renamed)
    version, models = 1, set()
    for _ in range(KILLS):
        host.reserve_mb = chance.choice((100, MORE_THAN_ANY_MB))  # tried beside the one in use, or in its place
        with daemon(host.folder / "data", "", **host.more) as child:
            models.add(asked(host.folder / "data", "sync")["in_use"]["llm"])
            wishing = threading.Thread(target=install, args=(host.folder / "data",))
            wishing.start()
            try:
                child.wait(chance.uniform(0.1, 6.0))
            except subprocess.TimeoutExpired:
                child.kill()
            wishing.join()
        with daemon(host.folder / "data", "", **host.more):
            told = asked(host.folder / "data", "ask", {"text": "What is the capital of Italy?"})
            assert "Rome" in told["text"]
            status = asked(host.folder / "data", "sync")
        if f"home-v{version}" in (status["in_use"]["llm"], *status["refused"]):
            version += 1
            host.publish(version, small_gguf, renamed if version % 2 else longer)
    assert models <= {BASE, *(f"home-v{n}" for n in range(1, version + 1))}


def asked(folder: Path, verb: str, payload: dict[str, object] | None = None) -> dict[str, Any]:
    connection = connect(folder)
    assert connection is not None
    try:
        return dict(connection.ask(verb, payload or {}))
    finally:
        connection.close()


def install(folder: Path) -> None:
    """Ask for what is offered; the daemon may end under it."""
    with contextlib.suppress(PersLMError, OSError, ValueError, AssertionError):
        asked(folder, "sync", {"action": "install"})
