"""
From an address to a number: the host's, and that of the peer it counts as.

An IPv4 address that is written as IPv6 (C{::ffff:192.0.2.1}) is the IPv4 address.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, TypeVar

from myserv.options.values import IPNetwork

REMEMBERED_ANSWERS: Final = 4_096
"""Hosts for which an answer is kept: most arrivals are of peers that were there a
moment ago.  About 150 bytes each."""

IPV4_BITS: Final = 32
IPV6_BITS: Final = 128

_MAPPED: Final = 0xFFFF
"""The upper 96 bits of an IPv4 address that is written as IPv6."""

K = TypeVar("K")
V = TypeVar("V")


class Remembered(dict[K, V]):
    """
    A function's answers for the last arguments: C{remembered[argument]}.

    When there are too many, all are forgotten: to keep an order would cost each
    of those that are found.
    """

    __slots__ = ("_answer",)

    def __init__(self, answer: Callable[[K], V]) -> None:
        """
        Args:
            answer: The function.
        """
        super().__init__()
        self._answer = answer

    def __missing__(self, argument: K) -> V:
        if len(self) >= REMEMBERED_ANSWERS:
            self.clear()
        answer = self[argument] = self._answer(argument)
        return answer


def hostOf(peer: Any) -> str | None:
    """
    Find the host in whatever names a peer (L{myserv.events.Peer}).

    Returns:
        An IP address as text, most likely; C{None} where there is none, as in the
        address of a UNIX socket.
    """
    host = peer[0] if type(peer) is tuple else getattr(peer, "host", None)
    return host if isinstance(host, str) else None


def readHost(host: str | None) -> tuple[int, int] | None:
    """
    Read an IP address, with or without a scope (C{fe80::1%eth0}).

    Returns:
        How many bits it has, and these as a number; C{None}: it is no IP address.
    """
    if host is None:
        return None
    try:
        if ":" not in host:
            return IPV4_BITS, int.from_bytes(socket.inet_pton(socket.AF_INET, host), "big")
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except (OSError, ValueError):
        return None
    number = int.from_bytes(packed, "big")
    if number >> IPV4_BITS == _MAPPED:
        return IPV4_BITS, number & 0xFFFF_FFFF
    return IPV6_BITS, number


def readNetwork(network: IPNetwork) -> tuple[int, int, int]:
    """
    Take a network apart.

    Returns:
        The bits of its addresses, those of its prefix, and the prefix as a number.
    """
    bits, length = network.max_prefixlen, network.prefixlen
    number = int(network.network_address)
    if isinstance(network, IPv6Network) and length >= 96 and number >> IPV4_BITS == _MAPPED:
        bits, length, number = IPV4_BITS, length - 96, number & 0xFFFF_FFFF
    return bits, length, number >> (bits - length)


class PeerNumbers:
    """
    The numbers of the peers that hosts count as.

    A number says how long its prefix is, by a 1 in front of it, and those of IPv4
    are negative: what was counted under another prefix is never taken for a peer
    of today's.

    @ivar of: Of a host, as L{hostOf} returns it; C{None} where there is no IP address.
    """

    __slots__ = ("_prefix4", "_prefix6", "of")

    def __init__(self, prefix4: int, prefix6: int) -> None:
        """
        Args:
            prefix4: Bits that the IPv4 addresses of one peer have in common.
            prefix6: The same of IPv6.
        """
        self._prefix4 = prefix4
        self._prefix6 = prefix6
        self.of = Remembered(self._number)

    def _number(self, host: str | None) -> int | None:
        address = readHost(host)
        if address is None:
            return None
        bits, number = address
        if bits == IPV4_BITS:
            return -(1 << self._prefix4 | number >> (IPV4_BITS - self._prefix4))
        return 1 << self._prefix6 | number >> (IPV6_BITS - self._prefix6)


def networkOf(peer: int) -> IPNetwork:
    """
    Say which addresses a peer's number stands for.
    """
    number = abs(peer)
    length = number.bit_length() - 1
    prefix = number ^ (1 << length)
    if peer < 0:
        return IPv4Network((prefix << (IPV4_BITS - length), length))
    return IPv6Network((prefix << (IPV6_BITS - length), length))
