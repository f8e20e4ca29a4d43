"""The Debian package, packed from a small tree. Installed and started it is in flows/test_real_package.py."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from perslm_build import deb
from perslm_build.locks import ROOT
from perslm_build.terminal import SetupError

ARM = deb.PROCESSORS["arm64"]


def tree(folder: Path) -> Path:
    program = folder / "opt/perslm/bin/perslm"
    program.parent.mkdir(parents=True)
    program.write_text("#!/opt/perslm/bin/python\n")
    program.chmod(0o755)
    (program.parent / "python").symlink_to("/usr/bin/python3")
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not on this machine: it is Debian's")
    folder = tmp_path_factory.mktemp("deb")
    return deb.package(tree(folder / "tree"), ARM, folder)


def said(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_package_says_what_it_is_and_what_it_needs(package: Path) -> None:
    assert package.name == f"perslm_{deb.version()}_arm64.deb"
    needs = said("dpkg-deb", "--field", package, "Depends")
    for wanted in ("python3 (>= 3.13)", "python3 (<< 3.14)", "mosquitto", "python3-pyaudio", "python3-systemd"):
        assert wanted in needs
    assert said("dpkg-deb", "--field", package, "Architecture") == "arm64\n"


def test_a_packages_files_are_roots_and_where_packages_have_them(package: Path) -> None:
    files = [line.split(maxsplit=5) for line in said("dpkg-deb", "--contents", package).splitlines()]
    assert {owner for _, owner, *_ in files} == {"root/root"}
    names = {line[-1].partition(" -> ")[0]: line[0] for line in files}
    assert names["./usr/lib/systemd/system/perslm.service"] == "-rw-r--r--"
    assert names["./usr/bin/perslm"] == "-rwxr-xr-x"
    assert not [name for name in names if "/usr/local/" in name], "that is the administrator's"
    assert not [name for name in names if name.startswith("./etc/")], (
        "what is written there is decided on the machine"
    )


def test_the_same_tree_gives_the_same_package(package: Path, tmp_path: Path) -> None:
    again = deb.package(tree(tmp_path / "elsewhere"), ARM, tmp_path)
    assert again.read_bytes() == package.read_bytes()


@pytest.mark.parametrize("script", sorted((ROOT / "build/deb").iterdir()), ids=lambda path: path.name)
def test_a_script_of_the_package_is_one_that_sh_reads(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    done = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nset -e\n" in script.read_text()


def test_an_unknown_processor_is_told_with_those_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCH", "m68k")
    with pytest.raises(SetupError, match="arm64, amd64"):
        deb.build()
