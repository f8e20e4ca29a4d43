"""The Wyoming satellites of the house: those that are configured, and, where it is wished, those that are found.

Keeps a connection to each, with growing pauses between attempts, and says on the bulletin what each is doing.
Whoever is on the network can announce a satellite: what is found so asks as a guest.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType

import anyio

from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_keys import place_of, room_of
from perslm_daemon.config_sections import Config
from perslm_daemon.discovery import Found
from perslm_daemon.logs import event as log_event
from perslm_daemon.turn import GUEST, Parts
from perslm_daemon.wyoming_run import AskTurn, Engines
from perslm_daemon.wyoming_satellite import NotASatelliteError, Satellite, State
from perslm_daemon.wyoming_voice import voice_rate
from perslm_runtime.errors import ConfigError, DeviceError, PersLMError
from perslm_runtime.lane import Lane
from perslm_runtime.vad import Silero
from perslm_runtime.wake import MicroWakeWord

log = logging.getLogger("perslm.wyoming")

MOST_FOUND = 16
"""Satellites that are connected to without being configured, at most."""

_CONNECT_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_LOOK_EVERY_S = 60.0

Place = tuple[str, int]
Find = Callable[[], Awaitable[Sequence[Found]]]


async def open_satellites(
    config: Config,
    parts: Parts,
    vad: Lane[Silero] | None,
    wake: Lane[MicroWakeWord] | None,
    turn: AskTurn,
    bulletin: Bulletin,
    find: Find | None,
) -> Satellites:
    """The satellites as they are configured, not yet run. Raises `ConfigError` without ears and a voice."""
    if parts.stt is None or parts.tts is None or vad is None:
        raise ConfigError("this machine has no ears and voice: set voice.enabled=true, and see `perslm doctor`")
    rate_hz = await parts.tts.call(voice_rate)
    words, language = config.wake.words, config.stt.language
    engines = Engines(vad, parts.stt, parts.tts, wake, words, rate_hz, language, turn)
    places = [place_of(text) for text in config.wyoming.satellites]
    rooms = dict(room_of(text) for text in config.wyoming.rooms)
    return Satellites(engines, bulletin, places, person=config.person, rooms=rooms, find=find)


class Satellites:
    """Drives every satellite until cancelled. `find` looks for announced ones; None looks for none."""

    def __init__(
        self,
        engines: Engines,
        bulletin: Bulletin,
        places: Sequence[Place],
        *,
        person: str,
        rooms: Mapping[Place, str] = MappingProxyType({}),
        find: Find | None = None,
        first_pause_s: float = _FIRST_PAUSE_S,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._engines, self._bulletin = engines, bulletin
        self._places, self._person, self._rooms, self._find = tuple(places), person, rooms, find
        self._first_pause_s, self._look_every_s = first_pause_s, look_every_s
        self._states: dict[str, str] = {}
        self._found: set[Place] = set()

    async def run(self) -> None:
        """Keep to all of them."""
        async with anyio.create_task_group() as tasks:
            for place in self._places:
                tasks.start_soon(self._keep, place, self._person)
            while self._find is not None:
                for found in map(reachable, await self._find()):
                    known = found is None or found in self._places or found in self._found
                    if found is not None and not known and len(self._found) < MOST_FOUND:
                        self._found.add(found)
                        tasks.start_soon(self._try, found)
                await anyio.sleep(self._look_every_s)

    async def _keep(self, place: Place, person: str) -> None:
        """Connect to a satellite again and again."""
        pause_s, told = self._first_pause_s, ""
        while True:
            try:
                await self._connect(place, person)
                pause_s, told = self._first_pause_s, ""
            except PersLMError as error:
                if str(error) != told:  # said when it begins, not at every attempt
                    told = str(error)
                    log_event(log, "satellite_away", logging.WARNING, place=_name(place), why=told)
            self._post(place, State.AWAY)
            await anyio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret: they shall not march in step
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _try(self, place: Place) -> None:
        """Drive what was found until it goes; found again, it is tried again."""
        try:
            await self._connect(place, GUEST)
        except NotASatelliteError:
            return  # and not asked again: it is remembered
        except PersLMError as error:
            log_event(log, "satellite_away", place=_name(place), why=str(error))
        self._states.pop(_name(place), None)
        self._found.discard(place)
        self._bulletin.post("satellites", dict(self._states))

    async def _connect(self, place: Place, person: str) -> None:
        satellite = Satellite(
            self._engines,
            self._bulletin,
            person,
            lambda state: self._post(place, state),
            area=self._rooms.get(place, ""),
        )
        with closing(await _connected(place)) as connected:
            try:
                await satellite.drive(connected)
            except PersLMError:
                raise
            except Exception as error:  # one satellite's trouble is nobody else's
                log.exception("satellite_failed error=%s", type(error).__name__)
                raise DeviceError("this is a bug in PersLM; the log has it") from error

    def _post(self, place: Place, state: State) -> None:
        self._states[_name(place)] = state.value
        self._bulletin.post("satellites", dict(self._states))


async def _connected(place: Place) -> socket.socket:
    """A socket to the place. Raises `DeviceError` where nobody answers."""
    loop = asyncio.get_running_loop()
    problem: OSError | None = None
    try:
        with anyio.fail_after(_CONNECT_S):
            for family, kind, protocol, _, address in await loop.getaddrinfo(*place, type=socket.SOCK_STREAM):
                connected = socket.socket(family, kind, protocol)
                try:
                    connected.setblocking(False)
                    await loop.sock_connect(connected, address)
                except OSError as error:
                    connected.close()
                    problem = error
                except BaseException:
                    connected.close()
                    raise
                else:
                    return connected
    except (OSError, TimeoutError) as error:
        raise DeviceError(f"no satellite answers ({error or type(error).__name__})") from error
    raise DeviceError(f"no satellite answers ({problem})")


def _name(place: Place) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(found: Found) -> Place | None:
    """Where a found service is connected to: its first address, IPv4 first; None where it has none."""
    return (found.addresses[0], found.port) if found.addresses and found.port else None
