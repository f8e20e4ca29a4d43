"""Who may connect: Wyoming has neither authentication nor encryption, so an address is all there is to go by.

Pure but for its clock. Refusals are counted, and told once a minute per address: a client that tries again every
two seconds fills no log.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_TELL_EVERY_S = 60.0
_MOST_REMEMBERED = 256  # addresses; whoever sends from more of them is told of less often


class Access:
    """The addresses and networks that may connect, as `wyoming.allow` lists them."""

    def __init__(self, allow: Sequence[str]) -> None:
        self._networks = [_network(text) for text in allow]
        self._told: dict[str, float] = {}
        self.refused = 0
        """How many connections were refused."""

    @property
    def nobody(self) -> bool:
        """Whether nobody at all may connect."""
        return not self._networks

    @property
    def loopback_only(self) -> bool:
        """Whether only programs on this machine may connect."""
        return all(network.is_loopback for network in self._networks)

    @property
    def needs_v4(self) -> bool:
        """Whether an IPv4 address may connect."""
        return any(network.version == 4 for network in self._networks)

    @property
    def needs_v6(self) -> bool:
        """Whether an IPv6 address may connect."""
        return any(network.version == 6 for network in self._networks)

    def admits(self, address: str) -> bool:
        """Whether the peer at `address` may connect; IPv4 mapped to IPv6 is IPv4, a scope ("%eth0") is ignored."""
        try:
            peer: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return any(peer in network for network in self._networks)

    def refuse(self, address: str) -> bool:
        """Count a refusal; True when it is to be told, at most once a minute per address."""
        self.refused += 1
        now = time.monotonic()
        if now - self._told.get(address, -_TELL_EVERY_S) < _TELL_EVERY_S:
            return False
        if len(self._told) >= _MOST_REMEMBERED:
            self._told.clear()
        self._told[address] = now
        return True


def _network(text: str) -> IPv4Network | IPv6Network:
    network = ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return network if mapped is None else IPv4Network((mapped, max(0, network.prefixlen - 96)), strict=False)
