"""What compiles below a folder is waited for, and what a killed run left there is taken away."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from perslm_training_host.moving import await_builds


def test_a_lock_that_a_killed_run_left_is_taken_away(tmp_path: Path) -> None:
    lock = tmp_path / "py311_cpu/deepspeed_shm_comm/lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (time.time() - 3600, time.time() - 3600))
    await_builds(tmp_path)
    assert not lock.exists()
    await_builds(tmp_path / "nothing was ever compiled here")


def test_what_is_being_compiled_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "op/lock"
    lock.parent.mkdir()
    lock.touch()
    ended: list[bool] = []

    def compile_it() -> None:
        time.sleep(0.3)
        ended.append(True)
        lock.unlink()

    other = threading.Thread(target=compile_it)
    other.start()
    await_builds(tmp_path)
    other.join()
    assert ended == [True]
    assert lock.parent.exists()
