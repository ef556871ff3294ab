"""
One peer's DTLS, from when its address is proved to the goodbye.

OpenSSL works on memory here, and knows the handshake, the order of its messages, the
records' keys and the replay window.  What is done for it: it is handed datagrams,
what it writes is cut into datagrams again, and it is told when to retransmit.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final, Protocol

from OpenSSL import SSL
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from myserv.endpoints.dtls.hello import ClientHello
from myserv.endpoints.dtls.records import MAXIMUM_PLAIN, pack, renumber
from myserv.endpoints.failure import describeOpenSSLError
from myserv.endpoints.tls.policy import GROUPS
from myserv.endpoints.tls.store import Certificates

_FLIGHT: Final = 64 * 1024
"""Bytes to read at a time of what OpenSSL wrote: more than any flight has."""

_OVERHEAD: Final = 256
"""Bytes that a record is longer than what is in it, at most."""

# The record of a fatal alert, handshake_failure, from before there are keys: the
# one record that has been written is the HelloVerifyRequest.
_REFUSAL: Final = b"\x15\xfe\xfd\0\0\0\0\0\0\0\x01\0\x02\x02\x28"


class Home(Protocol):
    """
    What an association belongs to.

    @ivar mtu: Bytes that a datagram of a handshake may have.
    @ivar handshakeTimeout: Seconds that a handshake may take.
    @ivar idleTimeout: Seconds without a word from the peer that end it.
    """

    reactor: IReactorTime
    mtu: int
    handshakeTimeout: float
    idleTimeout: float

    def send(self, datagram: bytes, address: Any) -> None:
        """Send a datagram to a peer."""

    def deliver(self, association: Association, plain: bytes) -> None:
        """The peer said something."""

    def handshakeDone(self, association: Association) -> None:
        """The peer has proved itself."""

    def handshakeFailed(self, association: Association, reason: str) -> None:
        """It is over before it began."""

    def ended(self, association: Association, reason: str) -> None:
        """It is over."""


class Association:
    """
    One peer.

    It is in its handshake, then open, then over; once it is over it never speaks
    again and holds no timer.

    @ivar address: Who it is.
    @ivar cookie: What the ClientHello showed that it began with.
    @ivar isOpen: The handshake is done, and nobody has said goodbye.
    @ivar number: Counts the associations of this process; 0 before it is open.
    @ivar started: When it opened, by the reactor's clock.
    @ivar bytesReceived: What the protocol was given.
    @ivar bytesSent: What the protocol wrote.
    """

    __slots__ = (
        "_certificates",
        "_connection",
        "_due",
        "_groupChecked",
        "_heard",
        "_home",
        "_isOver",
        "_offset",
        "_timer",
        "address",
        "bytesReceived",
        "bytesSent",
        "cookie",
        "isOpen",
        "number",
        "started",
    )

    def __init__(self, home: Home, address: Any, certificates: Certificates) -> None:
        """
        Args:
            home: What it belongs to.
            address: Where the peer is.
            certificates: What it is shown.
        """
        self._home = home
        # Kept until the handshake is over: a renewal in the midst of it must not
        # take away the callbacks that OpenSSL may still call.
        self._certificates: Certificates | None = certificates
        self._connection = SSL.Connection(certificates.default, None)
        self._connection.set_accept_state()
        self._timer: IDelayedCall | None = None
        # Until it is open: when it has to be.  Then: unused.
        self._due = home.reactor.seconds() + home.handshakeTimeout
        self._heard = 0.0
        self._isOver = False
        self._groupChecked = False
        self._offset = 0
        self.address = address
        self.cookie = b""
        self.isOpen = False
        self.number = 0
        self.started = 0.0
        self.bytesReceived = 0
        self.bytesSent = 0

    # The handshake.

    def accept(self, hello: ClientHello, datagram: bytes) -> bool:
        """
        Take the ClientHello whose cookie was found good.

        Args:
            hello: It, as far as it was read.
            datagram: The datagram that it begins.

        Returns:
            Whether OpenSSL takes it for one as well; L{shakeHands} is next.
        """
        self.cookie = hello.cookie
        # The first answer has the number of the ClientHello (RFC 6347, section
        # 4.2.1), or a client that had to ask twice would take it for a second
        # HelloVerifyRequest and throw it away.  OpenSSL starts at 1, always.
        self._offset = int.from_bytes(hello.sequence, "big") - 1
        self._connection.bio_write(datagram)
        try:
            # The context says yes to every cookie: this one is known to be good.
            self._connection.DTLSv1_listen()
        except SSL.Error:
            return False
        # Not earlier: listening forgets it.
        self._connection.set_ciphertext_mtu(self._home.mtu)
        return True

    def shakeHands(self) -> None:
        """
        Go on with the handshake as far as what has come allows.
        """
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            if self._groupIsAccepted():
                self._flush()
                self._arm()
            return
        except SSL.Error as error:
            # What OpenSSL has to say about it goes out first: an alert.
            self._flush()
            unknown = self._certificates is not None and self._certificates.refused(
                self._connection
            )
            self._fail(
                "it asked for a name that is not here" if unknown else describeOpenSSLError(error)
            )
            return
        self._flush()
        self._cancelTimer()
        self._certificates = None
        home = self._home
        self.isOpen = True
        self.started = self._heard = home.reactor.seconds()
        self._timer = home.reactor.callLater(home.idleTimeout, self._checkIdle)
        home.handshakeDone(self)
        # What was sent right behind the handshake may have come before its end.
        self._drain()

    def _groupIsAccepted(self) -> bool:
        # The key exchange is agreed on by now, and nobody has been told yet.
        if self._groupChecked:
            return True
        group = self._connection.get_group_name()
        if group is None:
            return True
        self._groupChecked = True
        if group.lower() in GROUPS:
            return True
        self._home.send(renumber(_REFUSAL, self._offset), self.address)
        self._fail(f"the key exchange {group} is not accepted")
        return False

    def _fail(self, reason: str) -> None:
        self.abandon()
        self._home.handshakeFailed(self, reason)

    def _arm(self) -> None:
        wait = self._connection.DTLSv1_get_timeout()
        left = self._due - self._home.reactor.seconds()
        delay = max(0.0, left if wait is None else min(wait, left))
        if self._timer is None:
            self._timer = self._home.reactor.callLater(delay, self._retransmit)
        else:
            self._timer.reset(delay)

    def _retransmit(self) -> None:
        self._timer = None
        if self._home.reactor.seconds() >= self._due:
            self._fail("it took too long")
            return
        try:
            # OpenSSL looks at its own clock: if it is early, nothing happens.
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self._fail(describeOpenSSLError(error))
            return
        self._flush()
        self._arm()

    # From the wire.

    def datagramReceived(self, datagram: bytes) -> None:
        """
        Take whole records, of whatever kind.
        """
        self._connection.bio_write(datagram)
        if self.isOpen:
            self._drain()
        else:
            self.shakeHands()

    def decrypt(self, datagram: bytes) -> bytes | None:
        """
        Take one record of data; this is what nearly all datagrams are.

        Returns:
            What was in it; C{None} when there is nothing to hand on, because it
            was not the peer that wrote it, or it came before.
        """
        connection = self._connection
        connection.bio_write(datagram)
        try:
            plain = connection.recv(len(datagram))
        except SSL.WantReadError:
            return None
        except SSL.Error as error:
            self._broken(error)
            return None
        self._heard = self._home.reactor.seconds()
        self.bytesReceived += len(plain)
        return plain

    def _drain(self) -> None:
        while self.isOpen:
            try:
                plain = self._connection.recv(MAXIMUM_PLAIN)
            except SSL.WantReadError:
                # A flight that the peer asked for again, perhaps.
                self._flush()
                return
            except SSL.Error as error:
                self._broken(error)
                return
            self._heard = self._home.reactor.seconds()
            self.bytesReceived += len(plain)
            self._home.deliver(self, plain)

    def _broken(self, error: SSL.Error) -> None:
        if isinstance(error, SSL.ZeroReturnError):
            self.close("the peer closed it")
            return
        self._flush()
        self._end(describeOpenSSLError(error))

    # To the wire.

    def write(self, packet: bytes) -> None:
        """
        Send a datagram of the protocol's, in one record.

        Args:
            packet: Not empty, and at most L{MAXIMUM_PLAIN} bytes.
        """
        try:
            self._connection.send(packet)
            record = self._connection.bio_read(len(packet) + _OVERHEAD)
        except SSL.Error as error:
            self._broken(error)
            return
        self.bytesSent += len(packet)
        self._home.send(record, self.address)

    def _flush(self) -> None:
        while True:
            try:
                records = self._connection.bio_read(_FLIGHT)
            except SSL.WantReadError:
                return
            if self._offset:
                records = renumber(records, self._offset)
            for datagram in pack(records, self._home.mtu):
                self._home.send(datagram, self.address)

    # The end.

    def close(self, reason: str) -> None:
        """
        Say goodbye to the peer of an open association, or answer its goodbye.

        Args:
            reason: Why, in a few words.
        """
        # One that broke cannot say it.
        with contextlib.suppress(SSL.Error):
            self._connection.shutdown()
        self._flush()
        self._end(reason)

    def supersede(self, reason: str) -> None:
        """
        End an open association without a word: the peer has forgotten it.
        """
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self._isOver:
            return
        self.abandon()
        self._home.ended(self, reason)

    def abandon(self) -> None:
        """
        Let go of everything and tell nobody.
        """
        self._isOver = True
        self.isOpen = False
        self._certificates = None
        self._cancelTimer()

    def _cancelTimer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _checkIdle(self) -> None:
        # Datagrams only note when they came; the one timer looks at the note.
        self._timer = None
        home = self._home
        left = self._heard + home.idleTimeout - home.reactor.seconds()
        if left > 0:
            self._timer = home.reactor.callLater(left, self._checkIdle)
        else:
            self.close("idle")

    # What a protocol may want to know.

    @property
    def connection(self) -> SSL.Connection:
        """OpenSSL's own view of it."""
        return self._connection
