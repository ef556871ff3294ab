"""
Datagrams of one endpoint: what stands between its socket and its protocol.

To the port a L{DatagramChannel} is the protocol, to the protocol it is the
transport, as a L{myserv.server.connection.Connection} is for a stream.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import udp
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.endpoints.drops import Drops
from myserv.endpoints.receiving import ReceivingPort
from myserv.events import Peer, ProtocolRaised
from myserv.interfaces import (
    IDatagramTransport,
    IDrainable,
    IPeerObserver,
)
from myserv.server.amplification import IPV4_HEADERS, Account, Amplification
from myserv.server.reflection import OwnSockets
from myserv.server.sources import SourceRules

if TYPE_CHECKING:
    from myserv.server.datagram import DatagramListener

_CHECKING_WRITES: Final = (udp.Port.write, ReceivingPort.write)
"""Of ports whose sockets can be sent through directly."""

AMPLIFIES: Final = "it would be more than "
"""How the reason begins for which an answer to an unproved address is dropped."""

_REFUSED: Final = Account(IPV4_HEADERS)
"""Of a stranger for whom nothing is left."""

_NOBODY: Final = object()
"""Nobody's address."""


def _notSent(packet: bytes, addr: Any) -> None:
    raise OSError(errno.EBADF, "the socket is closed")


class _Unchanging:
    # In place of an admission, behind a gate that has asked it.
    version = 0


def _ofPort(name: str) -> Any:
    return property(lambda self: getattr(self._port, name))


@implementer(IDatagramTransport, IDrainable, IPeerObserver)
class DatagramChannel(DatagramProtocol):
    """
    Counts datagrams, keeps those from the protocol that are not let in or cannot
    be answered, and sends what is no amplification.

    @ivar protocol: The service's protocol.
    @ivar startFailure: What the protocol raised when it was to start.
    @ivar drops: What was not delivered, or not sent.
    @ivar datagramsReceived: Handed to the protocol so far.
    @ivar datagramsSent: Written by the protocol so far.
    @ivar bytesReceived: The bytes of the former.
    @ivar bytesSent: The bytes of the latter.
    """

    noisy = False

    def __init__(
        self,
        listener: DatagramListener,
        protocol: DatagramProtocol,
        unanswered: frozenset[int],
        ownSockets: OwnSockets,
        amplification: Amplification | None = None,
        provesAddress: bool = False,
    ) -> None:
        self._listener = listener
        self.protocol = protocol
        self._unanswered = unanswered
        self._ownSockets = ownSockets
        self._ownPorts = ownSockets.ports
        self._amplification = amplification
        #: Whose datagram was the last that is limited: most answers are to that one.
        self._source: Any = _NOBODY
        self._account = _REFUSED
        self._provesAddress = provesAddress
        self._rules: SourceRules | None = None
        self._admission: Any = _Unchanging
        self._connected = False
        self._send: Callable[[bytes, Any], object] = _notSent
        self._answer: Callable[[bytes, Any], object] = _notSent
        self.startFailure: Failure | None = None
        self.drops = Drops(listener)
        self.datagramsReceived = 0
        self.datagramsSent = 0
        self.bytesReceived = 0
        self.bytesSent = 0

    def applyRules(self, rules: SourceRules) -> None:
        """
        Look whether a source's datagrams are taken; without rules, somebody nearer
        the wire has done so.
        """
        self._rules = rules
        self._admission = rules.admission

    # The protocol side of it: what a port calls.

    def logPrefix(self) -> str:
        """
        What Twisted's own log lines call it: the service's name.
        """
        return self._listener.service

    def makeConnection(self, transport: Any) -> None:
        """
        The port is open: introduce ourselves to the protocol.
        """
        self._port = transport
        self._send = self._answer = transport.write
        if getattr(type(transport), "write", None) in _CHECKING_WRITES:
            # Most of what they do is to look at an address, and an answer goes to
            # where the kernel said that something came from.
            self._answer = transport.socket.sendto
        self._connected = False
        super().makeConnection(transport)
        # Twisted would log that the protocol starts; our own event says it.
        self.protocol.noisy = False
        self.startFailure = None
        try:
            self.protocol.makeConnection(self)
        except BaseException:  # noqa: BLE001 - the author's bug, which keeps the listener closed
            self.startFailure = Failure()
            # It never started, so it is not stopped; it may be tried again.
            self.protocol.transport = None

    def doStop(self) -> None:
        """
        The port is closed.
        """
        super().doStop()
        if self.startFailure is None:
            # One that raises here would leave the socket open.
            self._call("doStop")
        self._send = self._answer = _notSent

    def readingFellBehind(self) -> None:
        """
        The port cannot keep up with what comes.
        """
        listener = self._listener
        if listener.admission.limits.shedFloods:
            listener.shedding.readingFellBehind()

    def connectionRefused(self) -> None:
        """
        The peer of a connected port has no socket.
        """
        self._call("connectionRefused")

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        A datagram came in: hand it on, unless an answer would start a loop.

        Args:
            datagram: What was sent.
            addr: C{(host, port)}, or the path of a UNIX socket, C{None} or
                empty where the sender bound none.
        """
        size = len(datagram)
        if type(addr) is tuple:
            if addr[1] in self._ownPorts and self._ownSockets.sent(addr):
                self.countDropped("it came from a socket of this server", addr)
                return
            limit = self._amplification
            if limit is not None:
                # Without a call more than needed: this is for each datagram.
                account = limit.findYoung(addr)
                if account is None or account.version != self._admission.version:
                    if not self._takes(addr, size):
                        return
                    account = account or limit.open(addr)
                    account.version = 0 if self._rules is None else self._rules.version
                account.credit += limit.factor * (size + account.headers)
                self._source = addr
                self._account = account
            elif not self._takes(addr, size):
                return
        elif self._rules is not None and not self._rules.takes(addr, size):
            return
        self.datagramsReceived += 1
        self.bytesReceived += size
        try:
            self.protocol.datagramReceived(datagram, addr)
        except BaseException:  # noqa: BLE001 - the author's bug, which costs this datagram only
            self._raised("datagramReceived", addr)

    def _takes(self, addr: tuple[str, int], size: int) -> bool:
        if addr[1] in self._unanswered:
            self.countDropped("it came from a port that services answer from", addr)
            return False
        return self._rules is None or self._rules.takes(addr, size)

    def peerLost(self, peer: Peer) -> None:
        """
        A layer between us and the wire has ended its association with a peer.
        """
        if IPeerObserver.providedBy(self.protocol):
            self._call("peerLost", peer)

    def drainRequested(self, deadline: float) -> None:
        """
        The port is about to be closed.
        """
        if IDrainable.providedBy(self.protocol):
            self._call("drainRequested", deadline)

    def _call(self, name: str, *arguments: object) -> None:
        try:
            getattr(self.protocol, name)(*arguments)
        except BaseException:  # noqa: BLE001 - the author's bug, which costs nobody anything
            self._raised(name, None)

    def _raised(self, during: str, peer: Peer) -> None:
        listener = self._listener
        listener.emit(ProtocolRaised(listener.service, peer, during, Failure()))

    # The transport side of it: what a protocol calls.

    def write(self, packet: bytes, addr: Any = None) -> None:
        """
        Send a datagram; one that the system will not take is counted, and so is
        one that is too much for a source that has not proved its address.

        Args:
            packet: The whole datagram.
            addr: Where to, in the form it was received from.

        Raises:
            MessageLengthError: It is larger than any datagram can be.
        """
        size = len(packet)
        if addr is self._source:
            account = self._account
            cost = size + account.headers
            if account.credit < cost:
                self._tooMuch(account, addr)
                return
            account.credit -= cost
            try:
                self._answer(packet, addr)
            except OSError as error:
                self._answerFailed(error, packet, addr)
            else:
                self.datagramsSent += 1
                self.bytesSent += size
        elif addr or self._connected:
            if self._spend(addr, size):
                self._sendThrough(packet, addr)
        else:
            self.countDropped("the sender left no address to answer to", addr)

    def _answerFailed(self, error: OSError, packet: bytes, addr: Any) -> None:
        if self._answer is self._send:
            self._unsent(error, addr)
        else:
            # What is to be done about it, the port knows.
            self._sendThrough(packet, addr)

    def _sendThrough(self, packet: bytes, addr: Any) -> None:
        try:
            self._send(packet, addr)
        except OSError as error:
            self._unsent(error, addr)
        else:
            self.datagramsSent += 1
            self.bytesSent += len(packet)

    def _unsent(self, error: OSError, addr: Any) -> None:
        self.countDropped(f"it could not be sent: {error.strerror}", addr)

    def _spend(self, addr: Any, size: int) -> bool:
        account = None if self._amplification is None else self._accountOf(addr, size)
        if account is None:
            return True
        cost = size + account.headers
        if account.credit < cost:
            self._tooMuch(account, addr)
            return False
        account.credit -= cost
        return True

    def _accountOf(self, addr: Any, size: int) -> Account | None:
        amplification = self._amplification
        assert amplification is not None
        # A UNIX socket's name is the system's word, and without an address the
        # port is connected to a peer of the protocol's own choice.
        if type(addr) is not tuple:
            return None
        account = amplification.find(addr)
        if account is not None:
            return account
        return None if amplification.permitsStranger(size) else _REFUSED

    def _tooMuch(self, account: Account, addr: Peer) -> None:
        assert self._amplification is not None
        self.countDropped(
            "it was for an address that has sent nothing, and too much was for such"
            if account is _REFUSED
            else f"{AMPLIFIES}{self._amplification.factor:g} times what its source sent, "
            "which has not proved its address",
            addr,
        )

    def addressProved(self, addr: Peer) -> None:
        """
        An address is its sender's: what it is sent is no longer limited.
        """
        if self._amplification is not None and isinstance(addr, tuple):
            self._amplification.prove(addr)

    def isAddressProved(self, addr: Peer) -> bool:
        """
        Say whether an address is known to be its sender's.
        """
        if self._provesAddress or not isinstance(addr, tuple):
            return bool(addr)
        return self._amplification is not None and self._amplification.isProved(addr)

    def forgetAddress(self, addr: Peer) -> None:
        """
        An address may be somebody else's now: it has to prove itself again.
        """
        if self._amplification is not None and isinstance(addr, tuple):
            self._amplification.forget(addr)

    def connect(self, host: str, port: int) -> None:
        """
        Exchange datagrams with one peer only; C{write} then needs no address.
        """
        self._connected = True
        self._answer = self._send
        self._port.connect(host, port)
        # It is the protocol's own choice.
        self.addressProved((host, port))

    def writeSequence(self, iovec: Iterable[bytes], addr: Any = None) -> None:
        """
        Send several pieces as one datagram.
        """
        self.write(b"".join(iovec), addr)

    # What else the port can do.  Named one by one: with a __getattr__ Python
    # looks every attribute up the slow way, 0.3 microseconds for each datagram.

    getHost = _ofPort("getHost")
    stopListening = _ofPort("stopListening")
    setBroadcastAllowed = _ofPort("setBroadcastAllowed")
    getBroadcastAllowed = _ofPort("getBroadcastAllowed")
    joinGroup = _ofPort("joinGroup")
    leaveGroup = _ofPort("leaveGroup")
    getTTL = _ofPort("getTTL")
    setTTL = _ofPort("setTTL")
    getLoopbackMode = _ofPort("getLoopbackMode")
    setLoopbackMode = _ofPort("setLoopbackMode")
    getOutgoingInterface = _ofPort("getOutgoingInterface")
    setOutgoingInterface = _ofPort("setOutgoingInterface")
    startReading = _ofPort("startReading")
    stopReading = _ofPort("stopReading")
    fileno = _ofPort("fileno")
    getHandle = _ofPort("getHandle")
    getPeerCertificate = _ofPort("getPeerCertificate")  # of dtls
    socket = _ofPort("socket")

    # Counting what is lost.

    def countDropped(self, reason: str, peer: Peer) -> None:
        """
        Count a datagram that was not delivered, or not sent.

        Args:
            reason: Why, in a few words: few reasons, and no peer's bytes.
            peer: Its source or destination.
        """
        self.drops.add(reason, peer)
