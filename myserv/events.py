"""
The facts of a server's life: a closed set.

Nothing in the core logs, counts or prints; it emits one of these, and whoever
wants to know observes them (L{myserv.interfaces.IEventObserver}).  An event is
a plain value: cheap to make, safe to keep.  None is emitted per message.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from attrs import Factory, frozen
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

Peer = IAddress | tuple[str, int] | str | bytes | None
"""Who is at the other end: an address object of a stream, or what a datagram
socket names a source by (C{None}: a UNIX socket without a name)."""


class SessionEnd(enum.Enum):
    """Why a datagram session is over; the value says it in a few words."""

    CLOSED = "the protocol ended it"
    IDLE = "the peer was silent for too long"
    DISPLACED = "the peer had not proved its address, and there was no room"
    PEER_LOST = "the peer is gone"
    RAISED = "the protocol raised an exception"
    STOPPED = "the listener stopped"


@frozen
class ServiceStarted:
    """Every endpoint of a service is open."""

    service: str


@frozen
class ServiceStopped:
    """A service has closed its endpoints and its last connection."""

    service: str


@frozen
class ListenerStarted:
    """
    An endpoint is open.

    @ivar endpoint: The endpoint string, in its canonical form.
    @ivar address: What the socket is bound to, C{None} where it has no address.
    """

    service: str
    endpoint: str
    address: IAddress | None


@frozen
class ListenerSuspended:
    """A listener accepts nothing new; arrivals wait in the kernel."""

    service: str
    endpoint: str


@frozen
class ListenerResumed:
    """A suspended listener accepts again."""

    service: str
    endpoint: str


@frozen
class ListenerStopped:
    """An endpoint is closed and so is the last of its connections."""

    service: str
    endpoint: str


@frozen
class ListenerFailed:
    """An endpoint could not be opened, or failed while it was open."""

    service: str
    endpoint: str
    reason: str


@frozen
class ConnectionStarted:
    """
    A peer is connected and its protocol is built.

    @ivar number: Counts the connections of this process, from 1.
    """

    service: str
    number: int
    peer: Peer


@frozen
class ConnectionEnded:
    """
    A connection is gone.

    @ivar reason: Why, in a few words.
    @ivar duration: How long it lasted, in seconds.
    @ivar bytesReceived: What the protocol was given.
    @ivar bytesSent: What the protocol wrote.
    """

    service: str
    number: int
    peer: Peer
    reason: str
    duration: float
    bytesReceived: int
    bytesSent: int


@frozen
class ConnectionRefused:
    """A peer was turned away before a protocol was built for it."""

    service: str
    peer: Peer
    reason: str


@frozen
class HandshakeFailed:
    """
    A peer was connected and did not get as far as a protocol.

    @ivar layer: The prefix of the wrapper that it failed at.
    @ivar reason: Why, in a few words.
    """

    service: str
    peer: Peer
    layer: str
    reason: str


@frozen
class CertificateLoaded:
    """
    A certificate is in force for new connections.

    @ivar file: Where it was read.
    @ivar names: The names that it holds.
    @ivar notAfter: When it expires, in seconds since 1970.
    """

    service: str
    endpoint: str
    file: str
    names: tuple[str, ...]
    notAfter: float


@frozen
class CertificateRejected:
    """A certificate could not be used; what was in force before stays so."""

    service: str
    endpoint: str
    reason: str


@frozen
class CertificateExpiring:
    """
    A certificate in force will expire soon, or has.

    @ivar file: Where it was read.
    @ivar left: Seconds until it expires; less than 0 when it has.
    """

    service: str
    endpoint: str
    file: str
    left: float


@frozen
class AssociationStarted:
    """
    A peer without a connection has proved where and, if asked, who it is: over
    DTLS it has finished its handshake.

    @ivar number: Counts the associations of this process, from 1.
    """

    service: str
    number: int
    peer: Peer


@frozen
class AssociationEnded:
    """
    An association is over.

    @ivar reason: Why, in a few words.
    @ivar duration: How long it lasted, in seconds.
    @ivar bytesReceived: What the protocol was given.
    @ivar bytesSent: What the protocol wrote.
    """

    service: str
    number: int
    peer: Peer
    reason: str
    duration: float
    bytesReceived: int
    bytesSent: int


@frozen
class DatagramsDropped:
    """
    Datagrams that were not delivered, or answers that were not sent.

    @ivar reason: Why, in a few words.
    @ivar count: How many since the last such event of this listener.
    @ivar peer: The source (or destination) of the last of them.
    """

    service: str
    endpoint: str
    reason: str
    count: int
    peer: Peer


@frozen
class ProtocolRaised:
    """
    A protocol raised an exception: a bug in the protocol, not in the peer.

    @ivar during: The name of the method that raised.
    """

    service: str
    peer: Peer
    during: str
    failure: Failure


@frozen
class PeerPenalized:
    """A protocol reported a peer's misbehaviour."""

    service: str
    peer: Peer
    reason: str


@frozen
class ProtocolEvent:
    """
    Something that a protocol wants known.

    @ivar message: One readable line.
    @ivar fields: The same as data, for whoever counts or indexes it.
    """

    service: str
    message: str
    fields: Mapping[str, object] = Factory(dict)


Event = (
    ServiceStarted
    | ServiceStopped
    | ListenerStarted
    | ListenerSuspended
    | ListenerResumed
    | ListenerStopped
    | ListenerFailed
    | ConnectionStarted
    | ConnectionEnded
    | ConnectionRefused
    | HandshakeFailed
    | CertificateLoaded
    | CertificateRejected
    | CertificateExpiring
    | AssociationStarted
    | AssociationEnded
    | DatagramsDropped
    | ProtocolRaised
    | PeerPenalized
    | ProtocolEvent
)
