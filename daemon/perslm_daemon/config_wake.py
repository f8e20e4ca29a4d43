"""The configuration of wake words: which are listened for, and how easily each is heard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perslm_daemon.config_keys import Choices, Locations, Real, Text, key

BUNDLE = Text(r"([a-z0-9][a-z0-9.-]*-v[1-9][0-9]*)?", "a bundle's name, as in hey-house-v1; empty: none")


@dataclass(frozen=True, slots=True)
class Wake:
    """Wake words."""

    words: tuple[str, ...] = key(
        ("okay_nabu",),
        Choices(("okay_nabu", "hey_jarvis", "hey_mycroft", "alexa")),
        "wake words that are listened for",
    )
    custom: tuple[Path, ...] = key(
        (), Locations(), "wake words of your own: microWakeWord models (.tflite), each with its .json beside it"
    )
    bundle: str = key("", BUNDLE, "a bundle with a wake word that is listened for besides")
    sensitivity: float = key(
        0.5, Real(0.0, 1.0), "how easily wake words are heard; 0.5 is each model's own measure"
    )
    active: str = key("all", Text(r"[\w.-]+", "a name"), "which of them calls; all: each of them")
    sensitivities: str = key(
        "",
        Text(
            r"([\w.-]+ *= *(0(\.\d+)?|1(\.0*)?)( *, *|$))*",
            "words with their sensitivity, as in okay_nabu=0.6, alexa=0.3",
        ),
        "sensitivity of single words, where it differs; a word of your own goes by its file's name",
    )
