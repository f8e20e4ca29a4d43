"""A board made of QEMU: the card that was flashed, started by its own boot loader, reached over loopback alone.

Owns the emulator's process and the two ways in, MQTT and SSH, by other people's programs. Every wait has a limit.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perslm_build.terminal import SetupError, say

_FIRMWARE = Path("/usr/share/AAVMF")
USER = "tester"


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens the board: the broker's password, and a private SSH key's file."""

    password: str
    ssh: Path


class Board:
    """A running QEMU. `folder` holds its firmware's variables, the console's log and what the loudspeaker played.

    With `own_clock` its time is counted by what it computes, a thousand million instructions a second: sound and
    deadlines in it then notice nothing of a busy host, which only makes it slower from outside. It has one core
    then: of two, one stands still while the other computes, a millisecond at a time, and each hand-over of a piece
    of sound waits for that. In one turn the sound card ran dry 38 times with two cores, and never with one.
    """

    def __init__(self, card: Path, folder: Path, keys: Keys, *, own_clock: bool = False) -> None:
        self.keys = keys
        self.console = folder / "console.log"
        self.heard = folder / "heard.wav"  # all that its loudspeaker has played
        self.mqtt_port, self.ssh_port = free_port(), free_port()
        variables = folder / "variables.fd"
        shutil.copyfile(_FIRMWARE / "AAVMF_VARS.fd", variables)
        forwards = f"hostfwd=tcp:127.0.0.1:{self.mqtt_port}-:1883,hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22"
        argv: list[str | Path] = [
            "qemu-system-aarch64",
            "-M",
            "virt",
            "-cpu",
            "cortex-a72",
            "-smp",
            "1" if own_clock else "2",
            "-m",
            "2048",
        ]
        argv += [
            *(("-accel", "tcg", "-icount", "shift=0") if own_clock else ("-accel", "tcg,thread=multi")),
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            f"file:{self.console}",
        ]
        argv += ["-drive", f"if=pflash,format=raw,readonly=on,file={_FIRMWARE / 'AAVMF_CODE.fd'}"]
        argv += ["-drive", f"if=pflash,format=raw,file={variables}"]
        argv += ["-drive", f"if=none,id=card,format=raw,file={card}", "-device", "virtio-blk-pci,drive=card"]
        argv += ["-netdev", f"user,id=net,restrict=on,{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="]
        argv += ["-device", "virtio-rng-pci", "-no-reboot"]
        argv += ["-device", "i6300esb", "-action", "watchdog=reset"]
        # A card that only plays: QEMU's file of what was played has no other side.
        argv += ["-audiodev", f"wav,id=sound,path={self.heard},out.frequency=48000"]
        argv += ["-device", "intel-hda", "-device", "hda-output,audiodev=sound"]
        self.begin = time.monotonic()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent)  # noqa: PLW1509 - no threads yet

    def pull_the_plug(self) -> None:
        """End the emulator at once, as a power cut ends a board."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def age_s(self) -> float:
        """Seconds since the board got its power."""
        return time.monotonic() - self.begin

    def ssh(self, command: str, *, check: bool = True, limit_s: float = 900.0) -> str:
        """What a command prints on the board, logged in by key as root. Raises SetupError where it fails."""
        argv = [*self._shell(limit_s), command]
        found = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=limit_s)
        if check and found.returncode != 0:
            raise SetupError(f"on the board `{command}` ended with {found.returncode}: {found.stderr.strip()}")
        return found.stdout.strip()

    def put(self, file: Path, target: str, *, limit_s: float = 900.0) -> None:
        """Copy a file onto the board, for everybody to read. Raises SetupError where it does not get there."""
        argv = [*self._shell(limit_s), f"cat > {target} && chmod 644 {target} && stat -c %s {target}"]
        with file.open("rb") as source:
            found = subprocess.run(
                argv, stdin=source, capture_output=True, text=True, check=False, timeout=limit_s
            )
        if found.stdout.strip() != str(file.stat().st_size):
            raise SetupError(f"{file.name} did not get onto the board: {found.stderr.strip() or found.stdout}")

    @contextmanager
    def on_call(self, command: str) -> Iterator[Callable[[], None]]:
        """`command` ready on the board: the function that is given starts it at once, without a log-in's seconds.

        It is waited for at the end. Raises SetupError where the log-in fails.
        """
        argv = [*self._shell(900.0), f"echo ready; read go; {command}"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            if process.stdin is None or process.stdout is None or process.stdout.readline() != "ready\n":
                raise SetupError("nobody can log in on the board")

            def go() -> None:
                process.communicate("go\n")

            yield go

    def _shell(self, limit_s: float) -> list[str | Path]:
        """ssh's command line up to the command."""
        argv: list[str | Path] = ["ssh", "-i", self.keys.ssh, "-p", str(self.ssh_port), "-o", "BatchMode=yes"]
        argv += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        return [*argv, "-o", f"ConnectTimeout={int(limit_s)}", "root@127.0.0.1"]

    def mqtt(self, program: str, *arguments: str) -> list[str]:
        """mosquitto_sub's or mosquitto_pub's command line, with the board's address and password."""
        return [
            program,
            "-h",
            "127.0.0.1",
            "-p",
            str(self.mqtt_port),
            "-u",
            USER,
            "-P",
            self.keys.password,
            *arguments,
        ]

    def end(self) -> None:
        """Let it shut down for a minute, then end it."""
        if self.process.poll() is None:
            self.pull_the_plug()


def _end_with_parent() -> None:
    """An emulator never outlives who started it, not even a SIGKILL."""
    import ctypes  # noqa: PLC0415 - in the child, before it becomes QEMU

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextmanager
def running(card: Path, folder: Path, keys: Keys, *, own_clock: bool = False) -> Iterator[Board]:
    """A board from its power to the pulled plug."""
    board = Board(card, folder, keys, own_clock=own_clock)
    try:
        yield board
    finally:
        board.end()


class Listener:
    """Everything the board's broker carries under `perslm/NODE/`, from the moment it can be reached."""

    def __init__(self, board: Board, node: str) -> None:
        self._board, self._node = board, node
        self.values: dict[str, str] = {}
        """The last payload of each topic."""
        self._heard: queue.Queue[tuple[str, str]] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def connect(self, limit_s: float) -> None:
        """Wait for the broker and listen, anew where it went. Raises SetupError with the console's end else."""
        self.close()
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            self._alive()
            argv = self._board.mqtt("mosquitto_sub", "-q", "1", "-v", "-t", f"perslm/{self._node}/#")
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            try:
                process.wait(timeout=1.0)  # it ends at once where nobody answers
            except subprocess.TimeoutExpired:
                if self._answers():
                    self._process = process
                    self._reader = threading.Thread(target=self._read, args=(process,))
                    self._reader.start()
                    return
            _drop(process)
            time.sleep(1.0)
        raise SetupError(f"no broker within {limit_s:.0f} s. The console ends with:\n{console_end(self._board)}")

    def _answers(self) -> bool:
        argv = self._board.mqtt(
            "mosquitto_pub", "-q", "1", "-t", f"perslm/{self._node}/response/hello", "-m", "hello"
        )
        try:
            return subprocess.run(argv, capture_output=True, check=False, timeout=20.0).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            topic, _, payload = line.rstrip("\n").partition(" ")
            name = topic.removeprefix(f"perslm/{self._node}/")
            self.values[name] = payload
            self._heard.put((name, payload))

    def until(self, topic: str, limit_s: float, **wanted: Any) -> dict[str, Any]:
        """The next message on `topic` whose JSON has all that is `wanted`; plain text counts as its `value`.

        Raises SetupError at the limit.
        """
        deadline = time.monotonic() + limit_s
        while (left := deadline - time.monotonic()) > 0:
            self._alive()
            try:
                heard, payload = self._heard.get(timeout=min(left, 5.0))
            except queue.Empty:
                continue
            found = json.loads(payload) if payload.startswith("{") else {"value": payload}
            if heard == topic and all(found.get(name) == value for name, value in wanted.items()):
                return dict(found)
        raise SetupError(f"nothing like {wanted} on {topic} within {limit_s:.0f} s:\n{console_end(self._board)}")

    def _alive(self) -> None:
        if self._board.process.poll() is not None:
            raise SetupError(f"the emulated board ended. Its console:\n{console_end(self._board)}")

    def send(self, verb: str, transaction: str, **arguments: Any) -> None:
        """Publish a request."""
        payload = json.dumps({"transaction": transaction, **arguments})
        topic = f"perslm/{self._node}/request/{verb}"
        done = subprocess.run(
            self._board.mqtt("mosquitto_pub", "-q", "1", "-t", topic, "-m", payload),
            capture_output=True,
            text=True,
            check=False,
            timeout=120.0,
        )
        if done.returncode != 0:
            raise SetupError(f"the board's broker took no request: {done.stderr.strip()}")

    def close(self) -> None:
        """Stop listening."""
        if self._process is not None and self._reader is not None:
            self._process.kill()
            self._reader.join()
            _drop(self._process)
            self._process = self._reader = None


def _drop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def console_end(board: Board, lines: int = 12) -> str:
    """The last lines of the console, for an error's text."""
    text = board.console.read_text(errors="replace") if board.console.is_file() else ""
    return "\n".join(f"   | {line[:160]}" for line in text.splitlines()[-lines:])


def make_key(folder: Path) -> str:
    """Draw an SSH key pair in `folder`/key and return the public line."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    say(f"   key, console and card lie in {folder}")
    return (folder / "key.pub").read_text(encoding="utf-8").strip()


def grow(card: Path, size: int) -> None:
    """Make a card's file as large as a real card: the first boot has something to grow into."""
    os.truncate(card, size)
