"""
How a peer or a socket is called in a line that people read.
"""

from __future__ import annotations

from twisted.internet._posixstdio import PipeAddress
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from myserv.events import Peer


def formatAddress(address: Peer) -> str:
    """
    Write an address as people do: C{127.0.0.1:7}, C{[::1]:7}, C{/run/a.sock}.

    Args:
        address: An address object, what a datagram socket calls a source, or
            C{None} where there is no name.
    """
    if isinstance(address, (IPv4Address, IPv6Address)):
        address = (address.host, address.port)
    if isinstance(address, tuple):
        host, port = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(address, PipeAddress):
        return "standard input"
    if isinstance(address, UNIXAddress):
        address = address.name
    if isinstance(address, bytes):
        address = address.decode("utf-8", "replace")
    return _inOneLine(str(address)) if address else "an unnamed peer"


def _inOneLine(name: str) -> str:
    # A peer chooses the name of its own socket, and Linux's abstract names
    # begin with a NUL, written as @.
    if name.startswith("\0"):
        name = "@" + name[1:]
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in name
    )
