"""The other side of test_discovery.py, in a process of its own; JSON by the line; ends with its standard input.

watch [TYPE]: what a browser sees of it on loopback. broker NAME PORT: announces an MQTT broker on loopback.
announce JSON: our own Announcer; lines on standard input are "ready", "up" (loopback), "address IP" and "stop".
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import anyio.to_thread
from blockbuster import blockbuster_ctx
from zeroconf import ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from perslm_daemon.bulletin import Bulletin, Happening
from perslm_daemon.config_sections import Discovery
from perslm_daemon.discovery import BROKER, SERVICE, Announcer, Card

LOOPBACK = ["127.0.0.1"]


def tell(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


async def told() -> str:
    line: str = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    return line.strip()


async def watch(kind: str = SERVICE) -> None:
    async with AsyncZeroconf(interfaces=LOOPBACK) as zeroconf, anyio.create_task_group() as tasks:

        async def resolve(what: str, name: str) -> None:
            info = AsyncServiceInfo(kind, name)
            await info.async_request(zeroconf.zeroconf, 3000)
            tell(
                what=what,
                name=name,
                host=info.server,
                port=info.port,
                addresses=info.parsed_addresses(),
                txt=info.decoded_properties,
            )

        def heard(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
            if state_change is ServiceStateChange.Removed:
                tell(what="Removed", name=name)
            else:
                tasks.start_soon(resolve, state_change.name, name)

        browser = AsyncServiceBrowser(zeroconf.zeroconf, kind, handlers=[heard])
        tell(what="watching")
        await told()
        await browser.async_cancel()
        tasks.cancel_scope.cancel()


async def broker(name: str, port: str) -> None:
    async with AsyncZeroconf(interfaces=LOOPBACK) as zeroconf:
        info = ServiceInfo(
            BROKER,
            f"{name}.{BROKER}",
            port=int(port),
            server=f"{name}.local.",
            parsed_addresses=LOOPBACK,
            properties={"tls": "no"},
        )
        await (await zeroconf.async_register_service(info, cooperating_responders=True))
        tell(what="announced")
        await told()


async def announce(given: str) -> None:
    settings = json.loads(given)
    bulletin = Bulletin()
    card = Card(settings["node"], "1.2.3", f"perslm/{settings['node']}", 8080, settings["id"])
    threads = set(threading.enumerate())
    async with anyio.create_task_group() as tasks:

        async def listen() -> None:
            async with bulletin.listen() as notices:
                async for notice in notices:
                    if isinstance(notice, Happening):
                        tell(what=notice.event_type, **notice.fields)

        tasks.start_soon(listen)
        config = Discovery(interfaces=settings["interfaces"])
        also = [card.wyoming(settings["wyoming"])] if "wyoming" in settings else []
        look_s = settings.get("look_s", 15)
        async with Announcer(config, card, bulletin, also=also, look_s=look_s) as announcer:
            tell(what="waiting")
            while (line := await told()) not in {"stop", ""}:
                if line == "ready":
                    announcer.ready()
                elif line == "instance":
                    tell(what="instance", name=announcer.instance)
                else:
                    await anyio.to_thread.run_sync(lambda argv: subprocess.run(argv, check=True), line.split())
            began = anyio.current_time()
        took_s = anyio.current_time() - began
        tasks.cancel_scope.cancel()
    await anyio.lowlevel.checkpoint()
    left = [str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    left += [thread.name for thread in set(threading.enumerate()) - threads if "AnyIO" not in thread.name]
    tell(what="stopped", took_s=took_s, left=left)


if __name__ == "__main__":
    with blockbuster_ctx():
        verbs: dict[str, Callable[..., Awaitable[None]]] = {"watch": watch, "broker": broker, "announce": announce}
        anyio.run(verbs[sys.argv[1]], *sys.argv[2:])
