"""Which addresses of this machine multicast can go out from, and which are worth telling others.

Asks the kernel, sends nothing: connecting a datagram socket to a multicast group looks up the route and the source
address and no more. Opens ifaddr, and knows nothing of what is announced.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass

import ifaddr

ALL, LOOPBACK = "all", "loopback"
_GROUP_V4, _GROUP_V6, _PORT = "224.0.0.251", "ff02::fb", 5353  # RFC 6762


@dataclass(frozen=True, slots=True)
class Reach:
    """What multicast can use: `senders` (one address per way out) and `told` (what others may connect to).

    `senders` is empty where multicast is not possible; then `why_not` is the reason, in words.
    """

    senders: tuple[str, ...]
    told: tuple[str, ...]
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class _Address:
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    interface: str
    index: int

    @property
    def way_out(self) -> tuple[int, str]:
        """Multicast leaves by address in IPv4 and by interface in IPv6."""
        return (4, str(self.ip)) if self.ip.version == 4 else (6, self.interface)


def reach(wanted: str) -> Reach:
    """Look at the interfaces now. `wanted` is "all", "loopback", or names and addresses separated by commas.

    "all" leaves loopback out unless there is nothing else: what is told from there helps nobody. Takes
    milliseconds of system calls, so it is called in a worker thread.
    """
    found = _wanted(_addresses(), wanted)
    if not found:
        there = "no address" if wanted == ALL else f"no address of {wanted!r} (discovery.interfaces)"
        return Reach((), (), f"{there} is up")
    problems: dict[str, str] = {}
    senders: dict[tuple[int, str], str] = {}
    for address in found:
        if address.way_out in senders:
            continue
        if (problem := _problem(address)) is None:
            senders[address.way_out] = str(address.ip)
        else:
            problems[f"{address.interface} {address.ip}"] = problem
    if not senders:
        return Reach((), (), "; ".join(f"{where}: {what}" for where, what in problems.items()))
    used = {address.interface for address in found if address.way_out in senders}
    told = [address.ip for address in found if address.interface in used]
    near = [ip for ip in told if ip.is_link_local]  # useless to who does not know the interface
    told = [ip for ip in told if not ip.is_link_local] or near
    return Reach(tuple(senders.values()), tuple(str(ip) for ip in told))


def told_addresses() -> list[str]:
    """The addresses of this machine that others in the house can connect to; IPv4 first on each interface."""
    found = [one.ip for one in _addresses() if not one.ip.is_loopback and not one.ip.is_link_local]
    return [str(ip) for ip in found]


def _addresses() -> list[_Address]:
    """Every address, in an order that stays the same while nothing changes."""
    found = []
    for adapter in ifaddr.get_adapters():
        for given in adapter.ips:
            text = given.ip if isinstance(given.ip, str) else given.ip[0]
            found.append(_Address(ipaddress.ip_address(text), adapter.nice_name, adapter.index or 0))
    return sorted(found, key=lambda address: (address.index, address.ip.version, int(address.ip)))


def _wanted(addresses: list[_Address], wanted: str) -> list[_Address]:
    if wanted == LOOPBACK:
        return [address for address in addresses if address.ip.is_loopback]
    if wanted == ALL:
        return [address for address in addresses if not address.ip.is_loopback] or addresses
    named = {name.strip().lower() for name in wanted.split(",")}
    return [one for one in addresses if named & {one.interface.lower(), str(one.ip)}]


def _problem(address: _Address) -> str | None:
    """Say what keeps multicast from leaving by this address, or None."""
    try:
        if address.ip.version == 4:
            _try_v4(address.ip.packed)
        else:
            _try_v6(address.index)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _try_v4(packed: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, packed)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(_GROUP_V4) + packed)
        sock.connect((_GROUP_V4, _PORT))


def _try_v6(index: int) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        group = socket.inet_pton(socket.AF_INET6, _GROUP_V6) + struct.pack("@I", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        sock.connect((_GROUP_V6, _PORT, 0, index))
