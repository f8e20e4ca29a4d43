"""The sandbox of tools: what leads out of it is refused, and is no dead act, because it succeeds without one."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from perslm_daemon.sandbox_acts import ACTS, RACE
from perslm_daemon.sandbox_check import Aim, Holds, Tried, aims, in_the_sandbox, proven, without_sandbox
from perslm_daemon.tool_workers import Box, Workers
from perslm_daemon.tools import Limits
from perslm_runtime import landlock, seccomp, syscalls
from perslm_runtime.errors import ToolRefused

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock"),
]
TESTS = Path(__file__).parent
# What even root may not do here without a sandbox would prove nothing.
NEEDS_ROOT = {"become_somebody", "make_a_namespace"}
# What some machines refuse everybody: containers, and kernels that were made strict.
HARDENED = {"keep_a_key", "leave_by_io_uring", "make_a_user_namespace"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def workers() -> AsyncIterator[Workers]:
    async with Workers() as open_ones:
        yield open_ones


@pytest.fixture(scope="module")
def aim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aim]:
    with aims(tmp_path_factory.mktemp("aim")) as made:
        yield made


@pytest.fixture(scope="module")
def alone(aim: Aim) -> dict[str, str]:
    """What comes of each act without a sandbox."""
    return without_sandbox(aim)


@pytest.mark.parametrize("act", ACTS)
async def test_what_leads_out_is_refused_in_the_sandbox_and_works_without(
    act: str, aim: Aim, workers: Workers, alone: dict[str, str]
) -> None:
    tried = await in_the_sandbox(workers, aim, act)
    assert tried.holds is Holds.REFUSED, tried.why
    if not alone[act].startswith("through") and (act in HARDENED or (os.geteuid() and act in NEEDS_ROOT)):
        pytest.skip(f"without a sandbox it fails on this machine too: {alone[act]}")
    assert alone[act].startswith("through")


async def test_the_check_sees_a_sandbox_that_leaks(aim: Aim, workers: Workers) -> None:
    outside = (aim.secret.parent,)
    for act in ("read_outside", "list_outside", "follow_link", RACE):
        leaked = await in_the_sandbox(workers, aim, act, readable=outside)
        assert leaked.holds is Holds.THROUGH
    assert (await in_the_sandbox(workers, aim, "write_outside", readable=outside)).holds is Holds.REFUSED


def test_an_act_that_fails_everywhere_proves_nothing() -> None:
    refused = Tried("trace", Holds.REFUSED, "Operation not permitted")
    assert proven(refused, "through: traced") == refused
    assert proven(refused, "refused: Operation not permitted").holds is Holds.UNKNOWN
    assert proven(refused, "").holds is Holds.UNKNOWN
    through = Tried("trace", Holds.THROUGH, "traced")
    assert proven(through, "") == through


async def test_what_tools_do_all_day_goes_on_working(aim: Aim, workers: Workers) -> None:
    told = await workers.run(
        Box("perslm_daemon.sandbox_acts:well_behaved", aim.folder, writes=True), aim.arguments, Limits()
    )
    assert told.text == "hello Europe/Rome"


async def test_a_folder_that_may_only_be_read_is_not_written(aim: Aim, workers: Workers) -> None:
    with pytest.raises(ToolRefused, match="sandbox"):
        await workers.run(Box("perslm_daemon.sandbox_acts:well_behaved", aim.folder), aim.arguments, Limits())


async def test_a_tool_reaches_the_hosts_it_was_given_and_no_other(aim: Aim, workers: Workers) -> None:
    port = aim.arguments["port"]
    right = Box("escapes:fetch", hosts=(f"127.0.0.1:{port}",))
    assert (await workers.run(right, aim.arguments, Limits())).text == "hello"
    for hosts in (("127.0.0.1",), ("example.org", f"localhost:{port}"), ()):
        with pytest.raises(ToolRefused, match="bug in it"):  # urllib says URLError
            await workers.run(Box("escapes:fetch", hosts=hosts), aim.arguments, Limits())


async def test_a_tool_that_computes_without_end_is_ended(workers: Workers) -> None:
    with pytest.raises(ToolRefused, match="too long"):
        await workers.run(Box("escapes:spin"), {}, Limits(seconds=0.5))


async def test_a_tool_that_sleeps_without_end_is_ended(workers: Workers) -> None:
    with pytest.raises(ToolRefused, match="took too long"):
        await workers.run(Box("escapes:sleep"), {}, Limits(seconds=0.5))


async def test_cancelling_a_call_ends_its_child(workers: Workers) -> None:
    with anyio.move_on_after(0.3) as scope:
        await workers.run(Box("escapes:sleep"), {}, Limits(seconds=60))
    assert scope.cancelled_caught
    assert await anyio.to_thread.run_sync(_children_of_server, workers) == []


def _children_of_server(workers: Workers) -> list[str]:
    """The processes whose parent is the one that forks."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just gone
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            found += [stat.parent.name] if fields[1] == str(workers.pid) else []
    return found


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("dies", "without an answer"),
        ("fails", r"bug in it \(KeyError\)"),
        ("floods", "bug in it|without an answer"),
        ("says_nothing_sensible", "no text"),
    ],
)
async def test_a_tool_that_fails_is_told_without_its_words(act: str, said: str, workers: Workers) -> None:
    with pytest.raises(ToolRefused, match=said) as failed:
        await workers.run(Box(f"escapes:{act}"), {}, Limits())
    assert "secret" not in str(failed.value)


async def test_the_next_call_starts_the_process_anew_when_it_was_killed(aim: Aim, workers: Workers) -> None:
    await workers.run(
        Box("perslm_daemon.sandbox_acts:well_behaved", aim.folder, writes=True), aim.arguments, Limits()
    )
    assert workers._process is not None
    workers._process.kill()
    with anyio.fail_after(20):
        while True:
            with suppress(ToolRefused):
                told = await workers.run(
                    Box("perslm_daemon.sandbox_acts:well_behaved", aim.folder, writes=True),
                    aim.arguments,
                    Limits(),
                )
                break
            await anyio.sleep(0.05)
    assert told.text.startswith("hello")


async def test_no_process_is_left_when_the_workers_are(tmp_path: Path) -> None:
    async with Workers() as short:
        with suppress(ToolRefused):
            await short.run(Box("escapes:dies", tmp_path), {}, Limits())
        assert short._process is not None
        pid = short._process.pid
    assert not await anyio.Path(f"/proc/{pid}").exists()


async def test_a_program_prints_and_can_start_no_other(workers: Workers) -> None:
    printing = Box(argv_of=lambda _: ["/usr/bin/printf", "%s", "it works"])
    assert (await workers.run(printing, {}, Limits())).text == "it works"
    forking = Box(argv_of=lambda _: ["/usr/bin/timeout", "5", "/bin/true"])
    told = await workers.run(forking, {}, Limits())
    assert told.data["code"] != 0


async def test_a_program_sees_no_file_but_its_own(aim: Aim, workers: Workers) -> None:
    reading = Box(argv_of=lambda _: ["/usr/bin/cat", aim.arguments["secret"]])
    told = await workers.run(reading, {}, Limits())
    assert told.data["code"] != 0
    assert "secret" not in told.text


_SCRIPT = """
import ctypes, os, struct, sys
from pathlib import Path
from perslm_runtime import sandbox, seccomp
from perslm_runtime.errors import EngineError
how, folder, secret = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
if how == "nobody":
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # no_new_privs, as the service has it
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
if how == "old kernel":  # which answers that it knows no Landlock
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x50000 | 38), (0x06, 0, 0, 0x7FFF0000)]
    seccomp.install(b"".join(struct.pack("=HBBI", c, t, f, k) for c, t, f, k in code))
try:
    sandbox.enter(sandbox.Policy(folder=folder))
except EngineError as error:
    print("not entered:", error)
    raise SystemExit
print((folder / "own").read_text())
try:
    print(open(secret).read())
except PermissionError:
    print("refused")
"""


@pytest.mark.parametrize("how", ["as it is", "nobody", "old kernel"])
def test_it_holds_for_anybody_and_there_is_no_half_of_it(how: str, tmp_path: Path) -> None:
    if how == "nobody" and os.geteuid():
        pytest.skip("only root can become nobody")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/own").write_text("own", encoding="utf-8")
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    temporary = Path(tempfile.gettempdir())
    for folder in (tmp_path, *(one for one in tmp_path.parents if temporary in one.parents)):
        folder.chmod(0o755)
    arguments = [how, str(tmp_path / "folder"), str(tmp_path / "secret")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    if how == "old kernel":
        assert "no Landlock" in done.stdout
        assert "own" not in done.stdout.split("Landlock")[1].split()
    else:
        assert done.stdout.split() == ["own", "refused"]


_UNDER_THE_SERVICE = """
import ctypes, json, struct, sys
from pathlib import Path
import anyio
from perslm_daemon.tool_workers import Box, Workers
from perslm_daemon.tools import Limits
from perslm_runtime import seccomp
numbers, folder = json.loads(sys.argv[1]), sys.argv[2]
if sys.argv[3] == "no privileges":  # CapabilityBoundingSet= and AmbientCapabilities= are empty
    ctypes.CDLL(None).syscall(126, struct.pack("=Ii", 0x20080522, 0), bytes(24))
code = [(0x20, 0, 0, 0)]
for number in numbers:
    code += [(0x15, 0, 1, number), (0x06, 0, 0, 0x7FFF0000)]
code.append((0x06, 0, 0, 0x50000 | 1))
seccomp.install(b"".join(struct.pack("=HBBI", c, t, f, k) for c, t, f, k in code))
async def main():
    async with Workers() as workers:
        box = Box("perslm_daemon.sandbox_acts:well_behaved", Path(folder), writes=True)
        print((await workers.run(box, {"folder": folder}, Limits())).text)
anyio.run(main)
"""


def _calls_that_the_service_allows() -> set[str]:
    """What SystemCallFilter= in the unit comes to, by systemd's own groups."""

    told = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    groups: dict[str, list[str]] = {}
    for line in told.splitlines():
        if line.startswith("@"):
            inside = groups[line.strip()] = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            inside.append(line.strip())

    def expanded(word: str) -> set[str]:
        return set().union(*map(expanded, groups[word])) if word.startswith("@") else {word}

    allowed: set[str] = set()
    unit = (TESTS.parent / "systemd/perslm.service").read_text(encoding="utf-8")
    for line in re.findall(r"^SystemCallFilter=(.+)$", unit, re.MULTILINE):
        calls = set().union(*map(expanded, line.removeprefix("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd's groups of calls")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="reads this machine's header")
def test_it_works_inside_the_filter_of_the_service(tmp_path: Path) -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    known = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text(encoding="utf-8")))
    numbers = [int(known[name]) for name in _calls_that_the_service_allows() if name in known]
    assert len(numbers) > 150
    without = sorted(set(numbers) - {444, 445, 446})
    told = {}
    for name, allowed, has in (
        ("as it is", numbers, "no privileges"),
        ("without Landlock", without, "no privileges"),
        *([("as root", numbers, "all privileges")] if not os.geteuid() else []),
    ):
        command = [sys.executable, "-c", _UNDER_THE_SERVICE, json.dumps(allowed), str(tmp_path), has]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        told[name] = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
    assert told["as it is"] == "hello Europe/Rome"
    assert "no Landlock" in told["without Landlock"]
    assert "privileges were not given up" in told.get("as root", "privileges were not given up")


def test_the_numbers_of_the_system_calls_are_the_kernels() -> None:
    headers = (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h"))
    if not all(header.exists() for header in headers):
        pytest.skip("the kernel's headers are not installed")
    x86, arm = (
        {
            name: int(number)
            for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
        }
        for header in headers
    )
    arm["newfstatat"] = arm["fstatat"]
    for table in (syscalls.ALLOWED, syscalls.CHECKED, syscalls.REFUSED):
        for name, numbers in table.items():
            assert numbers == (x86[name], arm.get(name)), name


def _verdict(filter_: bytes, audit: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What a filter answers, by running it as the kernel does."""
    whole = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number, audit, 0, *whole)
    code = [struct.unpack_from("=HBBI", filter_, at) for at in range(0, len(filter_), 8)]
    at, value = 0, 0
    while True:
        operation, if_true, if_false, k = code[at]
        at += 1
        match operation:
            case 0x20:
                (value,) = struct.unpack_from("=I", data, k)
            case 0x54:
                value &= k
            case 0x15 | 0x35:
                at += if_true if (value == k if operation == 0x15 else value >= k) else if_false
            case 0x06:
                return k


@pytest.mark.parametrize("name", seccomp.MACHINES)
def test_the_filter_of_each_machine_answers_as_the_tables_say(name: str) -> None:
    column, audit = seccomp.MACHINES[name]
    allow, refuse, missing = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
    made = {another: seccomp.program(becomes_another=another, of=(column, audit)) for another in (False, True)}

    def said(call: str, *arguments: int, another: bool = False) -> int:
        number = syscalls.CHECKED[call][column]
        assert number is not None
        return _verdict(made[another], audit, number, arguments)

    for table, answer in ((syscalls.ALLOWED, allow), (syscalls.REFUSED, refuse)):
        for numbers in table.values():
            if (number := numbers[column]) is not None:
                assert _verdict(made[False], audit, number) == answer
    named = {
        numbers[column]
        for table in (syscalls.ALLOWED, syscalls.CHECKED, syscalls.REFUSED)
        for numbers in table.values()
    }
    for number in set(range(700)) - named:
        assert _verdict(made[True], audit, number) == missing, "what is in no table is not there"
    assert _verdict(made[False], audit, 435) == missing, "clone3 hides its flags: libc falls back to clone"
    assert _verdict(made[False], audit, 9999) == missing
    assert _verdict(made[False], audit ^ 1, 0) == 0x80000000, "another machine's calls end the process"
    assert said("clone", 0x3D0F00) == allow, "a thread"
    assert said("clone", signal.SIGCHLD) == refuse, "a process"
    assert said("execve") == refuse
    assert said("execve", another=True) == allow
    assert said("ioctl", 3, 0x5401) == allow
    assert said("ioctl", 3, 0x5412) == refuse, "TIOCSTI types into a terminal"
    assert said("prctl", 15) == allow
    assert said("prctl", 22) == refuse
    assert said("prlimit64", 0, 7, 0) == allow
    assert said("prlimit64", 0, 7, 1 << 40) == refuse
    assert said("prlimit64", 1, 7, 0) == refuse
    assert said("sendto", 3, 0, 0, 0, 0) == allow
    assert said("sendto", 3, 0, 0, 0, 1 << 40) == refuse
    assert said("socketpair", socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) == allow
    assert said("socketpair", socket.AF_UNIX, socket.SOCK_DGRAM) == refuse
    assert said("tgkill", os.getpid()) == allow
    assert said("tgkill", os.getppid()) == refuse


def test_no_system_call_is_both_allowed_and_refused() -> None:
    names = [*syscalls.ALLOWED, *syscalls.CHECKED, *syscalls.REFUSED]
    assert len(set(names)) == len(names)
