"""Connections for others: whether a host and its address may be reached, and the connection that goes there.

A name is looked up once, the addresses are judged, and the connection goes to the very address that was judged: a
name that means another one a moment later gains nothing. Private addresses need leave of their own.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import anyio

from perslm_runtime.errors import ToolRefused

_PORTS = frozenset((80, 443))  # of a host that is named without one
_HIDES_IPV4 = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
_CONNECT_S = 8.0


def may_reach(host: str, port: int, hosts: Sequence[str]) -> bool:
    """Whether a host is among those named: "example.org" (80, 443), "example.org:8443", "*.example.org"."""
    wanted = host.lower().rstrip(".")
    for entry in hosts:
        name, ports = _split(entry.lower())
        if port not in ports:
            continue
        if wanted == name or (name.startswith("*.") and wanted.endswith(name[1:]) and wanted != name[2:]):
            return True
    return False


def _split(entry: str) -> tuple[str, frozenset[int]]:
    bare = entry.removeprefix("[")
    if entry.startswith("[") and "]" in bare:
        name, _, rest = bare.partition("]")
        return name, frozenset((int(rest[1:]),)) if rest.startswith(":") else _PORTS
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and ":" not in name:
        return name, frozenset((int(port),))
    return entry, _PORTS


def is_public(address: str) -> bool:
    """Whether an address is one of the internet's, and not of a house, a machine or a carrier."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if any(found in network for network in _HIDES_IPV4):
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def allowed_address(address: str, host: str, private: Sequence[str]) -> bool:
    """Whether an address of a host may be connected to. An address that is itself named as the host may."""
    if is_public(address):
        return True
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if any(found in ip_network(network, strict=False) for network in private):
        return True
    try:
        return ip_address(host) == found
    except ValueError:
        return False


async def dial(host: str, port: int, hosts: Sequence[str], private: Sequence[str]) -> socket.socket:
    """Connect to a host that is allowed; the caller closes the socket. Raises `ToolRefused`."""
    if not may_reach(host, port, hosts):
        raise ToolRefused(f"{host[:80]}:{port} is not among the hosts that this tool may reach")
    try:
        with anyio.fail_after(_CONNECT_S):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            good = [one for one in found if allowed_address(str(one[4][0]), host, private)]
            if not good:
                raise ToolRefused(
                    f"{host[:80]} leads to a private address: name its network in tools.private if that is right"
                )
            return await _first(good)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise ToolRefused(f"{host[:80]} cannot be reached ({type(error).__name__})") from error


async def _first(found: Sequence[tuple[int, int, int, str, tuple[object, ...]]]) -> socket.socket:
    """A connection to the first address that answers."""
    trouble: OSError = ConnectionRefusedError(errno.ECONNREFUSED, "nothing was tried")
    for family, kind, protocol, _, address in found[:4]:
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)
            if (code := made.connect_ex(address)) not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            await anyio.wait_writable(made)
            if code := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code))
        except OSError as error:
            made.close()
            trouble = error
        except BaseException:
            made.close()
            raise
        else:
            made.setblocking(True)
            return made
    raise trouble
