"""
Who is measured: a row for each peer.

To add one, put a small script into bench/peers and a row here.  In commands
C{{port}} is where to serve echo, over TCP and UDP on 127.0.0.1, and
C{{peers}}, C{{build}}, C{{bin}} and C{{python}} are the scripts' directory, the
directory for what a row's C{build} makes, and this interpreter's.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from typing import Final

from attrs import frozen

Need = Callable[[], str | None]
"""Says what is missing, if it is."""


def program(name: str) -> Need:
    """A program of the machine's, such as a compiler."""
    return lambda: None if shutil.which(name) else f"there is no {name} on this machine"


def module(name: str) -> Need:
    """A Python package."""
    return lambda: None if importlib.util.find_spec(name) else f"{name} is not installed"


@frozen
class Peer:
    """
    A server to measure.

    @ivar name: What tables call it.
    @ivar command: Starts it.
    @ivar needs: What it needs beside what this package needs.
    @ivar build: Makes it, once for all measurements.
    @ivar tls: Starts it with TLS, echo over TCP only, with the certificate and
        the key in C{{build}/tls.pem}; empty where it has none.
    @ivar distributions: The Python packages whose versions results name.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[Need, ...] = ()
    build: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    tls: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """
        Say why it cannot be measured here, if so.
        """
        return next(filter(None, (need() for need in self.needs)), None)


_MYSERV: Final = ("{bin}/twistd", "-n", "--pidfile=", "myserv")


def _myserv(protocol: str) -> tuple[str, ...]:
    listen = [f"--listen={kind}:{{port}}:interface=127.0.0.1" for kind in ("tcp", "udp")]
    return (*_MYSERV, protocol, *listen)


TWISTED: Final = "Twisted, epoll"
C: Final = "C, epoll"

PEERS: Final = (
    Peer(
        "myserv echo",
        _myserv("echo"),
        distributions=("myserv", "Twisted"),
        tls=(*_MYSERV, "echo", "--listen=tls:cert={build}/tls.pem:tcp:{port}:interface=127.0.0.1"),
    ),
    Peer(
        TWISTED,
        ("{python}", "{peers}/bare_twisted.py", "{port}"),
        distributions=("Twisted",),
        tls=("{python}", "{peers}/bare_twisted.py", "{port}", "{build}/tls.pem"),
    ),
    Peer(
        "asyncio",
        ("{python}", "{peers}/asyncio_echo.py", "{port}"),
        tls=("{python}", "{peers}/asyncio_echo.py", "{port}", "asyncio", "{build}/tls.pem"),
    ),
    Peer(
        "uvloop",
        ("{python}", "{peers}/asyncio_echo.py", "{port}", "uvloop"),
        needs=(module("uvloop"),),
        distributions=("uvloop",),
        tls=("{python}", "{peers}/asyncio_echo.py", "{port}", "uvloop", "{build}/tls.pem"),
    ),
    Peer(
        C,
        ("{build}/echo", "{port}"),
        needs=(program("cc"),),
        build=("cc", "-O2", "-o", "{build}/echo", "{peers}/echo.c"),
    ),
)

BASELINES: Final = (TWISTED, C)
"""What the others are compared with."""
