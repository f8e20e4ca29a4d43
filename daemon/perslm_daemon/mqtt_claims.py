"""The wake words of several boards over MQTT: claims go out and come in on `<base>/_arbitration/<phrase>`.

Not retained, and not kept for later: what was not delivered at once decides nothing any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from perslm_daemon.arbitration import Arbitration
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.mqtt_connection import BrokerError, Connection

log = logging.getLogger("perslm.mqtt")

_CLAIM_S = 1.0


async def hear_claims(arbitration: Arbitration, connection: Connection, bulletin: Bulletin) -> None:
    """Listen to the other boards' claims; a broker that forbids it costs only this."""
    try:
        await connection.subscribe([arbitration.topics])
    except BrokerError as error:
        log.warning("other_boards_not_heard error=%s", error)
        bulletin.tell("warning", message=f"other boards cannot be heard: {error}")


async def tell_claims(arbitration: Arbitration, connection_now: Callable[[], Connection | None]) -> None:
    """Publish our claims as they are made, until cancelled."""
    while True:
        claim = await arbitration.outgoing()
        connection = connection_now()
        if connection is None:
            continue  # by the next connection everybody has decided
        try:
            await connection.publish(claim.topic, claim.payload, limit_s=_CLAIM_S)
        except BrokerError as error:
            log.debug("claim_not_published error=%s", error)
