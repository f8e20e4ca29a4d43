"""Every configuration key: its default, kind, range and help. Defaults live here and nowhere else.

Board profiles (`edge_configs/`) and the user's file say only what differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from perslm_daemon.config_home import TOPIC, Home, HomeAssistant
from perslm_daemon.config_http import Http
from perslm_daemon.config_keys import (
    BrokerUrl,
    Choice,
    IpAddress,
    Key,
    Location,
    Networks,
    OptionalLocation,
    Places,
    Real,
    Rooms,
    Secret,
    Switch,
    Text,
    Whole,
    key,
    key_of,
)
from perslm_daemon.config_memory import Memory
from perslm_daemon.config_notify import Notify
from perslm_daemon.config_plugins import Plugins
from perslm_daemon.config_share import Share
from perslm_daemon.config_sync import Sync
from perslm_daemon.config_tools import Tools
from perslm_daemon.config_wake import BUNDLE, Wake
from perslm_daemon.machine import default_threads

PROFILES = ("dev", "zero2w", "pi4-2gb", "pi4", "pi5", "generic-arm64")

_NAME = Text(r"[a-z0-9][a-z0-9_-]{0,63}", "1 to 64 of a-z, 0-9, _ and -, starting with a letter or digit")
_MODEL_ID = Text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "the id of a model as `perslm models list` shows it")
_THREADS = Whole(1, 64)
_DEVICE = Text(r"[^\x00-\x1f]{0,200}", "a device's name, part of it or its number, of at most 200 characters")
_RATE = Whole(0, 192_000)


def _user_data_dir() -> Path:
    from platformdirs import user_data_path  # noqa: PLC0415 - only needed where no data_dir is given

    return user_data_path("perslm")


def _models_dir() -> Path:
    return _user_data_dir() / "models"


@dataclass(frozen=True, slots=True)
class Board:
    """The board this profile is for. Estimates and the memory check rest on these figures; 1 MB is 10^6 bytes."""

    name: str = key("this machine", Text(r".{1,80}", "1 to 80 characters"), "the board's name, for people")
    total_mb: int = key(4000, Whole(256, 1_000_000), "memory the board has, in MB")
    budget_mb: int = key(1500, Whole(128, 1_000_000), "memory PersLM may use at most, in MB")
    bandwidth_gb_s: float = key(
        8.0,
        Real(0.1, 1000),
        "memory bandwidth that decoding reaches, in GB/s: tokens per second are about this divided by the "
        "model's size in GB",
    )
    cpu_weight: int = key(
        100,
        Whole(1, 10_000),
        "PersLM's share of busy processors as a service; others have 100 (systemd's CPUWeight)",
    )


@dataclass(frozen=True, slots=True)
class Model:
    """The language model."""

    id: str = key("smollm2-135m-q4_1", _MODEL_ID, "which language model answers")
    adapter: str = key(
        "", BUNDLE, "a bundle that is put onto the model it was made for (a LoRA); with another it rests"
    )
    context_tokens: int = key(2048, Whole(512, 32_768), "tokens of prompt and reply that are kept together")
    threads: int = key(default_threads, _THREADS, "threads that write tokens; more than idle cores is slower")
    batch_threads: int = key(default_threads, _THREADS, "threads that read the prompt")
    batch_tokens: int = key(128, Whole(16, 2048), "prompt tokens read at once; small values stop sooner")
    kv: str = key("q8_0", Choice(("q8_0", "f16")), "precision of the attention cache; q8_0 halves its memory")
    flash_attention: bool = key(True, Switch(), "flash attention; q8_0 needs it")
    mmap: bool = key(True, Switch(), "map the model file instead of reading it into memory")
    mlock: bool = key(False, Switch(), "keep the model in memory, never swapped out; needs LimitMEMLOCK")
    max_reply_tokens: int = key(160, Whole(8, 4096), "tokens a reply may have at most")
    temperature: float = key(0.0, Real(0.0, 2.0), "0 always takes the likeliest word; higher is more varied")
    repeat_penalty: float = key(
        1.1, Real(1.0, 2.0), "how much words the reply has used lose weight; small models loop at 1"
    )
    # A plain sentence of the kind small models were tuned with: "You are PersLM, a friendly voice assistant" made
    # SmolLM2-135M answer "L'Etoile de la Cite" to the capital of France.
    system_prompt: str = key(
        "You are a helpful AI assistant named PersLM. Your answers are short, because they are spoken aloud.",
        Text(),
        "the assistant's character; kept byte for byte at the head of every prompt",
    )
    snapshot: bool = key(
        True, Switch(), "keep the read prompt head on disk, so that a restart does not read it again"
    )


@dataclass(frozen=True, slots=True)
class Embed:
    """The model that turns sentences into vectors, for recall by meaning."""

    enabled: bool = key(True, Switch(), "recall by meaning as well as by words")
    id: str = key("all-minilm-l6-v2", _MODEL_ID, "which embedding model")
    threads: int = key(1, _THREADS, "threads it uses")


@dataclass(frozen=True, slots=True)
class Stt:
    """Speech to text."""

    engine: str = key("whisper", Choice(("whisper", "vosk")), "which recognizer: whisper is exact, vosk streams")
    id: str = key("whisper-tiny.en", _MODEL_ID, "which speech model; it has to fit the engine")
    threads: int = key(default_threads, _THREADS, "threads it uses")
    language: str = key(
        "en", Text(r"[a-z]{2,3}(-[A-Za-z]{2,4})?", "a language code such as en or pt-BR"), "language spoken"
    )
    longest_s: float = key(120.0, Real(1, 600), "longest recording that is taken, in seconds")


@dataclass(frozen=True, slots=True)
class Tts:
    """Text to speech."""

    id: str = key("piper-en_US-joe-medium", _MODEL_ID, "which Piper voice")
    threads: int = key(1, _THREADS, "threads it uses")
    volume: float = key(1.0, Real(0.0, 1.0), "1 is full scale, 0 is silence")
    length_scale: float = key(1.0, Real(0.5, 2.0), "1 is the voice's own pace; higher is slower")


@dataclass(frozen=True, slots=True)
class Voice:
    """Whether this machine hears and speaks."""

    enabled: bool = key(True, Switch(), "load the ears and the mouth; without them PersLM reads and writes")


@dataclass(frozen=True, slots=True)
class Mqtt:
    """The MQTT broker and how PersLM behaves there (docs/mqtt.md)."""

    broker: str = key("", BrokerUrl(), "which broker; own is a mosquitto of ours, as the keys own… say")
    own: str = key(
        "child",
        Choice(("child", "service")),
        "who runs our own broker: the daemon, as a child beside it, or perslm-broker.service",
    )
    own_host: str = key(
        "127.0.0.1", IpAddress(), "address our own broker listens on; beyond loopback it asks for passwords"
    )
    own_port: int = key(
        0, Whole(0, 65_535), "port of our own broker; 0: any free one for a child, the service's own (1883)"
    )
    password_file: Path | None = key(None, OptionalLocation(), "file with the password for the broker")
    password: str = key("", Secret(), "the password itself, where no file can hold it (PERSLM_MQTT__PASSWORD)")
    ca_file: Path | None = key(None, OptionalLocation(), "certificates that mqtts trusts; none: the system's")
    cert_file: Path | None = key(None, OptionalLocation(), "our client certificate, where the broker asks for one")
    key_file: Path | None = key(None, OptionalLocation(), "the client certificate's key")
    base: str = key("perslm", TOPIC, "first level of every topic")
    response_topics: str = key(
        "",
        Text(),
        "where Response Topics may lie, filters with commas between; none: BASE/+/response/#, BASE/_clients/#",
    )
    identities: bool = key(
        False,
        Switch(),
        "the broker lets nobody but USER publish under …/as/USER: believe those names; our own broker with "
        "passwords does so, and is believed without this",
    )
    keepalive_s: int = key(30, Whole(5, 3600), "seconds after which a silent connection is tested")
    protocol: str = key(
        "auto", Choice(("auto", "5", "3.1.1")), "MQTT version; auto takes 5 where the broker has it"
    )


@dataclass(frozen=True, slots=True)
class Health:
    """What the daemon watches of itself and of the board."""

    interval_s: float = key(30.0, Real(0.2, 3600), "seconds between two reports of health")
    hot_c: float = key(80.0, Real(20, 120), "degrees Celsius from which background work pauses")
    memory_pressure: float = key(
        10.0,
        Real(0.1, 100),
        "percent of the time that something waits for memory from which background work pauses",
    )
    stall_s: float = key(
        120.0, Real(1, 3600), "seconds an engine may work without a sign of life before systemd hears no more"
    )


@dataclass(frozen=True, slots=True)
class Discovery:
    """Being found in the house without being told where to look (zeroconf)."""

    enabled: bool = key(True, Switch(), "announce this assistant, and look for a broker where none is given")
    interfaces: str = key(
        "all",
        Text(
            r"[A-Za-z0-9_.:-]+( *, *[A-Za-z0-9_.:-]+)*", "all, loopback, or names and addresses: eth0, 192.0.2.7"
        ),
        "network interfaces it is done on; all leaves loopback out unless there is nothing else",
    )


@dataclass(frozen=True, slots=True)
class Intents:
    """What is understood without the model (docs/timers.md)."""

    enabled: bool = key(True, Switch(), "answer timers, the clock, volume and the like without the model")
    bundle: str = key("", BUNDLE, "a bundle of sentences that are tried before the shipped English ones")


@dataclass(frozen=True, slots=True)
class Timers:
    """Timers, alarms and reminders (docs/timers.md)."""

    ring_s: float = key(300.0, Real(1, 3600), "seconds it rings before it is kept as missed")
    pause_s: float = key(3.0, Real(0.1, 60), "seconds of silence between two rings")
    snooze_s: float = key(540.0, Real(10, 7200), "seconds after which it rings again when snoozed without a time")
    late_s: float = key(
        3600.0, Real(0, 604_800), "what was due longer ago than these seconds is kept as missed and not rung"
    )
    trust_clock: bool = key(
        False, Switch(), "believe the board's clock without a time server; for a board that is set by hand"
    )


@dataclass(frozen=True, slots=True)
class Log:
    """The log."""

    level: str = key("info", Choice(("debug", "info", "warning", "error")), "least severe event that is written")
    format: str = key("text", Choice(("text", "json")), "key=value lines, or one JSON object per line")


@dataclass(frozen=True, slots=True)
class Ears:
    """How PersLM listens once it was called (docs/voice.md)."""

    end_s: float = key(0.25, Real(0.1, 5), "seconds of silence after which a finished command is over")
    unsure_s: float = key(0.6, Real(0.1, 5), "the same where the words do not tell whether they are all")
    unfinished_s: float = key(1.4, Real(0.1, 10), 'the same where they are not: "turn on the"')
    longest_s: float = key(15.0, Real(2, 60), "seconds after which listening ends whatever is to be heard")
    nothing_s: float = key(5.0, Real(1, 30), "seconds to wait for a first word after the wake word")
    near_db: float = key(18.0, Real(3, 60), "decibels below the wake word from which a voice is somebody else's")
    follow_up: bool = key(True, Switch(), "listen on, without the wake word, after an answer that asks something")
    follow_up_s: float = key(6.0, Real(1, 30), "seconds to wait for a first word then")
    barge_in: str = key(
        "speech",
        Choice(("speech", "wake", "off")),
        'what ends an answer: speech, wake word and "stop", or nothing',
    )
    suppression: int = key(0, Whole(0, 4), "noise suppression, 4 is strongest; it costs words (DECISIONS.md)")
    gain_db: int = key(0, Whole(0, 31), "decibels by which soft speech is raised at most")


@dataclass(frozen=True, slots=True)
class Audio:
    """The sound card: which microphone and which loudspeaker (docs/voice.md)."""

    microphone: str = key("", _DEVICE, "which microphone: name, part of it or number; none: the system's own")
    loudspeaker: str = key("", _DEVICE, "which loudspeaker, likewise; `perslm audio devices` lists both")
    microphone_rate_hz: int = key(0, _RATE, "samples per second of the microphone; 0 finds the best that it has")
    microphone_channel: int = key(0, Whole(0, 32), "which of its channels is heard; 0 is the mean of all")
    loudspeaker_rate_hz: int = key(0, _RATE, "samples per second of the loudspeaker; 0 finds the best that it has")
    muted: bool = key(False, Switch(), "keep the microphone closed; the setting `mute` changes it at any time")
    buffer_ms: int = key(20, Whole(10, 100), "length of a block of sound in ms; devices hold three of them")
    echo_cancel: bool = key(
        False,
        Switch(),
        "take our own voice out of the microphone, by the echo canceller of PulseAudio or PipeWire",
    )


@dataclass(frozen=True, slots=True)
class Mouth:
    """How it speaks aloud (docs/voice.md)."""

    volume: float = key(1.0, Real(0.0, 1.0), "loudness at the start; the setting `volume` changes it at any time")
    chimes: bool = key(True, Switch(), "short sounds when it listens, has understood, fails, and for timers")
    chime_volume: float = key(0.5, Real(0.0, 1.0), "loudness of these sounds beside the voice")
    thinking_after_s: float = key(
        2.0,
        Real(0.0, 60.0),
        "seconds of silence after a question before a soft sound says that it thinks; 0: never",
    )
    duck_to: float = key(0.25, Real(0.0, 1.0), "what is left of our own loudness while somebody is listened to")
    duck_others_to: float = key(
        0.3,
        Real(0.0, 1.0),
        "what is left of other programs' loudness while we listen or speak; 1 leaves them alone",
    )


@dataclass(frozen=True, slots=True)
class Wyoming:
    """Ears, mouth and mind for Home Assistant, and satellites in other rooms (docs/wyoming.md)."""

    allow: tuple[str, ...] = key(
        (),
        Networks(),
        "who may connect; nobody is told apart by more than the address, so none: the port is closed",
    )
    host: str = key(
        "",
        Text(r"[0-9A-Fa-f:.]{0,45}", 'an IP address of this machine, or "" for what wyoming.allow needs'),
        "address that is listened on; none: loopback where only loopback may connect, else all",
    )
    port: int = key(10_900, Whole(1, 65_535), "port of the services")
    end_pointing: bool = key(
        True, Switch(), "hear ourselves when somebody has finished speaking; false leaves it to Home Assistant"
    )
    satellites: tuple[str, ...] = key((), Places(), "Wyoming satellites that are connected to and answered")
    rooms: tuple[str, ...] = key((), Rooms(), "rooms of satellites that do not tell theirs, or another one")
    discover: bool = key(False, Switch(), "connect to every satellite that announces itself; they ask as guests")


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration in force. `sources` tells for every dotted key where its value came from."""

    node: str = key("home", _NAME, "name of this assistant among others in the house")
    person: str = key("owner", _NAME, "whose assistant it is: memories belong to this person")
    profile: str = key("dev", Choice(PROFILES), "board profile; found out from the board where it is not given")
    data_dir: Path = key(_user_data_dir, Location(), "folder of the memory, the snapshots and the log")
    models_dir: Path = key(_models_dir, Location(), "folder of the models, shared by every data_dir")
    board: Board = field(default_factory=Board)
    model: Model = field(default_factory=Model)
    embed: Embed = field(default_factory=Embed)
    stt: Stt = field(default_factory=Stt)
    tts: Tts = field(default_factory=Tts)
    wake: Wake = field(default_factory=Wake)
    memory: Memory = field(default_factory=Memory)
    voice: Voice = field(default_factory=Voice)
    mqtt: Mqtt = field(default_factory=Mqtt)
    homeassistant: HomeAssistant = field(default_factory=HomeAssistant)
    health: Health = field(default_factory=Health)
    discovery: Discovery = field(default_factory=Discovery)
    log: Log = field(default_factory=Log)
    ears: Ears = field(default_factory=Ears)
    audio: Audio = field(default_factory=Audio)
    mouth: Mouth = field(default_factory=Mouth)
    intents: Intents = field(default_factory=Intents)
    timers: Timers = field(default_factory=Timers)
    wyoming: Wyoming = field(default_factory=Wyoming)
    home: Home = field(default_factory=Home)
    http: Http = field(default_factory=Http)
    sync: Sync = field(default_factory=Sync)
    share: Share = field(default_factory=Share)
    tools: Tools = field(default_factory=Tools)
    notify: Notify = field(default_factory=Notify)
    plugins: Plugins = field(default_factory=Plugins)
    sources: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)


SECTIONS: dict[str, type[Any]] = {
    "board": Board,
    "model": Model,
    "embed": Embed,
    "stt": Stt,
    "tts": Tts,
    "wake": Wake,
    "memory": Memory,
    "voice": Voice,
    "mqtt": Mqtt,
    "homeassistant": HomeAssistant,
    "health": Health,
    "discovery": Discovery,
    "log": Log,
    "ears": Ears,
    "audio": Audio,
    "mouth": Mouth,
    "intents": Intents,
    "timers": Timers,
    "wyoming": Wyoming,
    "home": Home,
    "http": Http,
    "sync": Sync,
    "share": Share,
    "tools": Tools,
    "notify": Notify,
    "plugins": Plugins,
}


ENGINE_KEYS = ("models_dir", "model", "embed", "stt", "tts", "wake", "memory", "voice", "intents")
"""Keys and sections the engines are built from: changing one needs engines built anew."""

LIVE_KEYS = ("tts.volume", "memory.remember", "memory.guests")
"""Keys of engines that take effect while they run."""


def _walk() -> Iterator[Key[Any]]:
    for declared in fields(Config):
        if (found := key_of("", declared)) is not None:
            yield found
    for name, section in SECTIONS.items():
        for declared in fields(section):
            if (found := key_of(f"{name}.", declared)) is not None:
                yield found


def keys() -> dict[str, Key[Any]]:
    """Return the table of all keys by dotted name, in the order they are documented; defaults are asked anew."""
    return {found.name: found for found in _walk()}
