"""Whether a host is this machine or in this house, by its name or address alone. Looks nothing up."""

from __future__ import annotations

import ipaddress

_NEAR = (".local", ".lan", ".home", ".home.arpa", ".internal", ".fritz.box")


def is_near(host: str) -> bool:
    """Whether a host is near: a private address, a name without a dot, or one that only houses use."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or "." not in host or host.lower().endswith(_NEAR)
    return address.is_loopback or address.is_private
