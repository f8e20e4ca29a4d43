from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import anyio
import pytest

from perslm_build import install
from perslm_build.environment import RUN
from perslm_build.terminal import SetupError
from perslm_daemon.config import Flags, load
from perslm_daemon.config_sections import PROFILES
from perslm_daemon.limits import dropin
from perslm_daemon.sound_card import devices_now
from pulse import pulse_server

SYSTEMD = Path(__file__).parents[1] / "systemd"
UNITS = ("perslm.service", "perslm-broker.service")
MOST_EXPOSED = 20  # tenths: systemd-analyze's --threshold


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on this machine")
    return found


def systemd_version() -> int:
    said = subprocess.run([tool("systemctl"), "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[1])


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A root folder with systemd's own targets, our units, and files where their programs would be."""
    theirs = Path("/lib/systemd/system")
    if not (theirs / "sysinit.target").is_file():
        pytest.skip("systemd's own units are not on this machine")
    beside = tmp_path / "usr/lib/systemd/system"
    beside.mkdir(parents=True)
    for path in [*theirs.glob("*.target"), *theirs.glob("*.slice")]:
        shutil.copy(path, beside, follow_symlinks=False)
    ours = tmp_path / "usr/local/lib/systemd/system"
    ours.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(SYSTEMD / unit, ours)
    for name in ("opt/perslm/bin/perslm", "usr/sbin/mosquitto", "bin/kill"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", tmp_path / name)
    return tmp_path


def verify(board: Path) -> str:
    """What systemd-analyze complains of; "" when nothing."""
    found = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", f"--root={board}", *UNITS],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout + found.stderr + (f"rc={found.returncode}" if found.returncode else "")


def test_systemd_finds_nothing_wrong_with_the_units(board: Path) -> None:
    assert verify(board) == ""


def test_a_mistake_in_a_unit_would_be_found(board: Path) -> None:
    with (board / "usr/local/lib/systemd/system/perslm.service").open("a") as unit:
        unit.write("\n[Service]\nWatchdogSecs=30\n")
    assert "WatchdogSecs" in verify(board)


def test_the_backoff_is_known_to_the_systemd_that_gets_it(board: Path) -> None:
    dropins = board / "usr/local/lib/systemd/system/perslm.service.d"
    dropins.mkdir()
    shutil.copy(SYSTEMD / "perslm-backoff.conf", dropins)
    complaints = verify(board)
    if systemd_version() >= 254:
        assert complaints == ""
    else:
        assert set(re.findall(r"Unknown key '(\w+)'", complaints)) == {"RestartSteps", "RestartMaxDelaySec"}


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_exposed_by_two_at_most(unit: str) -> None:
    found = subprocess.run(
        [
            tool("systemd-analyze"),
            "security",
            "--offline=true",
            f"--threshold={MOST_EXPOSED}",
            "--no-pager",
            str(SYSTEMD / unit),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    (level,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", found.stdout)
    assert float(level) <= MOST_EXPOSED / 10


def service_of(unit: str) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for line in (SYSTEMD / unit).read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            said.setdefault(name, []).append(value)
    return said


def test_sound_and_network_stay_open_in_the_hardened_unit() -> None:
    said = service_of("perslm.service")
    assert said["DeviceAllow"] == ["char-alsa rw"]
    assert said["SupplementaryGroups"] == ["audio"]
    assert said["RestrictAddressFamilies"] == ["AF_INET AF_INET6 AF_UNIX AF_NETLINK"]
    for closing in ("PrivateDevices", "PrivateNetwork", "IPAddressDeny", "ProcSubset", "MemoryDenyWriteExecute"):
        assert closing not in said, f"{closing}: see docs/systemd.md"


def test_the_units_keys_stand_once_where_systemd_takes_one() -> None:
    for unit in UNITS:
        lists = {"Environment", "LoadCredential", "LoadCredentialEncrypted", "SystemCallFilter"}
        assert {name for name, values in service_of(unit).items() if len(values) > 1} <= lists


def test_the_users_of_the_units_are_made_and_own_their_folders(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives folders away")
    (tmp_path / "etc").mkdir()
    subprocess.run(
        [tool("systemd-sysusers"), f"--root={tmp_path}", SYSTEMD / "perslm.sysusers"],
        capture_output=True,
        check=True,
    )
    users = {line.split(":")[0]: line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    assert {service_of(unit)["User"][0] for unit in UNITS} == set(users)
    assert all(fields[-1] == "/usr/sbin/nologin" for fields in users.values())
    assert "audio:x:" in (tmp_path / "etc/group").read_text()
    made = subprocess.run(
        [tool("systemd-tmpfiles"), f"--root={tmp_path}", "--create", SYSTEMD / "perslm.tmpfiles"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "etc/credstore").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var/lib/perslm").stat().st_mode & 0o777 == 0o700
    assert users["perslm"][2] == "417"
    assert (tmp_path / "var/lib/systemd/linger/perslm").is_file()
    alsa = (tmp_path / "var/lib/perslm/.asoundrc").read_text()
    assert alsa.splitlines()[0].startswith("pcm.!default { type pulse fallback")
    pipewire = tmp_path / "var/lib/perslm/.config/pipewire/pipewire.conf.d/perslm.conf"
    assert pipewire.read_text().splitlines()[0] == "context.properties = { clock.power-of-two-quantum = false }"
    assert "\\" not in pipewire.read_text()
    assert str(pipewire.stat().st_uid) == users["perslm"][2], "it is read by that user's own server"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_board_gets_the_memory_of_its_profile_and_the_system_keeps_some(profile: str) -> None:
    board = load(Flags(profile=profile), environ={}).board
    said = dict(line.split("=") for line in dropin(board, profile).splitlines() if "=" in line)
    assert int(said["MemoryHigh"]) == board.budget_mb * 1_000_000
    assert int(said["MemoryHigh"]) <= int(said["MemoryMax"]) <= (board.total_mb - 100) * 1_000_000
    assert int(said["CPUWeight"]) == board.cpu_weight


def laid_down(board: Path, uid: int) -> Path:
    """The board with our units and drop-ins in place of those the fixture copied."""
    for unit in UNITS:
        (board / install.UNITS / unit).unlink()
    install.lay_down(board, dropin(load(Flags(profile="pi5"), environ={}).board, "pi5"), 252, uid)
    return board / install.DROPINS / "30-sound.conf"


def test_the_service_sees_the_sound_server_of_its_user_and_nothing_else_of_the_users_folder(board: Path) -> None:
    sound = laid_down(board, 417).read_text()
    assert "@UID@" not in sound
    assert "XDG_RUNTIME_DIR=/run/user/417\n" in sound
    assert "PULSE_RUNTIME_PATH=/run/user/417/pulse\n" in sound  # libpulse refuses the one above: root's in there
    assert re.findall(r"^BindPaths=(.*)$", sound, re.MULTILINE) == ["-/run/user/417/pulse"]
    assert re.findall(r"user@(\d+)\.service", sound) == ["417", "417"]
    for beside in ("bus", "systemd"):
        assert f"/run/user/417/{beside}" not in sound
    assert verify(board) == ""


def test_the_service_with_its_sound_is_exposed_by_two_at_most(board: Path) -> None:
    laid_down(board, 417)
    found = subprocess.run(
        [tool("systemd-analyze"), "security", "--offline=true", f"--root={board}", "--no-pager", UNITS[0]],
        capture_output=True,
        text=True,
        check=False,
    )
    (level,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", found.stdout)
    assert float(level) <= MOST_EXPOSED / 10
    assert re.search(r"ProtectHome=\s", found.stdout)


def test_alsas_default_device_is_the_sound_server_and_else_a_card() -> None:
    line = next(line for line in (SYSTEMD / "perslm.tmpfiles").read_text().splitlines() if ".asoundrc" in line)
    alsa = line.split(maxsplit=6)[6].replace("\\n", "\n")

    async def names() -> list[str]:
        return [device.name for device in await devices_now() if device.inputs and device.outputs]

    with pulse_server() as pulse:
        (pulse.folder / "asound.conf").write_text(f"</usr/share/alsa/alsa.conf>\n{alsa}")
        assert "default" in anyio.run(names)
        pulse.stop()
        if not Path("/proc/asound/cards").exists():
            assert "default" not in anyio.run(names), "no server, no card, and no error either"


@pytest.mark.parametrize(("version", "backoff"), [(252, False), (253, False), (254, True), (257, True)])
def test_what_is_laid_down_is_verified_and_taken_away_again(board: Path, version: int, backoff: bool) -> None:
    limits = dropin(load(Flags(profile="pi5"), environ={}).board, "pi5")
    for unit in UNITS:
        (board / install.UNITS / unit).unlink()
    written = install.lay_down(board, limits, version)
    assert install.lay_down(board, limits, version) == written
    assert any(path.name == "20-backoff.conf" for path in written) is backoff
    if not backoff or systemd_version() >= 254:
        assert verify(board) == ""
    mine = board / install.DROPINS / "override.conf"
    mine.write_text("[Service]\n")
    assert sorted(install.take_away(board)) == sorted(written)
    assert mine.exists()
    mine.unlink()
    assert install.take_away(board) == []
    assert not [path for path in board.rglob("*perslm*") if path.is_file() and path.parent.name != "bin"]


def test_make_install_with_destdir_lays_down_files_and_uninstall_removes_them(tmp_path: Path) -> None:
    if not RUN.python.exists():
        pytest.skip("this environment was not made by `make`")
    env = {**os.environ, "DESTDIR": str(tmp_path), "PROFILE": "zero2w"}
    root = SYSTEMD.parent
    made = subprocess.run(["make", "install"], cwd=root, env=env, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert "CPUWeight=50\n" in (tmp_path / install.DROPINS / "10-board.conf").read_text()
    gone = subprocess.run(["make", "uninstall"], cwd=root, env=env, capture_output=True, text=True, check=False)
    assert gone.returncode == 0, gone.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_install_without_rights_says_what_to_type() -> None:
    if os.geteuid() != 0:
        with pytest.raises(SetupError, match="sudo make install"):
            install.install()
    else:
        found = subprocess.run(
            ["make", "install"],
            cwd=SYSTEMD.parent,
            env={"PATH": os.environ["PATH"], "DESTDIR": ""},
            user=65534,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode != 0
        assert "sudo make install" in found.stderr or "ermission denied" in found.stderr


def test_every_key_of_the_units_is_explained() -> None:
    page = (SYSTEMD.parent / "docs/systemd.md").read_text()
    for unit in (*UNITS, "perslm-sound.conf"):
        for key in service_of(unit):
            assert key in page, f"{key} of {unit}"
