"""C{tcp:} and C{tcp6:}."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from myserv.endpoints.parse import parseEndpoint
from myserv.endpoints.tcp import checkInterface

HELLO = Factory()


@pytest.mark.parametrize(
    ("interface", "bare"),
    [
        ("", ""),
        ("127.0.0.1", "127.0.0.1"),
        ("[127.0.0.1]", "127.0.0.1"),
        ("::", "::"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
    ],
)
@pytest.mark.parametrize("hostname", [True, False])
def test_anAddressIsAnInterface(interface: str, bare: str, hostname: bool) -> None:
    """With or without brackets; and nothing is every IPv4 address."""
    assert checkInterface(interface, hostname=hostname) == bare


@pytest.mark.parametrize("interface", ["localhost", "a.example.org", "1.example.org", "dead"])
def test_aNameIsAnInterfaceOfTCP(interface: str) -> None:
    """The system looks it up; not for UDP, where Twisted does not."""
    assert checkInterface(interface, hostname=True) == interface
    with pytest.raises(ValueError, match="is not an IP address"):
        checkInterface(interface, hostname=False)


@pytest.mark.parametrize(
    "interface", ["1", "1.2.3", "256.0.0.1", "1.2.3.4.5", "..", ":", ":::", "::g", "[::1", "::1]", "a:1"]
)  # fmt: skip
@pytest.mark.parametrize("hostname", [True, False])
def test_whatIsNeither(interface: str, hostname: bool) -> None:
    """Numbers and colons that are no address are not looked up as a name."""
    with pytest.raises(ValueError, match="is not an IP address") as caught:
        checkInterface(interface, hostname=hostname)
    assert str(caught.value) == (
        f'the interface {interface!r} is not an IP address: write one such as "127.0.0.1"'
    )


def listening(text: str) -> Any:
    """What the reactor is asked for."""
    reactor = MemoryReactor()
    assert parseEndpoint(text).openStream(reactor).listen(HELLO).result is not None
    [asked] = reactor.tcpServers
    return asked


def test_listening() -> None:
    """The reactor gets the address without brackets, and our backlog."""
    assert listening("tcp:80") == (80, HELLO, 4096, "")
    assert listening("tcp:[::1]:80:backlog=5") == (80, HELLO, 5, "::1")
    assert listening("tcp6:80") == (80, HELLO, 4096, "::")


@pytest.mark.parametrize(
    ("text", "interface"), [("tcp:80", ""), ("tcp:80:127.0.0.1", "127.0.0.1"), ("tcp6:80", "::")]
)
def test_sharingAPort(text: str, interface: str) -> None:
    """Asks for SO_REUSEPORT beside what is always asked for, on the same address."""
    binding, factory, backlog, passed = listening(f"{text}:reusePort=yes")
    assert (factory, backlog, passed) == (HELLO, 4096, interface)
    assert (binding._address, binding._port) == (interface, 80)
    assert (binding._reuseAddress, binding._reusePort) == (True, True)


def test_failingToListen() -> None:
    """Fails the Deferred."""

    class FullReactor(MemoryReactor):
        def listenTCP(self, port: Any, factory: Any, backlog: int = 50, interface: str = "") -> Any:
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, "in use"))

    failed = parseEndpoint("tcp:80").openStream(FullReactor()).listen(HELLO)
    failures: list[Any] = []
    failed.addErrback(failures.append)
    assert failures[0].check(CannotListenError)
