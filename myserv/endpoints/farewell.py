"""
How a stream is closed so that the peer gets to read what it was sent.

To close a socket while its peer still sends makes the kernel reset the
connection, and a reset can cost the peer what it has not read yet (RFC 1122,
section 4.2.2.13).  So our half is closed first, what the peer still says is
thrown away, and the rest is closed when the peer does, or after L{LINGER}.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableDescriptor

LINGER: Final = 2.0
"""Seconds that a peer has to close once it was told that no more comes; Apache's
are 2, nginx's 5."""

PATIENCE: Final = 1024 * 1024
"""Bytes that are thrown away for a peer's sake; one that sends more is not about
to read anything."""


def closesAbruptly(transport: Any) -> bool:
    """
    Say whether a transport closes both halves at once.

    A socket does.  A layer over one says goodbye in its own way, though it may
    claim all that the socket provides; and so does a socket after C{startTLS}.
    """
    bare = IHalfCloseableDescriptor.implementedBy(type(transport))
    return bare and not getattr(transport, "TLS", False)


class Farewell:
    """
    The end of one connection, from when our side wants it.

    Whoever the transport talks to tells it of the two halves.
    """

    def __init__(self, transport: Any, reactor: Any) -> None:
        """
        Args:
            transport: A socket's transport; see L{closesAbruptly}.
            reactor: Tells the time.
        """
        self._transport = transport
        self._reactor = reactor
        self._timer: IDelayedCall | None = None
        self._discarded = 0

    def begin(self) -> None:
        """
        Close our half when what was written has been sent.
        """
        # A peer that is not read from could not tell us that it is done.
        self._transport.resumeProducing()
        self._transport.loseWriteConnection()

    def discard(self, data: bytes) -> None:
        """
        Throw away what the peer still says.
        """
        self._discarded += len(data)
        if self._discarded > PATIENCE:
            self._transport.abortConnection()

    def producerUnregistered(self) -> None:
        """
        What kept our half open is gone.
        """
        if self._timer is None:
            # A transport looks for this by itself only if all of it is to close.
            self._transport.loseWriteConnection()

    def writeHalfClosed(self) -> None:
        """
        The peer was told; from here on it has L{LINGER} seconds.
        """
        # Not before: a slow reader had to have it all first.
        self._timer = self._reactor.callLater(LINGER, self._transport.loseConnection)

    def readHalfClosed(self) -> None:
        """
        The peer has closed its half, too.
        """
        self._transport.loseConnection()

    def over(self) -> None:
        """
        The transport is gone.
        """
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
