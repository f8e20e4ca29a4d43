"""Other languages: commanded in them, confirmed by devices, and answered in them by what happened."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio
import pytest

from house import SHORT, until
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.home import Home, Systems
from perslm_daemon.home_entity import Order
from perslm_daemon.home_intents import HomeIntents
from perslm_daemon.settings import Settings
from perslm_daemon.skills import Skills
from perslm_daemon.skills_tongue import said_in
from perslm_daemon.turn import Ask
from perslm_runtime.intent import Intent
from perslm_runtime.intents import languages
from perslm_runtime.lane import Lane
from perslm_runtime.tongues import spoken_tongues, tongue
from perslm_runtime.understanding import Understanding

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 27, 12, 5)
STATES = {b"LOCK": b"LOCKED", b"UNLOCK": b"UNLOCKED", b"OPEN": b"open", b"CLOSE": b"closed"}
Said = tuple[tuple[str, str, str], ...]
"""(sentence, what is sent, answer); "" where nothing is sent."""

# Room, names by domain, sentences.
SPOKEN: Mapping[str, tuple[str, Mapping[str, str], Said]] = {
    "de": (
        "Wohnzimmer",
        {"light": "Stehlampe", "lock": "Haustür", "cover": "Rollo", "sensor": "Thermometer", "switch": "Radio"},
        (
            ("Schalte die Stehlampe ein", "light ON", "Stehlampe ist an."),
            ("Schalte das Licht im Wohnzimmer aus", "light OFF", "Stehlampe ist aus."),
            ("Öffne das Rollo", "cover OPEN", "Rollo ist offen."),
            ("Schalte das Radio ein", "switch ON", "Radio hat nicht geantwortet."),
            ("Schließe die Haustür auf", "", "Wirklich: Haustür aufschließen?"),
            ("nein", "", "Ich lasse es, wie es ist."),
            ("Schließe die Haustür auf", "", "Wirklich: Haustür aufschließen?"),
            ("ja bitte", "lock UNLOCK", "Haustür ist aufgeschlossen."),
            ("Wie warm ist es im Wohnzimmer", "", "Wohnzimmer: 21,5 Grad."),
            ("Ist die Stehlampe an", "", "Nein, Stehlampe ist aus."),
        ),
    ),
    "fr": (
        "Salon",
        {"light": "Lampadaire", "lock": "Porte d'entrée", "cover": "Volet", "sensor": "Sonde", "switch": "Radio"},
        (
            ("Allume le lampadaire", "light ON", "Lampadaire : allumé."),
            ("Ouvre le volet", "cover OPEN", "Volet : ouvert."),
            ("Déverrouille la porte d'entrée", "", "Vraiment déverrouiller Porte d'entrée ?"),
            ("oui", "lock UNLOCK", "Porte d'entrée : déverrouillé."),
            ("Éteins toutes les lumières", "light OFF", "Lampadaire : éteint."),
            ("Quelle est la température dans le salon", "", "Salon : 21,5 degrés."),
        ),
    ),
    "es": (
        "Salón",
        {"light": "Lámpara de pie", "lock": "Portón", "cover": "Persiana", "sensor": "Sonda", "switch": "Radio"},
        (
            ("Enciende la lámpara de pie", "light ON", "Lámpara de pie: encendido."),
            ("Abre la persiana", "cover OPEN", "Persiana: abierto."),
            ("Apaga todas las luces", "light OFF", "Lámpara de pie: apagado."),
            ("¿Qué temperatura hay en el salón?", "", "Salón: 21,5 grados."),
        ),
    ),
    "nl": (
        "Woonkamer",
        {"light": "Staande lamp", "lock": "Voordeur", "cover": "Rolgordijn", "sensor": "Meter", "switch": "Radio"},
        (
            ("Doe de staande lamp aan", "light ON", "Staande lamp is aan."),
            ("Open het rolgordijn", "cover OPEN", "Rolgordijn is open."),
            ("Ontgrendel de voordeur", "", "Echt Voordeur van het slot halen?"),
            ("nee", "", "Ik laat het zoals het is."),
            ("Zet het licht in de woonkamer uit", "light OFF", "Staande lamp is uit."),
            ("Is de staande lamp aan", "", "Nee, Staande lamp is uit."),
        ),
    ),
    # No phrases of ours: Home Assistant's where it was done, English where it was not.
    "sv": (
        "Vardagsrum",
        {"light": "Golvlampa", "lock": "Dörr", "cover": "Rullgardin", "sensor": "Mätare", "switch": "Radio"},
        (
            ("Tänd lampan i vardagsrum", "light ON", "Tände lamporna."),
            ("Slå på radio", "switch ON", "The radio did not answer."),
        ),
    ),
}


@asynccontextmanager
async def speaking(folder: Path, language: str) -> AsyncIterator[tuple[HomeIntents, list[str]]]:
    """The home in a language, and what its devices were told. All confirm but the radio."""
    room, names, _ = SPOKEN[language]
    home, told = Home(folder, Systems(), Bulletin(), SHORT), list[str]()

    async def publish(order: Order) -> None:
        domain, payload = order.topic.partition("/")[0], order.payload
        state = json.loads(payload)["state"].encode() if payload.startswith(b"{") else payload
        told.append(f"{domain} {state.decode()}")
        if domain != "switch":
            home.take(f"{domain}/state", payload if domain == "light" else STATES[state], retained=False)

    async with (
        Lane("intents", partial(Understanding, language)) as lane,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(home.run)
        home.connected(publish)
        for domain, name in names.items():
            config = {"name": name, "uniq_id": domain, "cmd_t": f"{domain}/set", "stat_t": f"{domain}/state"}
            config |= {"schema": "json"} if domain == "light" else {}
            config |= {"dev_cla": "temperature", "unit_of_meas": "°C"} if domain == "sensor" else {}
            body = {**config, "dev": {"ids": [domain], "sa": room}}
            home.take(f"homeassistant/{domain}/{domain}/config", json.dumps(body).encode(), retained=True)
        home.take("sensor/state", b"21.5", retained=True)
        home.take("lock/state", b"LOCKED", retained=True)
        await until(lambda: len(home.devices()) == len(names) and home.idle)
        home.take("sensor/state", b"21.5", retained=True)
        home.take("lock/state", b"LOCKED", retained=True)
        await until(lambda: home.idle)
        yield HomeIntents(lane, home, "", tongue(language)), told
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("language", list(SPOKEN))
async def test_the_home_is_worked_confirmed_and_told_of_in_the_language_spoken(
    tmp_path: Path, language: str
) -> None:
    async with speaking(tmp_path, language) as (skill, told):
        for sentence, sent, answer in SPOKEN[language][2]:
            told.clear()
            answered = await skill(Ask(sentence, conversation="one"))
            once = [*dict.fromkeys(told)]  # what is not confirmed is sent again
            assert (sentence, answered and answered.text, once) == (sentence, answer, [sent] if sent else [])


def test_every_language_has_every_phrase_and_understands_its_yes_and_no() -> None:
    english = {"yes": "yes", "no": "no"}
    keys = {frozenset(one.phrases) for language in spoken_tongues() if (one := tongue(language)) is not None}
    assert len(keys) == 1
    for language in spoken_tongues():
        one = tongue(language)
        assert one is not None
        assert language in languages()
        assert english.keys() <= {*one.answers.values()}
        for key in ("is", "already", "still"):
            assert one.say(key, name="Radio", state=one.state("on")).startswith("Radio")


@pytest.mark.parametrize(
    ("language", "sentence", "answer"),
    [
        ("de", "wie spät ist es", "Es ist 12:05."),
        ("fr", "quelle heure est-il", "Il est 12:05."),
        ("nl", "welke datum is het", "Het is vrijdag 27 november 2026."),
    ],
)
async def test_the_clock_is_told_in_the_language_spoken(language: str, sentence: str, answer: str) -> None:
    bulletin = Bulletin()
    async with Lane("intents", partial(Understanding, language)) as lane:
        skills = Skills(lane, None, Settings(bulletin, {}), bulletin, lambda: NOON, language)
        answered = await skills(Ask(sentence))
        assert answered is not None
        assert answered.text == answer
        assert await skills.preview(sentence) == answer


async def test_a_timer_is_told_of_in_the_language_spoken(tmp_path: Path) -> None:
    async with Lane("intents", partial(Understanding, "de")) as lane:
        made = Intent("set_timer", {"duration": 600})
        assert await said_in(lane, made, NOON, "English") == "Timer für 10 Minuten gestartet."
        named = Intent("set_timer", {"duration": 600, "name": "nudeln"})
        assert "nudeln" in await said_in(lane, named, NOON, "English")
        assert await said_in(lane, Intent("cancel_all_alarms"), NOON, "English") == "English"


@pytest.mark.slow
@pytest.mark.parametrize("language", languages())
def test_every_language_of_the_package_is_understood_and_answers(language: str) -> None:
    understood = Understanding(language)
    assert understood.wishes("qwertz asdf", 1, ()) == ()
    if language != "en":
        said = understood.said(
            "HassTurnOn", "", {"name": "Radio", "area": "A"}, {"domain": "light", "name": "Radio"}
        )
        assert "{" not in said
