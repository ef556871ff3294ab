"""
The types of options that Python does not bring: durations, sizes, addresses.

Each is an ordinary number or value to a program and prints as an operator would
write it.  Each C{parse} raises C{ValueError} with a sentence for the operator
and nothing else.
"""

from __future__ import annotations

import math
import re
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from attrs import frozen

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_NUMBER_UNIT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_DURATION_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE_UNITS: Final = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_FOLDED_SIZE_UNITS: Final = {unit.lower(): size for unit, size in _SIZE_UNITS.items()}

MAXIMUM_PORT: Final = 65535


class Duration(float):
    """
    A span of time in seconds, written C{"30s"}, C{"1.5m"} or C{"1h30m"}.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Duration:
        """
        Read a duration.

        Args:
            text: Numbers with units, one of ms, s, m, h, d.

        Raises:
            ValueError: It is anything else.
        """
        wrong = f'{text!r} is not a duration: write a number and ms, s, m, h or d, such as "30s"'
        compact = text.replace(" ", "")
        seconds = 0.0
        end = 0
        for match in _NUMBER_UNIT.finditer(compact):
            if match.start() != end or match[2] not in _DURATION_UNITS:
                raise ValueError(wrong)
            seconds += float(match[1]) * _DURATION_UNITS[match[2]]
            end = match.end()
        if end == 0 or end != len(compact) or math.isinf(seconds):
            raise ValueError(wrong)
        return cls(seconds)

    def __str__(self) -> str:
        for unit in ("d", "h", "m", "s"):
            count = self / _DURATION_UNITS[unit]
            if count >= 1 and count == int(count):
                return f"{int(count)}{unit}"
        if 0 < self < 1 and (milliseconds := round(self * 1000)) == self * 1000:
            return f"{milliseconds}ms"
        return f"{float(self):g}s" if float(f"{float(self):g}") == self else f"{float(self)!r}s"

    __repr__ = __str__


class Size(int):
    """
    A number of bytes, written C{"64KiB"}, C{"1MB"} or C{512}.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Size:
        """
        Read a size.

        Args:
            text: A number and one of B, kB, MB, GB, KiB, MiB, GiB; no unit
                means bytes.

        Raises:
            ValueError: It is anything else, or not a whole number of bytes.
        """
        match = _NUMBER_UNIT.fullmatch(text.strip())
        unit = _FOLDED_SIZE_UNITS.get((match[2] or "B").lower()) if match else None
        if match is None or unit is None:
            raise ValueError(
                f'{text!r} is not a size: write a number and B, kB, MB, GB, KiB, MiB or GiB, such as "64KiB"'
            )
        count = float(match[1]) * unit if "." in match[1] else int(match[1]) * unit
        if count != int(count):
            raise ValueError(f"{text!r} is not a whole number of bytes")
        return cls(int(count))

    def __str__(self) -> str:
        for unit in ("GiB", "MiB", "KiB", "GB", "MB", "kB"):
            if self and self % _SIZE_UNITS[unit] == 0:
                return f"{self // _SIZE_UNITS[unit]}{unit}"
        return f"{int(self)}B"

    __repr__ = __str__


@frozen
class HostPort:
    """
    An address to connect to, written C{"example.org:80"} or C{"[::1]:80"}.

    @ivar host: A name or an IP address, without brackets.
    @ivar port: 0 to 65535.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """
        Read a host and a port.

        Raises:
            ValueError: One is missing or wrong.
        """
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not host or (":" in host and not bracketed):
            raise ValueError(
                f'{text!r} is not an address: write "host:port" or "[ipv6]:port", such as "[::1]:80"'
            )
        if bracketed:
            host = host[1:-1]
            parseIPAddress(host)
        return cls(host, parsePort(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parsePort(text: str) -> int:
    """
    Read a TCP or UDP port number.

    Raises:
        ValueError: It is not a whole number from 0 to 65535.
    """
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= MAXIMUM_PORT and len(text) < 7):
        raise ValueError(f"{text!r} is not a port: write a number from 0 to {MAXIMUM_PORT}")
    return int(text)


def parseIPAddress(text: str) -> IPAddress:
    """
    Read an IPv4 or IPv6 address, the latter with or without brackets.

    Raises:
        ValueError: It is neither.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return ip_address(bare)
    except ValueError:
        raise ValueError(
            f'{text!r} is not an IP address: write one such as "127.0.0.1" or "::1"'
        ) from None


def parseIPNetwork(text: str) -> IPNetwork:
    """
    Read a network in CIDR notation; a single address is a network of one.

    Raises:
        ValueError: It is not a network, or has bits set beyond its prefix.
    """
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f'{text!r} is not a network: write one such as "10.0.0.0/8" or "2001:db8::/32"'
        ) from None
    raise ValueError(f'{text!r} has bits set beyond its prefix; did you mean "{meant}"?')
