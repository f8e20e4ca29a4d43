"""`make flash-test`: the image, flashed as a person would, in an emulated board: from power to an answer and on.

It talks to the board by mosquitto's programs and ssh. The report goes to benchmarks/results/image.json; emulation
is some 50 times slower than a board, so its times compare builds alone.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perslm_build import card as cards
from perslm_build import (
    emulated_board,
    flash,
    flash_deb,
    flash_device,
    flash_sound,
    image,
    image_record,
    image_tools,
    locks,
    system,
)
from perslm_build.emulated_board import USER, Board, Keys, Listener
from perslm_build.terminal import SetupError, say, step

RESULT = locks.ROOT / "benchmarks/results/image.json"
NODE = "flash-test"
_CARD_BYTES = 4 << 30
_WIFI_PASSWORD = "not-a-secret-of-anybody"  # noqa: S105 - looked for on the card afterwards
_BOOT_S, _ONLINE_S, _ANSWER_S = 1800.0, 1800.0, 900.0
_LEAST_REFUSED = 28  # of 31; a board with 2 GB has no memory to be eaten even without the sandbox
_ASK = "What is the capital of France?"


@dataclass(slots=True)
class Report:
    """What was measured and seen, in order."""

    facts: dict[str, Any] = field(default_factory=dict)

    def take(self, name: str, value: Any) -> None:
        """Keep and show one fact."""
        self.facts[name] = value
        say(f"   {name}: {value}")


def run(*, voice: bool = True) -> dict[str, Any]:
    """Flash, boot and try `IMAGE` (the newest in dist/); returns the facts. Raises SetupError at what is wrong.

    Without `voice` the board has no ears and no mouth: its starts take half as long under emulation.
    """
    system.provide((*image_tools.FLASH, *image_tools.EMULATE), image.logs())
    picture = flash.open_image(flash.chosen_image())
    package = flash_deb.newest()
    report = Report()
    report.take("voice", voice)
    report.take("deb", package.name if package else "none in dist/: `make deb` makes it")
    try:
        with tempfile.TemporaryDirectory(dir=image.work_place(), prefix="flash-test-") as name:
            folder = Path(name)
            card, keys = _flashed(picture, folder, voice=voice)
            _first_start(card, folder, keys, report)
            _settings_taken(card, report)
            _second_start(card, folder, keys, report, package)
    except SetupError as error:
        report.take("stopped_at", str(error).splitlines()[0])
        _keep(picture, report, RESULT.with_suffix(".local.json"))  # beside the last good one, not over it
        raise
    _keep(picture, report, RESULT)
    say("\nAll as it should be.")
    return report.facts


def _flashed(picture: flash.Image, folder: Path, *, voice: bool) -> tuple[Path, Keys]:
    """A card as `make flash` leaves it, with settings as somebody on Windows would save them."""
    public = emulated_board.make_key(folder)
    keys = Keys(secrets.token_urlsafe(16), folder / "key")
    settings = (
        f'hostname = "{NODE}"\ntimezone = "Europe/Berlin"\n'
        f'[wifi]\nssid = "Nowhere"\npassword = "{_WIFI_PASSWORD}"\ncountry = "DE"\n'
        f'[ssh]\nkeys = ["{public}"]\n'
        f'[mqtt]\nbroker = "own"\nlisten = "0.0.0.0"\nuser = "{USER}"\npassword = "{keys.password}"\n'
        # A profile's four threads are for a Pi's four cores; beyond the cores there are they wait by computing.
        "[perslm.model]\nmax_reply_tokens = 12\nthreads = 1\nbatch_threads = 1\n[perslm.stt]\nthreads = 1\n"
        f"[perslm.voice]\nenabled = {str(voice).lower()}\n"
        "[perslm.mouth]\nduck_others_to = 1\n"  # whoever asks it is another program here, and would be softer
    )
    raw = flash.checked_settings(b"\xef\xbb\xbf" + settings.replace("\n", "\r\n").encode(), "the test's settings")
    card = folder / "card.img"
    target = flash_device.look(card)
    flash.write(picture, target)
    flash.verify(picture, card)
    flash.put_settings(card, raw)
    emulated_board.grow(card, _CARD_BYTES)
    return card, keys


def _first_start(card: Path, folder: Path, keys: Keys, report: Report) -> None:
    with step("First start"), emulated_board.running(card, folder, keys) as board:
        listener = Listener(board, NODE)
        try:
            _wait_online(board, listener, report, "first")
            _ask(listener, report, "first")
            report.take("power_to_first_answer_s", round(board.age_s()))
            _first_boots_work(board, report)
            _sandbox_holds(board, report)
            if report.facts["voice"]:
                flash_sound.plug_in(board)
            _killed(board, listener, report)
            _frozen(board, listener, report)
            _remember(listener)
            listener.send("ask", "cut-off", text="Tell me a long story about a lighthouse.")
            time.sleep(10)  # the model is at work by then, and for minutes more
            board.pull_the_plug()
            report.take("plug_pulled", "while an answer was made")
        finally:
            listener.close()


def _wait_online(board: Board, listener: Listener, report: Report, which: str) -> None:
    listener.connect(_BOOT_S)
    report.take(f"{which}_start_to_broker_s", round(board.age_s()))
    # A broker that lost its power too still says "online" of before: only what follows "starting" counts.
    for state in ("starting", "online"):
        listener.until("state", _ONLINE_S, state=state)
        report.take(f"{which}_start_to_{state}_s", round(board.age_s()))


def _ask(listener: Listener, report: Report, which: str) -> None:
    """One answer by the model itself; it says which model it was."""
    begin = time.monotonic()
    listener.send("ask", f"{which}-ask", text=_ASK)
    answer = listener.until("response/ask", _ANSWER_S, transaction=f"{which}-ask")
    data = answer.get("data", {})
    if answer.get("status") != "ok" or not data.get("text") or data.get("intent") is not None:
        raise SetupError(f"the model gave no answer: {answer}")
    report.take(f"{which}_answer_s", round(time.monotonic() - begin, 1))
    report.take(f"{which}_answer", data["text"])
    report.take("model", data.get("model"))


def _first_boots_work(board: Board, report: Report) -> None:
    """The host name, the grown root, no failed unit, and what it all takes in memory."""
    expected: dict[str, tuple[str, Callable[[str], bool]]] = {
        "host_name": ("hostname", lambda said: said == NODE),
        "time_zone": ("readlink /etc/localtime", lambda said: said.endswith("Europe/Berlin")),
        "root_mib": ("df --output=size -BM / | tail -1 | tr -dc 0-9", lambda said: int(said) > 3000),
        "failed_units": ("systemctl --failed --plain --no-legend", lambda said: said == ""),
        "wifi_profile_mode": (
            "stat -c %a /etc/NetworkManager/system-connections/perslm-wifi.nmconnection",
            lambda said: said == "600",
        ),
        "listening_beyond_loopback": (
            "ss -Hltn | awk '{print $4}' | grep -v -e '^127' -e '^.::1' | sed 's/.*://' | sort -u | tr '\\n' ' '",
            lambda said: set(said.split()) <= {"22", "1883"},
        ),
        "llama_folder": (
            f"grep -o 'llama_cpp/lib[^/]*' /proc/{_pid(board)}/maps | sort -u",
            lambda said: said == "llama_cpp/lib",
        ),
        "watchdog": ("cat /sys/class/watchdog/watchdog0/state", lambda said: said == "active"),
        "log_folder": ("findmnt -n -o FSTYPE /var/log", lambda said: said == "tmpfs"),
        "passwords_at_ssh": ("sshd -T | grep -i ^passwordauthentication", lambda said: said.endswith(" no")),
        "release": ("readlink /opt/perslm", lambda said: said == "perslm-releases/card"),
        # One for each build of llama.cpp came with the card; a third would have been computed here.
        "heads_on_the_card": ("ls /var/lib/perslm/snapshots | wc -l", lambda said: said == "2"),
    }
    for name, (command, right) in expected.items():
        said = board.ssh(command)
        report.take(name, said)
        if not right(said):
            raise SetupError(
                f"{name} is {said!r}: `{command}`\n{board.ssh('journalctl -b -n 30 --no-pager', check=False)}"
            )
    report.take("service_rss_mb", int(board.ssh(f"ps -o rss= -p {_pid(board)}")) // 1000)
    used = "awk '/MemTotal/{t=$2} /MemAvailable/{a=$2} END{print int((t-a)/1000)}' /proc/meminfo"
    report.take("whole_board_used_mb", int(board.ssh(used)))
    report.take("kib_written_in_an_idle_minute", _written_kib(board))


def _written_kib(board: Board) -> int:
    """What a board that nobody asks anything writes onto its card: the root is meant to be read."""
    written = "awk '$3==\"vda\"{print $10}' /proc/diskstats"
    before, after = (int(said) for said in board.ssh(f"{written}; sleep 60; {written}").split())
    return (after - before) // 2


def _pid(board: Board) -> str:
    return board.ssh("systemctl show -p MainPID --value perslm.service")


def _killed(board: Board, listener: Listener, report: Report) -> None:
    """systemd brings the daemon back, and the broker says so meanwhile."""
    before = _pid(board)
    begin = time.monotonic()
    board.ssh(f"kill -9 {before}")
    listener.until("state", _ANSWER_S, state="offline")
    listener.until("state", _ONLINE_S, state="online")
    report.take("killed_to_online_s", round(time.monotonic() - begin))
    if _pid(board) == before:
        raise SetupError("the daemon was killed and has the same process number: it was not.")


def _frozen(board: Board, listener: Listener, report: Report) -> None:
    """A daemon that stands still gives no sign of life: systemd's watchdog ends it, and it starts again."""
    before = _pid(board)
    begin = time.monotonic()
    board.ssh(f"kill -STOP {before}")
    listener.until("state", _ANSWER_S, state="offline")
    listener.until("state", _ONLINE_S, state="online")
    report.take("frozen_to_online_s", round(time.monotonic() - begin))
    said = board.ssh("journalctl -b -o cat -u perslm.service | grep -i 'watchdog timeout' | tail -1", check=False)
    if not said or _pid(board) == before:
        raise SetupError(f"the daemon stood still, and the watchdog did not end it: {said!r}")
    report.take("frozen_was_ended_by", said)


def _sandbox_holds(board: Board, report: Report) -> None:
    """Every way out of the tools' sandbox is tried on the board's own kernel.

    By root, who may do most of it without the sandbox: what fails there too shows nothing, and is told.
    """
    command = "HOME=/root PERSLM_DATA_DIR=/run/perslm-check /opt/perslm/bin/perslm --json tools check; true"
    found = json.loads(board.ssh(command))
    refused = [one["act"] for one in found["acts"] if one["holds"] == "refused"]
    others = {one["act"]: f"{one['holds']}: {one['why']}" for one in found["acts"] if one["act"] not in refused}
    report.take("sandbox_landlock", found["landlock"])
    report.take("sandbox_refused", len(refused))
    report.take("sandbox_not_refused", others)
    if not found["ok"] or len(refused) < _LEAST_REFUSED:
        raise SetupError(f"the sandbox does not hold on the board's kernel: {others}")


def _remember(listener: Listener) -> None:
    listener.send("remember", "lasting", text="The lighthouse keeper is called Ingeborg.")
    answer = listener.until("response/remember", _ANSWER_S, transaction="lasting")
    if answer.get("status") != "ok":
        raise SetupError(f"nothing is remembered: {answer}")


def _settings_taken(card: Path, report: Report) -> None:
    """Nothing secret is left on the boot partition, and the log there says how it went."""
    left = flash.take_settings(card)
    if _WIFI_PASSWORD.encode() in left or cards.wiped(left) != left:
        raise SetupError("a password is still on the boot partition")
    if _WIFI_PASSWORD.encode() in _boot_partition(card):
        raise SetupError("a password is still in a free block of the boot partition")
    log = flash.take_settings(card, "perslm-log.txt").decode()
    if "ready to start PersLM" not in log:
        raise SetupError(f"first boot did not finish:\n{log}")
    report.take("first_boot_log", [line.split("Z ", 1)[-1] for line in log.splitlines()])


def _boot_partition(card: Path) -> bytes:
    with card.open("rb") as file:
        file.seek(1 << 20)
        return file.read(256 << 20)


def _second_start(card: Path, folder: Path, keys: Keys, report: Report, package: Path | None) -> None:
    """The memory is there; then what takes sound and time: by the board's own clock, whatever the host is at."""
    with (
        step("Start after the pulled plug, by the board's own clock"),
        emulated_board.running(card, folder, keys, own_clock=True) as board,
    ):
        listener = Listener(board, NODE)
        try:
            _wait_online(board, listener, report, "second")
            listener.send("recall", "lasted", text="What is the lighthouse keeper called?")
            found = listener.until("response/recall", _ANSWER_S, transaction="lasted")
            if "Ingeborg" not in json.dumps(found):
                raise SetupError(f"the memory did not survive the pulled plug: {found}")
            report.take("second_start_recalled", "there")
            said = board.ssh("systemctl --failed --plain --no-legend")
            if said:
                raise SetupError(f"failed after the pulled plug: {said}")
            if report.facts["voice"]:
                for name, value in flash_sound.converse(board, listener, folder).items():
                    report.take(name, value)
            if package is not None:
                for name, value in flash_deb.try_package(board, listener, package).items():
                    report.take(name, value)
        finally:
            listener.close()


def _keep(picture: flash.Image, report: Report, target: Path) -> None:
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": image_record.commit(),
        "image": picture.packed.name,
        "packed_mb": round(picture.packed.stat().st_size / 1e6),
        "unpacked_mb": round(picture.size / 1e6),
        "emulator": "qemu-system-aarch64 -M virt -cpu cortex-a72 -smp 2 -m 2048",
        "emulator_of_the_second_start": "the same with -smp 1 -icount shift=0",
        "threads_of_the_models": 1,
        "host_load": [round(value, 1) for value in os.getloadavg()],
        **report.facts,
    }
    fresh = target.with_suffix(".new")
    fresh.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    fresh.replace(target)
    say(f"   report: {target.relative_to(locks.ROOT)}")
