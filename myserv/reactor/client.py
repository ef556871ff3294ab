"""
TCP connections that we open.

Until it is connected a socket is Twisted's, which knows about names, timeouts and the
address to bind; from then on it is uvloop's.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from myserv.reactor.opening import open_
from myserv.reactor.sockets import Descriptor, own
from myserv.reactor.stream import Stream


class TCPClientStream(Stream):
    """
    A TCP connection that we opened.

    @ivar connector: Who wanted it.
    @ivar addr: What was asked for.
    """

    tlsClient = True

    def __init__(
        self, descriptor: Descriptor, addr: Any, peer: Any, connector: Any, reactor: Any
    ) -> None:
        super().__init__(descriptor, None, reactor)
        self.connector = connector
        self.addr = addr
        self._peer = peer

    def __repr__(self) -> str:
        return f"<{type(self)} to {self.addr} at {id(self):x}>"

    @property
    def logstr(self) -> str:
        """
        What log lines call it.
        """
        return f"{self._protocolName()},client"

    def opened(self) -> None:
        """
        The socket is read: have the protocol built, and introduce it.
        """
        try:
            protocol = self.connector.buildProtocol(self._peer)
        except BaseException as raised:  # noqa: BLE001 - the factory's bug
            self._log.failure("{connector}: buildProtocol raised", connector=self.connector)
            self.failIfNotConnected(ConnectError(string=str(raised)))
            self.discard()
            return
        # Where there is none, something has to be told of the end all the same.
        self.protocol = Protocol() if protocol is None else protocol
        super().opened()
        if protocol is None:
            self.loseConnection()

    def _madeRaised(self) -> None:
        # As Twisted does here: a client whose protocol is broken hears of the end.
        self.raised()

    def failIfNotConnected(self, error: Exception) -> None:
        """
        Somebody gave up in the last moment.
        """
        if not self.connected and not self.disconnected:
            self.giveUp(error)

    def giveUp(self, error: Exception | None = None) -> None:
        """
        See L{Stream.giveUp}; the connector is told.
        """
        super().giveUp()
        self.connector.connectionFailed(Failure(error or ConnectionLost()))

    def connectionLost(self, reason: Failure) -> None:
        """
        Close, and tell the protocol and the connector.
        """
        if self.disconnected:
            return
        super().connectionLost(reason)
        self.connector.connectionLost(reason)

    def getPeer(self) -> IPv4Address | IPv6Address:
        """
        Whom we connected to.
        """
        peer: IPv4Address | IPv6Address = self._peer
        return peer


class _Connecting(tcp.Client):
    """
    Twisted's client until it is connected.
    """

    def _connectDone(self) -> None:
        # Who would still give up, on time for example, is too late.
        self.connected = 1
        peer = self.getPeer()
        taken = own(self.socket.detach(), self.addressFamily)
        stream = TCPClientStream(taken, self.addr, peer, self.connector, self.reactor)
        self.connector.transport = stream
        del self.connector
        open_(stream)


class TCPConnector(tcp.Connector):
    """
    Opens one TCP connection, again if asked.
    """

    def _makeTransport(self) -> _Connecting:
        return _Connecting(self.host, self.port, self.bindAddress, self, self.reactor)
