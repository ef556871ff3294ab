"""Programs that drop datagrams; the kernel runs them in tests/wire/test_ports.py."""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

import pytest
from twisted.internet.task import Clock

from myserv.endpoints import sieve
from myserv.endpoints.sieve import MAXIMUM_HOSTS, Sieve, buildProgram, packHost
from tests.endpoints.ports import failing


def run(program: bytes, packet: bytes) -> int:
    """What the kernel would make of it: how many bytes are let in."""
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        instruction, whenTrue, whenFalse, value = code[at]
        at += 1
        offset = value - 0xFFF00000
        if instruction == 0x20:
            accumulator = int.from_bytes(packet[offset : offset + 4])
        elif instruction == 0x30:
            accumulator = packet[offset]
        elif instruction == 0x74:
            accumulator >>= value
        elif instruction == 0x05:
            at += value
        elif instruction == 0x15:
            at += whenTrue if accumulator == value else whenFalse
        else:
            assert instruction == 0x06
            return int(value)


def packetFrom(host: str) -> bytes:
    """An IP header."""
    address = ipaddress.ip_address(host)
    if address.version == 4:
        return b"\x45" + bytes(11) + address.packed + bytes(4)
    return b"\x60" + bytes(7) + address.packed + bytes(16)


FOUR = [f"192.0.2.{number}" for number in range(MAXIMUM_HOSTS)]
SIX = [f"2001:db8:0:{number}::1" for number in range(MAXIMUM_HOSTS)]


@pytest.mark.parametrize("hosts", [FOUR, SIX, FOUR[:3] + SIX[:3], FOUR[:1], SIX[:1]])
def test_programs(hosts: list[str]) -> None:
    """Each host is dropped, and no other."""
    program = buildProgram(packed for each in hosts if (packed := packHost(each)))
    assert len(program) // 8 <= 4096
    for host in FOUR + SIX + ["198.51.100.1", "2001:db8:0:1::2", "2001:db9:0:1::1"]:
        assert run(program, packetFrom(host)) == (0 if host in hosts else 0xFFFFFFFF)


def test_hosts() -> None:
    """As a port tells them: with an interface, or IPv4 in IPv6's clothes."""
    assert packHost("192.0.2.1") == b"\xc0\0\2\1"
    assert packHost("::ffff:192.0.2.1") == b"\xc0\0\2\1"
    assert packHost("fe80::1%eth0") == ipaddress.ip_address("fe80::1").packed
    assert packHost("example.org") is None


class FilteredSocket:
    """Remembers how many hosts it shuts out."""

    def __init__(self, error: OSError | None = None) -> None:
        self.error = error
        self.attached: list[int] = []

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """As C{socket.setsockopt}."""
        if self.error is not None:
            raise self.error
        if option == 27:
            self.attached.append(0)
        else:
            assert option == 26
            [length, _] = struct.unpack("@HP", value)
            # Six around the hosts of IPv4, and two for each of those.
            self.attached.append((length - 7) // 2)


def test_untilTheTimeIsOver() -> None:
    """One call is armed at a time, and none when the last is over."""
    clock = Clock()
    sock = FilteredSocket()
    shutter = Sieve(sock, clock)
    assert shutter.shutOut(["192.0.2.1", "nonsense"], 5)
    assert shutter.shutOut(["192.0.2.2", "192.0.2.3"], 2)
    assert len(clock.getDelayedCalls()) == 1
    # A shorter time takes nothing from a longer one.
    assert shutter.shutOut(["192.0.2.1"], 1)
    assert sock.attached == [1, 3, 3]
    clock.advance(2)
    assert sock.attached == [1, 3, 3, 1]
    clock.advance(3)
    assert sock.attached == [1, 3, 3, 1, 0]
    assert clock.getDelayedCalls() == []


def test_noMoreThanSoMany() -> None:
    """Those whose time is over first are let in."""
    clock = Clock()
    sock = FilteredSocket()
    shutter = Sieve(sock, clock)
    shutter.shutOut(FOUR, 1)
    shutter.shutOut(["198.51.100.1"], 5)
    assert sock.attached == [MAXIMUM_HOSTS, MAXIMUM_HOSTS]
    clock.advance(1)
    assert sock.attached[-1] == 1
    shutter.clear()
    assert sock.attached[-1] == 0
    assert clock.getDelayedCalls() == []


def test_whereItCannotBe(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and no time runs."""
    clock = Clock()
    assert not Sieve(FilteredSocket(failing(1)), clock).shutOut(["192.0.2.1"], 5)
    assert not Sieve(FilteredSocket(), clock).shutOut(["nonsense"], 5)
    monkeypatch.setattr(sieve, "_AVAILABLE", False)
    sock = FilteredSocket()
    shutter = Sieve(sock, clock)
    assert not shutter.shutOut(["192.0.2.1"], 5)
    shutter.clear()
    assert sock.attached == []
    assert clock.getDelayedCalls() == []
