"""
A Twisted reactor on uvloop whose connections are uvloop's own transports.

It knows nothing of the rest of myserv, so any Twisted program can use it::

    from myserv.reactor import install
    install()

or C{twistd --reactor uvloop}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from myserv.reactor.core import UVLoopReactor

__all__ = ["install"]


def install() -> UVLoopReactor:
    """
    Make this reactor C{twisted.internet.reactor}; to be called before anything
    imports that.

    Its loop becomes asyncio's current one, too.

    Returns:
        The reactor.

    Raises:
        ImportError: uvloop is not installed.
        twisted.internet.error.ReactorAlreadyInstalledError: There is one already.
    """
    from myserv.reactor import core

    return core.install()
