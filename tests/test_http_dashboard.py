"""The dashboard: what it weighs, what it may load, and what people do with it in a real browser."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from browser import DESKTOP, PHONE, Browser, asked, browser
from daemon_child import daemon
from perslm_daemon import control_client, http_tokens
from perslm_daemon.http_dashboard import read_pages
from perslm_runtime import landlock
from perslm_runtime.audio import write_wav
from plugin_site import Site
from real_models import model_path
from recordings import spoken

pytest.importorskip("uvicorn", reason="needs the extra http")

FIRST_VIEW_BYTES = 150_000
FOLDER = Path(__file__).parents[1] / "daemon/perslm_daemon/data/dashboard"


def test_the_first_view_is_light_and_comes_from_here() -> None:
    pages = read_pages()
    assert set(pages) >= {"/", "/dashboard/app.js", "/dashboard/style.css"}
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < FIRST_VIEW_BYTES, "even unpacked"
    for file in FOLDER.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|innerHTML|eval\(|\son[a-z]+=|style=", text), file.name


def settled(online: str, path: str, done: Callable[[Any], bool]) -> None:
    """Ask until it is so: a change of the configuration starts the port anew."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if done(asked(online, path, {})):
                return
        time.sleep(0.1)
    raise AssertionError(f"{path} never became so")


DICE = """
    def roll(context): return "You rolled six."
    plugin = Plugin("dice", "rolls dice", tools=(Tool("roll", "roll a die", roll, untrusted=False),))
"""
WEATHER = """
    url = Setting("url", "where it comes from", "url", needed=True)
    plugin = Plugin("weather", "the weather", settings=(url,))
"""


@contextmanager
def daemon_with_plugins(
    folder: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """The daemon where two plug-ins are installed, of which one lacks a setting."""
    (folder / "site").mkdir()
    site = Site(folder / "site", monkeypatch)
    site.plugin("dice", DICE)
    site.plugin("weather", WEATHER, "perslm.connectors")
    with daemon(folder, "", **more) as child:
        yield child


@pytest.fixture(scope="module")
def online(small_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a daemon that hears and speaks, in a process of its own."""
    model_path("whisper-tiny.en", "model.bin")
    model_path("piper-en_US-joe-medium", "voice.onnx")
    folder = tmp_path_factory.mktemp("dashboard")
    with socket.socket() as free:  # a port of its own: the daemon opens it anew when a plug-in is enabled
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    more = {"http__enabled": "true", "http__port": port, "voice__enabled": "true", "audio__muted": "true"}
    with pytest.MonkeyPatch.context() as monkeypatch, daemon_with_plugins(folder, monkeypatch, more) as child:
        asked = control_client.connect(folder)
        assert asked is not None
        with asked:
            yield asked.ask("status")["http"]
        assert child.poll() is None


@pytest.fixture
def page(online: str, tmp_path: Path) -> Iterator[Browser]:
    """The dashboard, open and quiet: no error in its code and nothing forbidden by its policy at the end."""
    question = tmp_path / "question.wav"
    write_wav(question, spoken("What is the capital of Italy?"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        fake = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
        with browser(Path(folder), *fake, f"--use-file-for-fake-audio-capture={question}%noloop") as opened:
            opened.size(*DESKTOP)
            opened.go(f"{online}/")
            opened.until("document.getElementById('state').dataset.state === 'idle'")
            yield opened
            assert opened.problems() == []


@pytest.mark.slow
def test_its_files_are_open_and_what_they_show_is_not(online: str) -> None:
    with urllib.request.urlopen(f"{online}/", timeout=60) as answer:  # noqa: S310 - our own address
        policy = answer.headers["content-security-policy"]
        tag = answer.headers["etag"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    again = urllib.request.Request(f"{online}/", headers={"If-None-Match": tag})  # noqa: S310 - our own address
    with pytest.raises(urllib.error.HTTPError, match="304"):
        urllib.request.urlopen(again, timeout=60)  # noqa: S310 - our own address


@pytest.mark.slow
def test_a_question_is_asked_by_keyboard_and_answered_in_the_page(page: Browser) -> None:
    page.write("#question", "What is the capital of Italy?")
    page.press("Enter", 13)
    page.until("document.querySelector('#conversation .it')?.textContent.includes('Rome')")
    page.until("document.getElementById('events').textContent.includes('capital of Italy')")


@pytest.mark.slow
def test_a_question_is_spoken_into_the_page_and_answered_aloud(page: Browser) -> None:
    page.run("document.getElementById('aloud').checked = true")
    page.run(
        "window.played = 0;"
        "HTMLMediaElement.prototype.play = new Proxy(HTMLMediaElement.prototype.play,"
        " { apply(play, at, given) { at.addEventListener('timeupdate', () => { played = at.currentTime; });"
        " return Reflect.apply(play, at, given); } })"
    )
    page.run("document.getElementById('push').focus()")
    page.call("Input.dispatchKeyEvent", type="rawKeyDown", key=" ", code="Space", windowsVirtualKeyCode=32)
    page.until("document.getElementById('push').getAttribute('aria-pressed') === 'true'")
    page.run("new Promise((done) => setTimeout(done, 4000))")
    page.call("Input.dispatchKeyEvent", type="keyUp", key=" ", code="Space", windowsVirtualKeyCode=32)
    page.until("document.querySelector('#conversation .me')?.textContent.toLowerCase().includes('capital')")
    page.until("document.querySelector('#conversation .it')?.textContent.includes('Rome')")
    page.until("played > 0.2")


@pytest.mark.slow
def test_a_memory_is_found_corrected_and_forgotten(page: Browser, online: str) -> None:
    asked(online, "remember", {"text": "My piano lesson is on Tuesday."})
    page.run("location.hash = '#memories'")
    page.write("#words", "piano")
    page.run("document.getElementById('search').requestSubmit()")
    page.until("document.querySelector('#found li')?.textContent.includes('Tuesday')")
    page.run("document.querySelector('#found li button').click()")
    page.until("document.activeElement.tagName === 'TEXTAREA'")
    page.run("document.activeElement.select()")
    page.write("#found textarea", "My piano lesson is on Friday.")
    page.run("document.querySelector('#found li button').click()")
    page.until("document.querySelector('#found li p')?.textContent.includes('Friday')")
    kept = [one["text"] for one in asked(online, "memories?kind=fact")["memories"]]
    assert "My piano lesson is on Friday." in kept
    assert "My piano lesson is on Tuesday." not in kept
    page.run("[...document.querySelectorAll('#found li button')][1].click()")
    page.until("document.getElementById('sure').open")
    page.run("document.querySelector('#sure [value=yes]').click()")
    page.until("!document.getElementById('found').textContent.includes('Friday')")
    assert "My piano lesson is on Friday." not in str(asked(online, "memories"))


@pytest.mark.slow
def test_a_timer_is_set_and_cancelled_and_a_setting_changed(page: Browser, online: str) -> None:
    page.run("location.hash = '#timers'")
    page.write("#when", "10 min")
    page.write("#timer-name", "tea")
    page.run("document.getElementById('set-timer').requestSubmit()")
    page.until("document.getElementById('timer-list').textContent.includes('tea')")
    assert [one["name"] for one in asked(online, "timers")["timers"]] == ["tea"]
    page.run("document.querySelector('[aria-label=\"Cancel: tea\"]').click()")
    page.until("document.getElementById('timer-list').textContent.includes('Nothing is set')")
    page.run("location.hash = '#settings'")
    page.until("document.getElementById('setting-memory')")
    page.run("document.getElementById('setting-memory').click()")
    page.until(
        "fetch('api/settings').then((r) => r.json()).then((told) => told.data.settings.memory.value === false)"
    )
    asked(online, "settings/memory", {"value": True})


@pytest.mark.slow
def test_what_is_known_of_the_people_is_drawn_and_told_with_its_source(page: Browser, online: str) -> None:
    asked(online, "remember", {"text": "My sister's name is Ana."})
    asked(online, "remember", {"text": "Ana lives in <b>Porto</b>."})
    page.until(
        "fetch('api/memory', { method: 'POST', headers: { 'Content-Type': 'application/json' },"
        ' body: \'{"action": "graph"}\' }).then((r) => r.json()).then((told) => told.data.nodes.length > 1)'
    )
    page.run("location.hash = '#memories'")
    page.until("!document.getElementById('memories').hidden")
    page.run("document.querySelector('#known summary').click()")
    page.until("document.querySelector('#graph svg')?.textContent.includes('Ana')")
    page.until("document.getElementById('known-list').textContent.includes('Ana')")
    page.until("document.getElementById('known-list').textContent.includes('from memory')")
    assert page.run("document.querySelectorAll('#known b').length") == 0


@pytest.mark.slow
def test_a_question_for_a_yes_is_shown_and_answered_and_a_notification_is_seen(page: Browser, online: str) -> None:
    def call(name: str, **arguments: str) -> Any:
        return asked(online, "tools", {"action": "call", "name": name, "arguments": arguments})

    def presses(text: str) -> str:
        return (
            f"[...document.querySelectorAll('.asks button')].find((one) => one.textContent === '{text}').click()"
        )

    call("list_add", item="milk", list="shopping")
    call("list_clear", list="shopping")
    page.until("document.getElementById('asks').textContent.includes('Shall I empty')")
    page.run(presses("No"))
    page.until("document.getElementById('asks').textContent.includes('I leave it')")
    assert call("list_show", list="shopping")["data"]["items"] == ["milk"]
    page.until("document.getElementById('asks').children.length === 0")
    call("list_clear", list="shopping")
    page.until("document.getElementById('asks').textContent.includes('Shall I empty')")
    page.run(presses("Yes, do it"))
    page.until("document.getElementById('asks').textContent.includes('is empty')")
    assert call("list_show", list="shopping")["data"] == {}
    asked(online, "notify", {"text": "The washing is done", "title": "Laundry"})
    page.until("document.getElementById('notices').textContent.includes('Laundry: The washing is done')")
    page.run(presses("Seen"))
    page.until("document.getElementById('notices').children.length === 0")


@pytest.mark.slow
@pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock: plug-ins do not run")
def test_a_plug_in_is_looked_at_enabled_and_disabled_and_what_fails_says_why(page: Browser, online: str) -> None:
    page.run("location.hash = '#plugins'")
    page.until("document.querySelector('[aria-label=\"Enable dice\"]')")
    page.run("document.querySelector('[aria-label=\"Look at weather\"]').click()")
    page.until("document.getElementById('plugin-list').textContent.includes('url is missing')")
    page.run("document.querySelector('[aria-label=\"Enable weather\"]').click()")
    page.until("document.getElementById('problem').textContent.includes('weather is not enabled')")
    page.run("document.querySelector('[aria-label=\"Enable dice\"]').focus()")
    page.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", text="\r", windowsVirtualKeyCode=13)
    page.until("document.getElementById('sure').open")
    assert "no other machine" in page.run("document.getElementById('sure-text').textContent")
    page.run("document.querySelector('#sure [value=yes]').click()")
    page.until("document.querySelector('[aria-label=\"Disable dice\"]')")
    page.until("document.getElementById('plugin-list').textContent.includes('ready')")
    called = asked(online, "tools", {"action": "call", "name": "dice_roll", "arguments": {}})
    assert called["text"] == "You rolled six."
    page.run("document.querySelector('[aria-label=\"Disable dice\"]').click()")
    page.until("document.getElementById('sure').open")
    page.run("document.querySelector('#sure [value=yes]').click()")
    page.until("document.querySelector('[aria-label=\"Enable dice\"]')")
    settled(online, "plugins", lambda told: not told["plugins"])


@pytest.mark.slow
def test_what_goes_to_the_host_is_consented_reviewed_changed_and_taken_back(page: Browser, online: str) -> None:
    def sure() -> None:
        page.until("document.getElementById('sure').open")
        page.run("document.querySelector('#sure [value=yes]').click()")

    def waits(text: str) -> None:
        page.until(f"document.getElementById('examples').textContent.includes({text!r})")

    page.run("location.hash = '#sharing'")
    page.until("document.getElementById('share-corrections')")
    assert page.run("document.querySelectorAll('#share-kinds :checked').length") == 0, "nothing goes by itself"
    page.run("document.getElementById('share-corrections').click()")
    sure()
    page.until("document.getElementById('share-corrections').checked")
    settled(online, "share", lambda told: "corrections" in told["allowed"])
    asked(online, "ask", {"text": "Who wrote Faust?"})
    asked(online, "share", {"action": "rate", "text": "Goethe wrote it."})
    page.run("location.hash = '#talk'")
    page.run("location.hash = '#sharing'")
    waits("Who wrote Faust?")
    waits("Goethe wrote it.")
    page.until("document.getElementById('share-state').textContent.includes('1 waiting')")
    page.run("document.querySelector('#examples [aria-label^=Change]').click()")
    page.until("document.activeElement.tagName === 'TEXTAREA'")
    page.run("document.activeElement.select()")
    page.call("Input.insertText", text="Who wrote Hamlet?")
    page.run(
        "[...document.querySelectorAll('#examples button')].find((one) => one.textContent === 'Save').click()"
    )
    waits("Who wrote Hamlet?")
    page.run("document.querySelector('#examples [aria-label^=\"Take back\"]').click()")
    sure()
    waits("Nothing waits")
    assert asked(online, "share", {"action": "list"})["examples"] == []
    page.run("document.getElementById('share-corrections').click()")
    sure()
    page.until("!document.getElementById('share-corrections').checked")
    settled(online, "share", lambda told: not told["allowed"])


@pytest.mark.slow
def test_every_part_is_whole_on_phone_and_desktop_light_and_dark(page: Browser, tmp_path: Path) -> None:
    for size in (PHONE, DESKTOP):
        for dark in (False, True):
            page.size(*size, dark=dark)
            for part in (
                "talk",
                "memories",
                "home",
                "timers",
                "models",
                "plugins",
                "sharing",
                "health",
                "settings",
            ):
                page.run(f"location.hash = '#{part}'")
                page.until(
                    f"!document.getElementById('{part}').hidden && document.getElementById('problem').hidden"
                )
                wide = page.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide <= 0, (part, size)
                fields = f"document.querySelectorAll('#{part} :is(input, select, textarea, button)')"
                nameless = page.run(
                    f"[...{fields}].filter((one) => !(one.labels?.length ||"
                    " one.getAttribute('aria-label') || one.textContent.trim()))"
                    ".map((one) => one.outerHTML)"
                )
                assert nameless == [], part
                if part in ("plugins", "sharing", "settings"):
                    page.shot(tmp_path / f"{part}-{size[0]}-{dark}.png")


@pytest.mark.slow
def test_without_a_token_it_asks_for_one(small_gguf: Path, tmp_path: Path) -> None:
    token = http_tokens.add(tmp_path, "phone", ["chat", "home"], "ana")
    with (
        daemon(tmp_path, "", http__enabled="true", http__port="0"),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        browser(Path(folder)) as page,
    ):
        told = control_client.connect(tmp_path)
        assert told is not None
        with told:
            page.go(told.ask("status")["http"])
        page.until("document.getElementById('login').open")
        page.write("#token", "perslm_wrong")
        page.run("document.getElementById('login-form').requestSubmit()")
        page.until("document.getElementById('login-problem').textContent.includes('wrong')")
        page.write("#token", token)
        page.run("document.getElementById('login-form').requestSubmit()")
        page.until("document.getElementById('state').dataset.state === 'idle'")
        page.run("location.hash = '#memories'")
        page.until("document.getElementById('problem').textContent.includes('memory')")
