"""What `perslm doctor` finds out about a broker, against real ones that are set up well and badly."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from mosquitto import running
from perslm_daemon.broker_check import BrokerReport, check
from perslm_daemon.broker_users import password_line
from perslm_daemon.config import Config, Flags, load
from perslm_daemon.doctor import check_broker, judge_broker
from perslm_daemon.findings import Finding, Verdict
from perslm_daemon.mqtt_connection import Address, BrokerError


def config_of(tmp_path: Path, *settings: str) -> Config:
    return load(Flags(tmp_path / "data", "dev", settings=("discovery.enabled=false", *settings)), environ={})


def found(tmp_path: Path, *settings: str) -> Finding:
    (finding,) = check_broker(config_of(tmp_path, *settings))
    return finding


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_broker_that_holds_small_packets_back_is_told_from_one_that_does_not(
    tmp_path: Path, protocol: str
) -> None:
    with running(tmp_path) as broker:
        quick = found(tmp_path, f"mqtt.broker={broker.url}", f"mqtt.protocol={protocol}")
    with running(tmp_path, "set_tcp_nodelay false") as broker:
        slow = found(tmp_path, f"mqtt.broker={broker.url}", f"mqtt.protocol={protocol}")
    assert (quick.verdict, quick.advice) == (Verdict.OK, "")
    assert f"MQTT {protocol} at 127.0.0.1:" in quick.found
    assert "no TLS, without a password" in quick.found
    assert (slow.verdict, slow.advice) == (Verdict.WARN, "set set_tcp_nodelay true in the broker")


def test_a_refused_password_fails_with_what_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text(password_line("perslm", "right", drawn=True))
    guarded = ("allow_anonymous false", f"password_file {tmp_path}/passwords")
    with running(tmp_path, *guarded) as broker:
        right = found(tmp_path, f"mqtt.broker={broker.url}", "mqtt.password=right")
        wrong = found(tmp_path, f"mqtt.broker={broker.url}", "mqtt.password=wrong")
    assert right.verdict is Verdict.OK
    assert "as perslm, with a password" in right.found
    assert wrong.verdict is Verdict.FAIL
    assert "refuses our" in wrong.found
    assert "mqtt.password_file" in wrong.found


def test_a_broker_that_gives_nothing_back_is_told_what_to_allow(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic write perslm/#\n")
    with (
        running(tmp_path, f"acl_file {tmp_path}/acl") as broker,
        pytest.raises(BrokerError, match="let PersLM read and write perslm/home/#"),
    ):
        anyio.run(check, Address("127.0.0.1", broker.port), "perslm/home")


def test_a_broker_that_is_not_there_fails(tmp_path: Path) -> None:
    with running(tmp_path) as broker:
        url = broker.url
    assert found(tmp_path, f"mqtt.broker={url}").verdict is Verdict.FAIL


def test_where_no_broker_answers_now_it_is_said_which_one_will(tmp_path: Path) -> None:
    assert "none is configured" in found(tmp_path).found
    own = found(tmp_path, "mqtt.broker=own")
    assert own.verdict is Verdict.OK
    assert "starts with PersLM" in own.found


def test_tls_and_the_delay_are_in_the_line() -> None:
    report = BrokerReport("house:8883", "5", True, "perslm", 44.04, 0.3)
    assert judge_broker(report) == Finding(
        "broker",
        Verdict.WARN,
        "44 ms from ask to reply; MQTT 5 at house:8883, TLS, as perslm, with a password",
        "set set_tcp_nodelay true in the broker",
    )
    assert judge_broker(BrokerReport("far:1883", "5", False, "", 64.0, 60.0)).verdict is Verdict.OK, (
        "a slow network"
    )
