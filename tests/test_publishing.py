"""`perslm-host`: a repository from its first key to a version that is taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perslm_training_host.cli import run
from updates import bundle


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERSLM_HOST_PASSPHRASE", raising=False)
    monkeypatch.delenv("PERSLM_HOST_REPOSITORY", raising=False)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert run(["--json", *words]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_a_bundle_is_published_offered_and_taken_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = told(capsys, "keys", "init")
    assert Path(str(made["root_file"])).is_file()
    assert oct((tmp_path / "repository-keys/root-1.pem").stat().st_mode)[-3:] == "600"
    assert told(capsys, "publish", str(bundle(tmp_path)))["without"] == ["evaluation report", "data card"]
    told(capsys, "promote", "home", "1", "--channel", "beta", "--percent", "10")
    (one,) = told(capsys, "status")["bundles"]  # type: ignore[misc] # a list of objects
    assert (one["offered"], one["retracted"]) == ({"beta": 10}, False)
    told(capsys, "keys", "rotate", "targets")
    told(capsys, "retract", "home", "1")
    told(capsys, "sign")
    assert run(["status"]) == 0
    assert "taken back" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["status"], "is no repository: `perslm-host keys init` begins one"),
        (["publish", "nowhere"], "is no repository"),
        (["promote", "home", "1"], "is no repository"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) != 0
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["publish", "nowhere"], "nowhere holds no bundle.json"),
        (["promote", "home", "1"], "is not published here"),
        (["keys", "rotate", "mayor"], "no role 'mayor'"),
        (["keys", "init"], "is a repository already"),
    ],
)
def test_a_repository_says_what_is_missing(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "keys", "init")
    assert run(words) != 0
    assert sentence in capsys.readouterr().err


def test_an_offline_medium_has_to_be_there_for_what_it_signs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "keys", "init", "--keys", "drawer", "--keys", "online")
    (tmp_path / "online").mkdir()
    for path in (tmp_path / "drawer").glob("[st][ni]*.pem"):
        path.rename(tmp_path / "online" / path.name)
    told(capsys, "sign", "--keys", "online")
    assert run(["publish", str(bundle(tmp_path)), "--keys", "online"]) == 2
    assert "name the folder or the medium" in capsys.readouterr().err
    told(capsys, "publish", str(bundle(tmp_path)), "--keys", "online", "--keys", "drawer")
