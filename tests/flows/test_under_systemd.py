"""The whole daemon as a service of Type=notify: what a service manager hears from its start to its end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from daemon_child import daemon
from notify_socket import service_manager

pytestmark = pytest.mark.usefixtures("small_gguf")


def test_a_machine_without_sound_is_ready_and_says_what_it_goes_on_without(tmp_path: Path) -> None:
    environ = {
        "NOTIFY_SOCKET": f"{tmp_path}/notify",
        "WATCHDOG_USEC": "300000",
        "PULSE_SERVER": f"unix:{tmp_path}/nobody",
        "ALSA_CONFIG_PATH": "/dev/null",
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    with (
        service_manager(environ["NOTIFY_SOCKET"]) as manager,
        daemon(tmp_path / "data", "", environ, voice__enabled="true") as child,
    ):
        *steps, ready = manager.until("READY=1")
        manager.until("WATCHDOG=1")
        child.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1")
        manager.until("READY=1")
        child.terminate()
        manager.until("STOPPING=1")
        _, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    assert "kitchen answers" in ready[1]
    told = [one for one in steps if one != ["WATCHDOG=1"]]
    assert all("EXTEND_TIMEOUT_USEC=300000000" in one for one in told)
    statuses = [one[0].removeprefix("STATUS=") for one in told]
    assert statuses[0] == "Starting the engines"
    assert any(status.startswith("model is ready") for status in statuses)
    assert any(status.endswith("MB in memory)") for status in statuses), "it spoke while an engine was being built"
