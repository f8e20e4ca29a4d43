"""A board that only the broker reaches: a signed difference comes in chunks, is tried, and is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mosquitto
from flows.test_daemon_over_mqtt import daemon
from flows.test_updates import BASE, TRIAL, derived, renamed
from perslm_training_host.cli import run as perslm_host
from perslm_training_host.delta import make
from real_models import model_path
from updates import repository

pytestmark = [pytest.mark.usefixtures("small_gguf"), pytest.mark.slow, pytest.mark.timeout(300)]

BOARD = "from perslm_daemon.cli import main; main()"


def difference(folder: Path, base: Path) -> Path:
    """A bundle that succeeds the small model, with the difference to it."""
    (folder / "second.gguf").write_bytes(derived(base, renamed))
    assert not make(base, folder / "second.gguf", folder / "home.delta").whole_file
    (folder / "trial.json").write_text(
        json.dumps({"questions": [{"ask": one.ask, "any_of": one.any_of} for one in TRIAL.questions], "right": 1})
    )
    words = ["--id", "home", "--version", "1", "--licence", "Apache-2.0", "--memory-mb", "200", "--base", BASE]
    out = folder / "bundle"
    assert (
        perslm_host(
            [
                "bundle",
                str(folder / "second.gguf"),
                *words,
                "--delta",
                str(folder / "home.delta"),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    return out


def test_a_difference_over_mqtt_becomes_the_model_in_use(tmp_path: Path, small_gguf: Path) -> None:
    repo = repository(tmp_path / "host")
    repo.publish(difference(tmp_path, small_gguf))
    repo.promote("home", 1, "stable")
    models = tmp_path / "models"
    (models / BASE).mkdir(parents=True)
    for path in model_path(BASE).iterdir():
        (models / BASE / path.name).symlink_to(path)
    (tmp_path / "broker").mkdir()
    settings = {"sync__over_mqtt_mb": "20", "sync__root_file": str(repo.anchor), "models_dir": str(models)}
    with (
        mosquitto.running(tmp_path / "broker") as broker,
        daemon(tmp_path / "data", broker.url, sync__quiet_s="0", **settings),
    ):
        home = mosquitto.Client(broker.port, ("perslm/kitchen/state",))
        home.until("perslm/kitchen/state", b'{"state": "online"}')
        words = ["--json", "--set", f"mqtt.broker={broker.url}", "sync", "send", str(repo.folder), "kitchen"]
        done = subprocess.run(
            [sys.executable, "-c", BOARD, *words, "--install"],
            env={**os.environ, "PERSLM_DATA_DIR": str(tmp_path / "sender")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["bytes"] < 500_000, "98 MB were not sent"
        assert told["sync"]["refused"] == {}
        assert [one["step"] for one in told["sync"]["history"]][-1] == "in_use"
        asker = mosquitto.Client(broker.port, ("perslm/kitchen/state", "perslm/kitchen/response/sync"))
        asker.until("perslm/kitchen/state", b'{"state": "online"}')
        home.close()
        while True:  # the ways in are opened anew at the change-over
            asker.publish("perslm/kitchen/request/sync", '{"transaction": "a"}')
            answer = asker.next_json("perslm/kitchen/response/sync")
            if answer.get("transaction") == "a" and answer["data"]["in_use"]["llm"] == "home-v1":
                break
        asker.close()
