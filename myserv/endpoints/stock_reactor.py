"""
Whether a reactor is one of Twisted's, or made from one, and our own ports may stand
in for its.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.posixbase import PosixReactorBase


def isStock(reactor: Any) -> bool:
    """
    Say whether a reactor opens TCP ports as Twisted's own reactors do.

    One that brings its own ports, a native one or a test's, is asked for them.
    """
    return getattr(type(reactor), "listenTCP", None) is PosixReactorBase.listenTCP


def isMadeFromStock(reactor: Any) -> bool:
    """
    Say whether a reactor watches sockets as Twisted's own reactors do, whatever ports
    it brings beside that.

    A native reactor makes connections of its own, which are the better ones.  There is
    nothing to be had from a datagram socket but that it is watched.
    """
    return isinstance(reactor, PosixReactorBase)
