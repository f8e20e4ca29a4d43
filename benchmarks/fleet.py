"""What 200 boards that look for models cost their host: `python benchmarks/fleet.py` on an idle machine.

A real host (`perslm-host serve` in a process of its own) and two mirrors of its repository served by Python's
http.server, each in a process of its own. 200 boards with certificates of their own look as a daemon does: the
signed metadata of host and mirrors by TUF, the channel, the manifest, then a report. They look all at once, then
one after the other within half a minute; an eighth of them reports a failure of a staged version, which has to
stop by itself. What crosses the wire is counted by relays in front of the host (with its TLS) and of a mirror
(plain HTTP), and what of the host's is HTTP by the boards themselves. Looks are counted twice: with a TLS session
to go on with, as a board that looks every minute has, and without one, as after hours or a restart.
"""

from __future__ import annotations

import json
import os
import random
import ssl
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("runtime", "daemon", "training_host", "tests")]

from perslm_daemon.broker import free_port  # noqa: E402 - after the path is set
from perslm_runtime.bundle import channel_path, read_channel  # noqa: E402 - as above
from perslm_runtime.bundles import look_up  # noqa: E402 - as above
from perslm_runtime.certificates import Identity, for_board, keep, self_signed, write_secret  # noqa: E402 - as above
from perslm_runtime.connections import Connections  # noqa: E402 - as above
from perslm_runtime.host_account import HostAccount  # noqa: E402 - as above
from perslm_runtime.trust import Trust  # noqa: E402 - as above
from perslm_training_host.boards import Boards  # noqa: E402 - as above
from perslm_training_host.repository import Repository  # noqa: E402 - as above
from perslm_training_host.signing_keys import SigningKeys  # noqa: E402 - as above
from relays import Crossed, relayed  # noqa: E402 - as above
from updates import bundle  # noqa: E402 - as above

RESULT = ROOT / "benchmarks/results/fleet.json"
BOARDS = 200
_SPREAD_S = 30.0
_AT_ONCE = 16  # threads that play boards
_HOST = "from perslm_training_host.cli import main; main()"


def main() -> None:
    """Measure, print and keep the result."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        told = measured(Path(name), stack)
    print(json.dumps(told, indent=1))
    RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def measured(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Everything, once."""
    repository = Repository.create(folder / "repository", SigningKeys([folder / "repository-keys"]))
    for version in (1, 2):
        repository.publish(bundle(folder, version, b"GGUF%d" % version))
    repository.promote("home", 1, "stable")
    repository.promote("home", 2, "stable", percent=50)
    host_port, mirror_ports = free_port(), [free_port(), free_port()]
    host, mirrors = played(folder, host_port, mirror_ports, stack)
    seen_host = stack.enter_context(relayed(host_port))
    seen_mirror = stack.enter_context(relayed(mirror_ports[0]))
    urls = [f"http://127.0.0.1:{port}" for port in (seen_mirror.port, mirror_ports[1])]
    boards = [Board(folder, number, f"https://127.0.0.1:{seen_host.port}", urls) for number in range(BOARDS)]
    idle_s = cpu_s(host)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        began, before = time.monotonic(), cpu_s(host)
        list(pool.map(Board.look, boards))  # the first time: all metadata, and both manifests
        first = {"wall_s": round(time.monotonic() - began, 1), "host_cpu_s": round(cpu_s(host) - before, 2)}
        began, before = time.monotonic(), cpu_s(host)
        list(pool.map(Board.look, boards))
        again = {"wall_s": round(time.monotonic() - began, 1), "host_cpu_s": round(cpu_s(host) - before, 2)}
        kept = spread(boards, pool, host, seen_host, seen_mirror)
        for board in boards:
            board.forget()
        whole = spread(boards, pool, host, seen_host, seen_mirror)
    for board in random.Random(1).sample(boards, BOARDS // 8):  # noqa: S311 - draws boards, no secrets
        board.fail("home-v2")
    percent = Repository(folder / "repository", SigningKeys([])).channel("stable").offers[0].percent
    errors = [board.error for board in boards if board.error]
    mirrors_s = sum(map(cpu_s, mirrors))
    look_s, whole_s = kept["host_cpu_s"] / BOARDS, whole["host_cpu_s"] / BOARDS
    return {
        "what": f"{BOARDS} boards, a host and two mirrors on one machine; CPU seconds are the host's",
        "first_look_of_all_at_once": first,
        "next_look_of_all_at_once": again,
        "one_after_the_other": {"session_resumed": kept, "session_new": whole},
        "host_cpu_ms_per_look": {
            "session_resumed": round(look_s * 1000, 1),
            "session_new": round(whole_s * 1000, 1),
        },
        "share_of_a_core": {
            "looks every minute": round(look_s * BOARDS / 60, 4),
            "looks every hour": round(whole_s * BOARDS / 3600, 6),
            "looks every day (as shipped)": round(whole_s * BOARDS / 86400, 7),
            "goal": 0.05,
        },
        "idle_look_bytes": {
            "a_mirror_http": round(kept["mirror_bytes"] / BOARDS),
            "the_host_http_with_the_report": round(kept["host_http_bytes"] / BOARDS),
            "the_host_with_tls_session_resumed": round(kept["host_bytes"] / BOARDS),
            "the_host_with_tls_session_new": round(whole["host_bytes"] / BOARDS),
            "goal": "5000 of HTTP",
        },
        "host_start_cpu_s": round(idle_s, 2),
        "mirrors_cpu_s": round(mirrors_s, 2),
        "errors": errors[:3],
        "staged_version_after_an_eighth_failed": {"percent": percent, "expected": 0},
    }


def spread(
    boards: list[Board],
    pool: ThreadPoolExecutor,
    host: subprocess.Popen[str],
    at_host: Crossed,
    at_mirror: Crossed,
) -> dict[str, float]:
    """All boards look, one after the other: seconds, the host's CPU seconds, and bytes."""
    host_bytes, mirror_bytes, http_bytes, before = at_host.bytes, at_mirror.bytes, _Counted.seen, cpu_s(host)
    began, looks = time.monotonic(), []
    for number, board in enumerate(boards):
        time.sleep(max(0.0, began + number * _SPREAD_S / BOARDS - time.monotonic()))
        looks.append(pool.submit(board.look))
    for one in looks:
        one.result()
    return {
        "wall_s": round(time.monotonic() - began, 1),
        "host_cpu_s": round(cpu_s(host) - before, 2),
        "host_bytes": at_host.bytes - host_bytes,
        "host_http_bytes": _Counted.seen - http_bytes,
        "mirror_bytes": at_mirror.bytes - mirror_bytes,
    }


class _Counted(ssl.SSLSocket):
    """What a board says and hears inside of TLS is counted, for all boards together."""

    seen = 0

    def send(self, data: Any, flags: int = 0) -> int:
        """As the standard library's."""
        sent = super().send(data, flags)
        _Counted.seen += sent
        return sent

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """As the standard library's."""
        came = super().recv_into(buffer, nbytes, flags)
        _Counted.seen += came
        return came


class Board:
    """A board with a certificate of its own, as `perslm sync enroll` leaves it, that looks and reports."""

    def __init__(self, folder: Path, number: int, url: str, mirrors: list[str]) -> None:
        self.name = f"board-{number:03}"
        self.error = ""
        own = folder / self.name
        boards = Boards(folder / "repository-boards")
        key = self_signed(self.name)
        certificate = for_board(boards.authority(), key.certificate, self.name)
        boards._change(lambda known: known.__setitem__(self.name, boards._new(self.name, certificate)))
        keep(own / "host", "board", Identity(key.key, certificate))
        write_secret(own / "host/authority.pem", boards.authority().certificate)
        write_secret(own / "host/root.json", (folder / "repository/metadata/1.root.json").read_bytes())
        write_secret(own / "host/url", url.encode())
        account = HostAccount.of(own / "host")
        assert account is not None
        self._account, self._folder, self._mirrors = account, own, mirrors
        self.forget()

    def look(self) -> None:
        """As a daemon looks: metadata of all mirrors, the channel, what is new, and the report."""
        try:
            urls, ways = [self._account.url, *self._mirrors], self._ways
            trust = Trust(self._folder / "trust", self._account.anchor, urls, now=time.time, connections=ways)
            trust.refresh()
            channel = read_channel(trust.read(channel_path("stable")))
            for one, version in channel.for_board(self.name):
                look_up(trust, one, version)
            self._account.report(self._report("in_use"), ways)
            ways.rest()
        except Exception as error:  # noqa: BLE001 - counted, and told in the result
            self.error = f"{type(error).__name__}: {error}"

    def forget(self) -> None:
        """As after a restart, or hours later: the next handshake with the host is a whole one."""
        tls = self._account.context()
        tls.load_default_certs()
        tls.sslsocket_class = _Counted
        self._ways = Connections(tls, 20.0)

    def fail(self, name: str) -> None:
        """Tell the host that a version could not be used."""
        self._account.report({**self._report("refused"), "refused": {name: "it answers nonsense"}})

    def _report(self, step: str) -> dict[str, Any]:
        health = {"ok": True, "uptime_s": 86400, "rss_mb": 310.5, "load": 0.2, "temperature_c": 51.2}
        told = {"version": "0.1.0", "profile": "pi5", "in_use": {"llm": "home-v1"}, "health": health}
        return {**told, "outcomes": {"home-v1": "kept", "home-v2": step}, "latency_ms": 812}


def played(
    folder: Path, host_port: int, mirror_ports: list[int], stack: ExitStack
) -> tuple[subprocess.Popen[str], list[subprocess.Popen[str]]]:
    """The host and its mirrors, running."""
    words = ["serve", "--port", str(host_port), "--no-announce", "--fleet-port", "-1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path[:4], os.environ.get("PYTHONPATH", "")])}
    host = subprocess.Popen(
        [sys.executable, "-c", _HOST, "--json", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.callback(ended, host)
    assert host.stdout is not None
    host.stdout.readline()
    mirrors = []
    for port in mirror_ports:
        argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", "repository"]
        quiet = subprocess.DEVNULL
        mirrors.append(subprocess.Popen(argv, cwd=folder, stdout=quiet, stderr=quiet, text=True))
        stack.callback(ended, mirrors[-1])
    time.sleep(1.0)
    return host, mirrors


def ended(process: subprocess.Popen[str]) -> None:
    """End a process that was started here."""
    process.terminate()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def cpu_s(process: subprocess.Popen[str]) -> float:
    """CPU seconds of a running process."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
