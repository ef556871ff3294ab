"""
The types of options that Python does not bring: durations, sizes, addresses.

Each is an ordinary number or value to a program and prints as an operator would
write it.  Each C{parse} raises C{ValueError} with a sentence for the operator
and nothing else.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
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

_NUMBER_UNIT: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_NUMBER: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*")
_DURATION_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
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

_HOST_PORT: Final = re.compile(
    r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<host>[^\[\]:\s]+)):(?P<port>[^:]*)"
)

_BRACKETED: Final = re.compile(r"\A\[([^\[\]]*)\](?=/|\Z)")

_MAXIMUM_SIZE_DIGITS: Final = 100
"""Python reads no more than some thousands; no machine has 10**100 bytes."""

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
            text: Numbers with units, one of ms, s, m, h, d; 0 needs none.

        Raises:
            ValueError: It is anything else.
        """
        if text == "0":
            return cls(0)
        if bare := _NUMBER.fullmatch(text):
            raise ValueError(f'{text!r} is not a duration: write a unit: "{bare[1]}s"')
        wrong = f'{text!r} is not a duration: write a number and ms, s, m, h or d, such as "30s"'
        seconds = 0.0
        end = 0
        for match in _NUMBER_UNIT.finditer(text):
            number, unit = float(match[1]), match[2]
            if match.start() != end or (unit != "ms" and unit not in _DURATION_UNITS):
                raise ValueError(wrong)
            # Not times 0.001, which is no binary fraction: 9ms is 0.009 exactly.
            seconds += number / 1000 if unit == "ms" else number * _DURATION_UNITS[unit]
            end = match.end()
        if end == 0 or end != len(text) or math.isinf(seconds):
            raise ValueError(wrong)
        return cls(seconds)

    def __str__(self) -> str:
        # Only what parse() reads back as the same number will do.
        seconds = float(self)
        for unit in ("d", "h", "m", "s"):
            count = seconds / _DURATION_UNITS[unit]
            if count >= 1 and count.is_integer() and count * _DURATION_UNITS[unit] == seconds:
                return f"{int(count)}{unit}"
        if 0 < seconds < 1 and (milliseconds := round(seconds * 1000)) / 1000 == seconds:
            return f"{milliseconds}ms"
        return f"{Decimal(repr(seconds)):f}s" if seconds else "0s"

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
        match = _NUMBER_UNIT.fullmatch(text)
        unit = _FOLDED_SIZE_UNITS.get((match[2] or "B").lower()) if match else None
        if match is None or unit is None or len(match[1]) > _MAXIMUM_SIZE_DIGITS:
            raise ValueError(
                f'{text!r} is not a size: write a number and B, kB, MB, GB, KiB, MiB or GiB, such as "64KiB"'
            )
        # Not a float: 1.1kB is 1100 bytes exactly.
        count = Fraction(match[1]) * unit
        if count.denominator != 1:
            raise ValueError(f"{text!r} is not a whole number of bytes")
        return cls(count.numerator)

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
        match = _HOST_PORT.fullmatch(text)
        if match is None:
            raise ValueError(
                f'{text!r} is not an address: write "host:port" or "[ipv6]:port", such as "[::1]:80"'
            )
        if match["bracketed"]:
            parseIPAddress(match["bracketed"])
        return cls(match["bracketed"] or match["host"], parsePort(match["port"]))

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

    The address may stand in brackets: C{[2001:db8::]/32}.

    Raises:
        ValueError: It is not a network, or has bits set beyond its prefix.
    """
    bare = _BRACKETED.sub(r"\1", text)
    try:
        return ip_network(bare)
    except ValueError:
        pass
    try:
        meant = ip_network(bare, strict=False)
    except ValueError:
        raise ValueError(
            f'{text!r} is not a network: write one such as "10.0.0.0/8" or "2001:db8::/32"'
        ) from None
    raise ValueError(f'{text!r} has bits set beyond its prefix; did you mean "{meant}"?')
