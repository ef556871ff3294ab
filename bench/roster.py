"""
Who is measured: a row for each server.

To add one, put a small script into bench/peers and a row here.  In commands
C{{port}} is where to serve echo, over TCP and UDP on 127.0.0.1, and
C{{peers}}, C{{build}}, C{{bin}} and C{{python}} are the scripts' directory, the
directory for what a row's C{build} makes, and this interpreter's.  C{{config}} is a
file with the row's C{configs}, in which C{<port>} and the like are filled in.
"""

from __future__ import annotations

import enum
import importlib.util
import shutil
from collections.abc import Callable, Mapping
from typing import Final

from attrs import Factory, frozen

from bench.ours import Reactor, nativeMissing, ourCommand, ourConfig

Need = Callable[[], str | None]
"""Says what is missing, if it is: a few words for a table, and more after a colon."""


def program(name: str) -> Need:
    """A program of the machine's, such as a compiler."""
    return lambda: None if shutil.which(name) else f"not installed: there is no {name} here"


def module(name: str) -> Need:
    """A Python package."""
    return lambda: None if importlib.util.find_spec(name) else f"not installed: pip install {name}"


class Service(enum.Enum):
    """What a server is started for."""

    PLAIN = "plain"
    """Echo over TCP and UDP."""

    TLS = "tls"
    """Echo over TLS, with the certificate and the key in C{{build}/tls.pem}."""

    COMPUTING = "computing"
    """Echo over TCP after some computing: L{bench.peers.computing}."""


@frozen
class Peer:
    """
    A server to measure.

    @ivar name: What tables call it.
    @ivar commands: Start it, for each service that it has.
    @ivar needs: What it needs beside what this package needs.
    @ivar build: Makes it, once for all measurements.
    @ivar distributions: The Python packages whose versions results name.
    @ivar configs: What C{{config}} holds, for each service.
    @ivar workers: Processes that serve, with a core each.
    """

    name: str
    commands: Mapping[Service, tuple[str, ...]]
    needs: tuple[Need, ...] = ()
    build: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    configs: Mapping[Service, str] = Factory(dict)
    workers: int = 1

    def missing(self) -> str | None:
        """
        Say why it cannot be measured here, if so.
        """
        return next(filter(None, (need() for need in self.needs)), None)


def _script(*words: str) -> dict[Service, tuple[str, ...]]:
    command = ("{python}", *words)
    return {Service.PLAIN: command, Service.TLS: (*command, "{build}/tls.pem")}


def _ours(name: str, reactor: Reactor, *, limited: bool = True, workers: int = 1) -> Peer:
    tls = "tls:cert=<build>/tls.pem:tcp:<port>:interface=127.0.0.1"
    tcp, udp = (f"{kind}:<port>:interface=127.0.0.1" for kind in ("tcp", "udp"))
    return Peer(
        name,
        dict.fromkeys(Service, ourCommand(reactor)),
        needs=(nativeMissing,) if reactor is Reactor.NATIVE else (),
        distributions=("myserv", "Twisted"),
        configs={
            Service.PLAIN: ourConfig("echo", (tcp, udp), limited, workers),
            Service.TLS: ourConfig("echo", (tls,), limited, workers),
            Service.COMPUTING: ourConfig("computing:Computing", (tcp,), limited, workers),
        },
        workers=workers,
    )


STOCK: Final = "myserv"
NATIVE: Final = "myserv, native"
STOCK_UNLIMITED: Final = "myserv, no limits"
NATIVE_UNLIMITED: Final = "myserv, native, no limits"
WORKERS: Final = "myserv, 2 workers"
TWISTED: Final = "Twisted, epoll"
ASYNCIO: Final = "asyncio"
UVLOOP: Final = "uvloop"
C: Final = "C, epoll"

PEERS: Final = (
    _ours(STOCK, Reactor.STOCK),
    _ours(NATIVE, Reactor.NATIVE),
    _ours(NATIVE_UNLIMITED, Reactor.NATIVE, limited=False),
    _ours(WORKERS, Reactor.STOCK, workers=2),
    _ours(STOCK_UNLIMITED, Reactor.STOCK, limited=False),
    Peer(TWISTED, _script("{peers}/bare_twisted.py", "{port}"), distributions=("Twisted",)),
    Peer(ASYNCIO, _script("{peers}/asyncio_echo.py", "asyncio", "{port}")),
    Peer(
        UVLOOP,
        _script("{peers}/asyncio_echo.py", "uvloop", "{port}"),
        needs=(module("uvloop"),),
        distributions=("uvloop",),
    ),
    Peer(
        "gevent",
        _script("{peers}/gevent_echo.py", "{port}"),
        needs=(module("gevent"),),
        distributions=("gevent",),
    ),
    Peer(
        "Go",
        {
            Service.PLAIN: ("{build}/echo-go", "{port}"),
            Service.TLS: ("{build}/echo-go", "{port}", "{build}/tls.pem"),
        },
        needs=(program("go"),),
        build=("go", "build", "-o", "{build}/echo-go", "{peers}/echo.go"),
    ),
    Peer(
        C,
        {Service.PLAIN: ("{build}/echo", "{port}")},
        needs=(program("cc"),),
        build=("cc", "-O2", "-o", "{build}/echo", "{peers}/echo.c"),
    ),
)

COMPARED: Final = tuple(peer.name for peer in PEERS if peer.name != STOCK_UNLIMITED)
"""Whom the comparison shows; the other one is there for the cost of the rules."""
