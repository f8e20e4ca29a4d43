"""First boot's program on a folder that stands for the board; only the programs that need a disk are recorded."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perslm_build import card as cards
from perslm_build.locks import ROOT
from perslm_daemon import sealed
from perslm_daemon.broker import let_service_listen
from perslm_daemon.broker_file import service_place
from perslm_daemon.broker_users import Users
from test_card import KEY, WHOLE


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"build/image/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


sys.modules["card"] = cards  # lies beside them on the board
reset, signs, firstboot = program("reset"), program("signs"), program("firstboot")


class Programs:
    """Stands for the board's programs: the disk's partition tool, ssh-keygen and so on."""

    def __init__(self) -> None:
        self.started: list[tuple[str, ...]] = []
        self.words: list[str] = []
        self.broken: str | None = None
        self.table = "gpt"
        self.can_encrypt = True

    def __call__(self, *command: str, words: str | None = None) -> str:
        if self.broken is not None and self.broken in command:
            raise firstboot.StepError(f"{command[0]}: broken")
        self.started.append(command)
        self.words += [words] if words is not None else []
        if command[0] == "systemd-creds":
            if "has-tpm2" in command or not self.can_encrypt:
                raise firstboot.StepError("systemd-creds: not here")
            return f"sealed {hashlib.sha256(str(words).encode()).hexdigest()}\n"
        return {"findmnt": "/dev/mmcblk9p2", "lsblk": self.table}.get(command[0], "")


@pytest.fixture
def programs() -> Programs:
    return Programs()


@pytest.fixture
def board(tmp_path: Path, programs: Programs) -> Any:
    for folder in ("boot/firmware", "etc/ssh", "root", "run", "usr/share/zoneinfo/Europe"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/share/zoneinfo/Europe/Berlin").touch()
    disk = tmp_path / "sys/devices/mmcblk9"
    part = disk / "mmcblk9p2"
    part.mkdir(parents=True)
    (tmp_path / "sys/class/block").mkdir(parents=True)
    (tmp_path / "sys/class/block/mmcblk9p2").symlink_to(part)
    for file, text in (("size", "1000000"), ("partition", "2"), ("start", "526336")):
        (part / file).write_text(text)
    (disk / "size").write_text("60000000")
    return firstboot.Board(tmp_path, programs)


def give(board: Any, text: str) -> None:
    (board.boot / cards.NAME).write_bytes(text.encode())


def log(board: Any) -> str:
    return (board.boot / "perslm-log.txt").read_text()


def test_a_card_with_settings_becomes_that_board(board: Any, programs: Programs) -> None:
    give(board, WHOLE)
    assert firstboot.main(board) == 0, log(board)
    etc = board.root / "etc"
    assert (etc / "hostname").read_text() == "kitchen\n"
    assert str((etc / "localtime").readlink()) == "/usr/share/zoneinfo/Europe/Berlin"
    wifi = etc / "NetworkManager/system-connections/perslm-wifi.nmconnection"
    assert "psk=correct horse\n" in wifi.read_text()
    assert "ssid=75;195;164;115;101;32;38;32;66;114;111;116;\n" in wifi.read_text()
    assert "ieee80211_regdom=DE" in (etc / "modprobe.d/perslm-wifi.conf").read_text()
    assert (board.root / "root/.ssh/authorized_keys").read_text() == KEY + "\n"
    assert [path.stat().st_mode & 0o777 for path in (wifi, board.root / "root/.ssh/authorized_keys")] == [
        0o600
    ] * 2
    assert ("sfdisk", "--no-reread", "--force", "-N", "2", "/dev/mmcblk9") in programs.started
    assert ("resize2fs", "/dev/mmcblk9p2") in programs.started
    assert ("ssh-keygen", "-A") in programs.started
    assert programs.words == [", +\n", "battery \\ staple"]
    assert 'words = ["hey_jarvis"]' in (etc / "perslm/perslm.toml").read_text()
    assert "ready to start PersLM" in log(board)


def test_no_secret_is_left_on_the_boot_partition_nor_in_the_log(board: Any) -> None:
    give(board, WHOLE)
    firstboot.main(board)
    left = b"".join(path.read_bytes() for path in board.boot.iterdir())
    assert b"correct horse" not in left
    assert b"staple" not in left
    assert b'password = "*************"' in left


def live_in(board: Any) -> dict[str, Path]:
    """A board somebody has lived with: what has to go, by what it is."""
    root = board.root
    found = {
        "memories": root / "var/lib/perslm/memory.db",
        "backups": root / "var/lib/perslm/backups/monday.db",
        "a model taught by them": root / "var/lib/perslm/models/perslm-home-v3/bundle.json",
        "settings": root / "etc/perslm/perslm.toml",
        "a password": root / "etc/credstore/perslm.mqtt_password",
        "an encrypted one": root / "etc/credstore.encrypted/perslm.mqtt_password.sealed",
        "its key": root / "var/lib/systemd/credential.secret",
        "the broker's users": root / "var/lib/perslm-broker/users",
        "Wi-Fi": root / "etc/NetworkManager/system-connections/perslm-wifi.nmconnection",
        "log-in keys": root / "root/.ssh/authorized_keys",
        "SSH's own keys": root / "etc/ssh/ssh_host_ed25519_key",
    }
    for path in found.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Ingeborg")
    model = root / "var/lib/perslm/models/smollm2/model.gguf"
    model.parent.mkdir(parents=True)
    model.touch()
    return found


def text_below(root: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["factory-reset", "factory-reset.txt"])
def test_a_file_on_the_card_asks_for_a_factory_reset(board: Any, programs: Programs, name: str) -> None:
    give(board, WHOLE)
    assert firstboot.main(board) == 0
    before = (board.root / "etc/hostname").read_text()
    had = live_in(board)
    assert "Ingeborg" in text_below(board.root)
    (board.boot / cards.NAME).write_text("")
    (board.boot / name).touch()
    assert firstboot.main(board) == 0, log(board)
    assert [what for what, path in had.items() if path.exists() and "Ingeborg" in path.read_text()] == []
    assert "Ingeborg" not in text_below(board.root)
    assert (board.root / "var/lib/perslm/models/smollm2/model.gguf").exists()
    assert not (board.boot / name).exists()
    assert (board.root / "etc/hostname").read_text() not in (before, "localhost\n"), "it is another board now"
    assert ("fstrim", "/") in programs.started
    assert "factory reset: done" in log(board)


def test_a_reset_may_keep_the_network(board: Any) -> None:
    had = live_in(board)
    mark = board.root / reset.MARK
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(reset.KEEP_NETWORK)
    firstboot.main(board)
    left = [what for what, path in had.items() if path.exists() and path.read_text() == "Ingeborg"]
    assert left == ["Wi-Fi", "log-in keys"]
    assert not mark.exists()


def test_a_plug_pulled_in_a_reset_only_means_once_more(board: Any, programs: Programs) -> None:
    had = live_in(board)
    (board.boot / "factory-reset").touch()

    class Plug(BaseException):
        pass

    def cut(*command: str, words: str | None = None) -> str:
        if command[0] == "sync":
            raise Plug
        return programs(*command, words=words)

    board.run = cut
    with pytest.raises(Plug):
        firstboot.main(board)
    assert (board.boot / "factory-reset").exists()
    board.run = programs
    assert firstboot.main(board) == 0, log(board)
    assert [what for what, path in had.items() if path.exists() and path.read_text() == "Ingeborg"] == []
    assert not (board.boot / "factory-reset").exists()


@pytest.fixture
def led(board: Any) -> Path:
    folder = board.root / "sys/class/leds/ACT"
    folder.mkdir(parents=True)
    (folder / "trigger").write_text("none timer heartbeat [mmc0] default-on\n")
    (board.root / "etc/avahi/services").mkdir(parents=True)
    return Path(folder)


def test_the_led_beats_while_first_boot_is_at_work_and_is_then_as_it_was(
    board: Any, led: Path, programs: Programs
) -> None:
    shown: list[str] = []
    seen = programs.__class__.__call__

    def watched(self: Programs, *command: str, words: str | None = None) -> str:
        shown.append((led / "trigger").read_text())
        return seen(self, *command, words=words)

    board.run = watched.__get__(programs)
    give(board, WHOLE)
    assert firstboot.main(board) == 0
    assert set(shown) == {"heartbeat"}
    assert (led / "trigger").read_text() == "mmc0"
    assert "<txt-record>stage=ready</txt-record>" in (board.root / "etc/avahi/services/perslm.service").read_text()


def test_the_led_blinks_quickly_when_something_is_missing(board: Any, led: Path, programs: Programs) -> None:
    give(board, WHOLE.replace('country = "DE"', ""))
    assert firstboot.main(board) == 1
    assert (led / "trigger").read_text() == "timer"
    assert ((led / "delay_on").read_text(), (led / "delay_off").read_text()) == ("100", "100")
    assert ("modprobe", "ledtrig-timer") in programs.started
    assert "see perslm-log.txt" in (board.root / "etc/avahi/services/perslm.service").read_text()


def test_an_led_that_cannot_be_set_stops_nothing(board: Any, led: Path) -> None:
    (led / "trigger").unlink()
    (led / "trigger").mkdir()
    give(board, WHOLE)
    assert firstboot.main(board) == 0


@pytest.mark.parametrize(("table", "moved"), [("gpt", True), ("dos", False)])
def test_the_second_table_is_moved_to_the_cards_end_where_there_is_one(
    board: Any, programs: Programs, table: str, moved: bool
) -> None:
    programs.table = table
    firstboot.main(board)
    assert (("sfdisk", "--no-reread", "--relocate", "gpt-bak-std", "/dev/mmcblk9") in programs.started) is moved
    assert ("sfdisk", "--no-reread", "--force", "-N", "2", "/dev/mmcblk9") in programs.started


def test_a_second_boot_does_nothing(board: Any, programs: Programs) -> None:
    give(board, WHOLE)
    firstboot.main(board)
    before = log(board)
    programs.started.clear()
    assert firstboot.main(board) == 0
    assert programs.started == []
    assert log(board) == before


def test_a_board_without_settings_draws_a_name_and_lets_nobody_in(board: Any) -> None:
    assert firstboot.main(board) == 0
    assert (board.root / "etc/hostname").read_text().startswith("perslm-")
    assert not (board.root / "root/.ssh/authorized_keys").exists()
    assert '[mqtt]\nbroker = "own"' in (board.root / "etc/perslm/perslm.toml").read_text()


def test_a_wrong_wifi_password_is_corrected_on_a_pc(board: Any) -> None:
    give(board, WHOLE)
    firstboot.main(board)
    text = (board.boot / cards.NAME).read_text()
    stars = "*" * len("correct horse")
    (board.boot / cards.NAME).write_text(text.replace(f'"{stars}"', '"wrong horse"'))
    assert firstboot.main(board) == 0
    wifi = board.root / "etc/NetworkManager/system-connections/perslm-wifi.nmconnection"
    assert "psk=wrong horse\n" in wifi.read_text()
    assert "wrong horse" not in (board.boot / cards.NAME).read_text()


def test_stars_keep_the_password_that_is_known_and_are_never_one_themselves(board: Any) -> None:
    give(board, WHOLE)
    firstboot.main(board)
    changed = (board.boot / cards.NAME).read_text().replace("Käse & Brot", "Nachbar")
    give(board, changed)
    assert firstboot.main(board) == 0
    wifi = board.root / "etc/NetworkManager/system-connections/perslm-wifi.nmconnection"
    assert "psk=correct horse\n" in wifi.read_text()
    wifi.unlink()
    give(board, changed + "\n")
    assert firstboot.main(board) == 1
    assert "only stars, and no password is known" in log(board)


def test_a_mistake_is_told_on_the_card_and_takes_nothing_from_it(board: Any) -> None:
    give(board, WHOLE.replace('country = "DE"', 'country = "Germany"'))
    assert firstboot.main(board) == 1
    assert "`wifi.country` is needed" in log(board)
    assert "correct horse" not in log(board)
    assert "correct horse" in (board.boot / cards.NAME).read_text(), (
        "it is still needed when the mistake is put right"
    )


@pytest.mark.parametrize("broken", ["hostname", "listen", "user", "config"])
def test_what_failed_is_done_at_the_next_boot_and_no_password_is_lost(
    board: Any, programs: Programs, broken: str
) -> None:
    give(board, WHOLE)
    programs.broken = broken
    assert firstboot.main(board) == 1
    assert "FAILED" in log(board)
    assert "staple" in (board.boot / cards.NAME).read_text()
    programs.broken = None
    assert firstboot.main(board) == 0
    assert "staple" not in (board.boot / cards.NAME).read_text()
    assert "battery \\ staple" in programs.words


def test_a_card_that_cannot_be_grown_is_somebodys_board_all_the_same(board: Any, programs: Programs) -> None:
    give(board, WHOLE)
    programs.broken = "sfdisk"
    assert firstboot.main(board) == 1
    assert (board.root / "etc/hostname").read_text() == "kitchen\n"
    programs.broken = None
    assert firstboot.main(board) == 0
    assert ("resize2fs", "/dev/mmcblk9p2") in programs.started


class PowerCut(BaseException):
    """The plug, pulled."""


def test_the_plug_may_be_pulled_at_any_write(board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    give(board, WHOLE)
    writes = 0
    real_write = os.fsync

    def cut_at(limit: int) -> None:
        nonlocal writes
        writes = 0

        def sync(number: int) -> None:
            nonlocal writes
            writes += 1
            if writes == limit:
                raise PowerCut
            real_write(number)

        monkeypatch.setattr(firstboot.os, "fsync", sync)

    for limit in range(1, 60):
        cut_at(limit)
        try:
            assert firstboot.main(board) == 0, f"cut {limit}: {log(board)}"
        except PowerCut:
            cards.read((board.boot / cards.NAME).read_bytes())  # readable at every moment
            continue
        break
    assert limit > 5
    wifi = board.root / "etc/NetworkManager/system-connections/perslm-wifi.nmconnection"
    assert "psk=correct horse\n" in wifi.read_text()
    assert "correct horse" not in (board.boot / cards.NAME).read_text()
    assert json.loads(board.state.read_text())["once"]


def test_another_ones_broker_gets_its_password_through_systemds_store(board: Any) -> None:
    give(board, '[mqtt]\nbroker = "mqtt://192.168.1.2"\nuser = "kitchen"\npassword = "battery"\n')
    assert firstboot.main(board) == 0, log(board)
    assert 'broker = "mqtt://kitchen@192.168.1.2"' in (board.root / "etc/perslm/perslm.toml").read_text()
    sealed = board.root / "etc/credstore.encrypted/perslm.mqtt_password.sealed"
    assert sealed.read_text().startswith("sealed ")
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert list((board.root / "etc/credstore").iterdir()) == []
    assert "credentials: 1 encrypted, with a key on this card: no TPM here" in log(board)
    assert "battery" not in text_below(board.root)


def test_where_systemd_cannot_encrypt_the_secret_stays_roots_and_the_log_says_so(
    board: Any, programs: Programs
) -> None:
    programs.can_encrypt = False
    give(board, '[mqtt]\nbroker = "mqtt://192.168.1.2"\nuser = "kitchen"\npassword = "battery"\n')
    assert firstboot.main(board) == 0, log(board)
    secret = board.root / "etc/credstore/perslm.mqtt_password"
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("battery", 0o600)
    assert "credentials: NOT encrypted, for root's eyes only" in log(board)


def test_a_secret_that_was_put_there_since_is_encrypted_at_the_next_start(board: Any) -> None:
    give(board, WHOLE)
    assert firstboot.main(board) == 0
    plain = board.root / "etc/credstore/perslm.memory_key"
    plain.parent.mkdir(exist_ok=True)
    plain.write_text("ab" * 32)
    assert firstboot.main(board) == 0
    assert not plain.exists()
    assert (board.root / "etc/credstore.encrypted/perslm.memory_key.sealed").is_file()


@pytest.fixture
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's real encryption, with a host key that is the test's own."""
    if shutil.which("systemd-creds") is None or os.geteuid() != 0:
        pytest.skip("systemd's encryption needs systemd-creds and root")
    monkeypatch.setenv("SYSTEMD_CREDENTIAL_SECRET", str(tmp_path / "credential.secret"))


@pytest.mark.usefixtures("own_key")
def test_what_first_boot_encrypts_is_what_root_reads_again_and_nobody_with_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "etc/credstore/perslm.mqtt_password"
    plain.parent.mkdir(parents=True)
    plain.write_text("battery \\ staple")
    assert sealed.kept(plain) == "battery \\ staple"
    assert "encrypted, with" in firstboot.seal(firstboot.Board(tmp_path))
    assert not plain.exists()
    assert b"staple" not in sealed.sealed_path(plain).read_bytes()
    assert sealed.kept(plain) == "battery \\ staple"
    plain.write_text("newer")
    assert sealed.kept(plain) == "newer"
    plain.unlink()
    monkeypatch.setenv("SYSTEMD_CREDENTIAL_SECRET", str(tmp_path / "another.secret"))
    assert sealed.kept(plain) is None


@pytest.mark.usefixtures("own_key")
def test_the_brokers_password_is_the_same_after_it_was_encrypted(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("perslm-broker:x:0:0::/:/bin/false\n")
    place = service_place(tmp_path)
    users = Users(place.folder, "perslm", "home", place.owner)
    let_service_listen(place, users, "0.0.0.0", 1883)  # noqa: S104 - a text
    assert place.credential is not None
    before = place.credential.read_text()
    firstboot.seal(firstboot.Board(tmp_path))
    let_service_listen(place, users, "0.0.0.0", 1884)  # noqa: S104 - a text
    assert not place.credential.exists()
    assert sealed.kept(place.credential) == before


def test_a_boot_partition_that_is_missing_stops_nothing(board: Any) -> None:
    board.boot.rmdir()
    assert firstboot.main(board) == 0


def test_the_real_programs_failure_is_a_step_error_with_its_last_words() -> None:
    with pytest.raises(firstboot.StepError, match="no-such-file"):
        firstboot.Board().run("ls", "/no-such-file")
    assert firstboot.Board().run("cat", words="said") == "said"


def test_a_prepared_account_with_a_training_host_is_taken_over_and_taken_off_the_card(
    board: Any, programs: Programs
) -> None:
    (board.boot / "perslm.toml").write_bytes(b"")
    assert firstboot.main(board) == 0
    seed = board.boot / "perslm-host.json"
    seed.write_text('{"name": "hall", "key": "secret"}')
    programs.broken = "--seed"
    assert firstboot.main(board) == 1
    assert seed.is_file(), "it is tried again"
    programs.broken = None
    assert firstboot.main(board) == 0
    assert not seed.exists()
    (command,) = [one for one in programs.started if "--seed" in one]
    assert command[:4] == ("runuser", "-u", "perslm", "--")
    assert programs.words[-1] == '{"name": "hall", "key": "secret"}'
    assert "secret" not in (board.boot / "perslm-log.txt").read_text()
