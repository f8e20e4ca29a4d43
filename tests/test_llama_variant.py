from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perslm_runtime.errors import EngineError
from perslm_runtime.llama_variant import best_variant, features, use_best_variant

A72 = "processor\t: 0\nFeatures\t: fp asimd evtstrm cpuid\n\nprocessor\t: 1\nFeatures\t: fp asimd cpuid\n"
A76 = "processor\t: 0\nFeatures\t: fp asimd fphp asimdhp asimddp lrcpc\n"
PLACE = "LLAMA_CPP_LIB_PATH"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "llama_cpp"
    (folder / "lib").mkdir(parents=True)
    for name, needs in (("lib-dotprod", "asimddp asimdhp fphp\n"), ("lib-fp16", "fphp\n"), ("lib-unknown", "")):
        (folder / name).mkdir()
        (folder / name / "needs.txt").write_text(needs)
    return folder


def cpuinfo(folder: Path, text: str) -> Path:
    file = folder / "cpuinfo"
    file.write_text(text)
    return file


def test_only_what_every_core_has_counts(tmp_path: Path) -> None:
    assert features(cpuinfo(tmp_path, A72)) == {"fp", "asimd", "cpuid"}
    assert features(tmp_path / "missing") == frozenset()


def test_a_pi_4_takes_the_plain_library_and_a_pi_5_the_one_with_dot_products(package: Path) -> None:
    assert best_variant(package, features(cpuinfo(package, A72))) is None
    assert best_variant(package, features(cpuinfo(package, A76))) == package / "lib-dotprod"


def test_the_choice_is_made_through_the_environment_before_the_import(package: Path) -> None:
    environ: dict[str, str] = {}
    use_best_variant(environ, package, cpuinfo(package, A72))
    assert environ == {}
    use_best_variant(environ, package, cpuinfo(package, A76))
    assert environ == {PLACE: str(package / "lib-dotprod")}


def test_a_library_for_another_processor_is_refused_and_names_what_is_lacking(package: Path) -> None:
    environ = {PLACE: str(package / "lib-dotprod")}
    with pytest.raises(EngineError, match=r"asimddp, asimdhp, fphp.*unset LLAMA_CPP_LIB_PATH"):
        use_best_variant(environ, package, cpuinfo(package, A72))
    use_best_variant(environ, package, cpuinfo(package, A76))
    assert environ == {PLACE: str(package / "lib-dotprod")}


def test_the_door_refuses_before_the_library_is_loaded(package: Path) -> None:
    (package / "lib-dotprod" / "needs.txt").write_text("a-feature-that-no-processor-has\n")
    env = {**os.environ, PLACE: str(package / "lib-dotprod")}
    program = "import perslm_runtime.llama_library"
    found = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "needs a-feature-that-no-processor-has, which this processor lacks" in found.stderr
