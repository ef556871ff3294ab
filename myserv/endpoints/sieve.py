"""
Shutting hosts out of a UDP socket, in the kernel.

What a flood sends fills the socket's queue, and what others send then finds no
room; nothing that is done with a datagram once it was received changes that.  A
classic BPF program attached to the socket is run for each datagram before it is
queued, and needs no privilege (socket(7), SO_ATTACH_FILTER).
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

MAXIMUM_HOSTS: Final = 64
"""Hosts that one socket shuts out: each costs every datagram a comparison or more,
and a flood of more sources than this is one of forged ones."""

_ATTACH: Final = 26
_DETACH: Final = 27
_AVAILABLE: Final = sys.platform == "linux"

# linux/filter.h: a program is read from the network header on, whatever the family.
_NETWORK: Final = 0xFFF00000
_LOAD_WORD: Final = 0x20
_LOAD_BYTE: Final = 0x30
_SHIFT_RIGHT: Final = 0x74
_JUMP: Final = 0x05
_JUMP_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_INSTRUCTION: Final = struct.Struct("=HBBI")
_PROGRAM: Final = struct.Struct("@HP")

_DROP: Final = _INSTRUCTION.pack(_RETURN, 0, 0, 0)
_ACCEPT: Final = _INSTRUCTION.pack(_RETURN, 0, 0, 0xFFFFFFFF)

_IPV4_SOURCE: Final = 12
_IPV6_SOURCE: Final = 8


def packHost(host: str) -> bytes | None:
    """
    Make of a host what stands in an IP header.

    Args:
        host: As C{datagramReceived} gets it.

    Returns:
        4 bytes, 16 of IPv6; C{None} where it is no address.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    # To a socket of both families IPv4 comes as IPv4.
    mapped = getattr(address, "ipv4_mapped", None)
    packed: bytes = (mapped or address).packed
    return packed


def buildProgram(hosts: Iterable[bytes]) -> bytes:
    """
    Write the program that drops what comes from some hosts.

    Args:
        hosts: Their addresses, of 4 bytes and of 16.

    Returns:
        The instructions, of 8 bytes each.
    """
    pack = _INSTRUCTION.pack
    known = list(hosts)
    four = b"".join(
        pack(_JUMP_EQUAL, 0, 1, int.from_bytes(host)) + _DROP for host in known if len(host) == 4
    )
    # A conditional jump reaches 255 instructions, so each host has its own end.
    six = b"".join(_matchLong(host) for host in known if len(host) == 16)
    four = pack(_LOAD_WORD, 0, 0, _NETWORK + _IPV4_SOURCE) + four + _ACCEPT
    return (
        pack(_LOAD_BYTE, 0, 0, _NETWORK)
        + pack(_SHIFT_RIGHT, 0, 0, 4)
        + pack(_JUMP_EQUAL, 0, 1, 6)
        + pack(_JUMP, 0, 0, len(four) // _INSTRUCTION.size)
        + four
        + six
        + _ACCEPT
    )


def _matchLong(host: bytes) -> bytes:
    pack = _INSTRUCTION.pack
    program = b""
    for word in range(4):
        [value] = struct.unpack_from("!I", host, 4 * word)
        program += pack(_LOAD_WORD, 0, 0, _NETWORK + _IPV6_SOURCE + 4 * word)
        # Unequal: on behind the drop, past the other words' two instructions.
        program += pack(_JUMP_EQUAL, 0, 2 * (3 - word) + 1, value)
    return program + _DROP


class Sieve:
    """
    The hosts that a socket hears nothing of.
    """

    def __init__(self, sock: Any, reactor: Any) -> None:
        """
        Args:
            sock: The socket.
            reactor: Tells the time.
        """
        self._socket = sock
        self._reactor = reactor
        self._until: dict[bytes, float] = {}
        self._timer: IDelayedCall | None = None

    def shutOut(self, hosts: Iterable[str], seconds: float) -> bool:
        """
        Let the kernel drop what comes from some hosts.

        Args:
            hosts: Their addresses; what is no address is passed over.  Beyond
                L{MAXIMUM_HOSTS} those whose time is over first are let in.
            seconds: For how long, from now.

        Returns:
            Whether it does.
        """
        until = self._reactor.seconds() + seconds
        wanted = dict(self._until)
        for host in hosts:
            packed = packHost(host)
            if packed is not None:
                wanted[packed] = max(until, wanted.get(packed, until))
        latest = sorted(wanted.items(), key=lambda each: each[1])[-MAXIMUM_HOSTS:]
        if not self._attach([host for host, _ in latest]):
            return False
        self._until = dict(latest)
        self._arm()
        return bool(latest)

    def clear(self) -> None:
        """
        Let all in, among them those that an earlier owner of the socket shut out.
        """
        self._until = {}
        self._arm()
        self._detach()

    def _attach(self, hosts: list[bytes]) -> bool:
        if not _AVAILABLE or not hosts:
            return False
        program = buildProgram(hosts)
        memory = ctypes.create_string_buffer(program, len(program))
        described = _PROGRAM.pack(len(program) // _INSTRUCTION.size, ctypes.addressof(memory))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH, described)
        except OSError:
            return False
        return True

    def _detach(self) -> None:
        if _AVAILABLE:
            # It may have none.
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, _DETACH, 0)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._until:
            delay = max(0.0, min(self._until.values()) - self._reactor.seconds())
            self._timer = self._reactor.callLater(delay, self._timeOver)

    def _timeOver(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        self._until = {host: until for host, until in self._until.items() if until > now}
        if self._until:
            self._attach(list(self._until))
        else:
            self._detach()
        self._arm()
