"""
What a listener, and a service of several, is doing at one moment: plain values.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen
from twisted.internet.interfaces import IAddress


@frozen
class ListenerStatistics:
    """
    A listener at one moment.

    @ivar service: The service's name.
    @ivar endpoint: The endpoint string, in its canonical form.
    @ivar state: The value of a L{myserv.server.listener.State}.
    @ivar address: What the socket is bound to while it is open.
    @ivar connections: Those that have a protocol now.
    @ivar handshakes: Those that are in a layer's handshake now.
    @ivar started: How many connections there ever were.
    @ivar refused: How many arrivals were turned away, by reason.
    @ivar bytesReceived: What its protocols were given so far.
    @ivar bytesSent: What they wrote so far.
    @ivar deadline: While it drains: seconds until those who are left are cut.
    """

    service: str
    endpoint: str
    state: str
    address: IAddress | None
    connections: int
    handshakes: int
    started: int
    refused: Mapping[str, int]
    bytesReceived: int
    bytesSent: int
    deadline: float | None

    @property
    def left(self) -> int:
        """How many are connected, those in a handshake too."""
        return self.connections + self.handshakes


@frozen
class ServiceStatistics:
    """
    A service at one moment.

    @ivar service: Its name.
    @ivar isRunning: It has been started, and not stopped since.
    @ivar listeners: In the order that its endpoints were asked for.
    """

    service: str
    isRunning: bool
    listeners: tuple[ListenerStatistics, ...]

    @property
    def left(self) -> int:
        """How many are connected, those in a handshake too."""
        return sum(each.left for each in self.listeners)

    @property
    def deadline(self) -> float | None:
        """While it drains: seconds until those who are left are cut."""
        return max(
            (each.deadline for each in self.listeners if each.deadline is not None), default=None
        )
