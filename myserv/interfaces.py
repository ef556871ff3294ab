"""
Every contract, and no logic.

Stream endpoint parsers have no contract here: they implement Twisted's own
C{IStreamServerEndpointStringParser}.  Twisted has none for datagrams, so the
two at the end mirror it.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from zope.interface import Attribute, Interface

from myserv.events import Event, Offence, Peer, SessionEnd


class IServerContext(Interface):
    """All of the server that a plugin may touch."""

    name: str = Attribute("The name of the service, as the operator gave it.")
    reactor: IReactorTime = Attribute("The reactor that serves; a Clock in tests.")
    portal: Portal | None = Attribute(
        "Where peers log in, or None: the service was given no authentication."
    )
    directory: Path = Attribute(
        "Where this service may keep files: made with mode 0700 when first read."
    )

    def emit(event: Event) -> None:
        """
        Make a fact known to logs, metrics and consoles.
        """

    def penalize(peer: Peer, reason: str, offence: Offence = Offence.PROTOCOL) -> None:
        """
        Count misbehaviour against a peer.

        One that collects too much of it is refused for a while, by every service.
        The connection at hand is the protocol's to close.

        Args:
            peer: C{transport.getPeer()}, or the address a datagram came from.
            reason: What it did, in a few words.
            offence: What kind of misbehaviour it is; the operator says what each
                kind costs.
        """


class IProtocolPlugin(Interface):
    """
    A protocol that can be hosted.

    This is the common part: provide L{IStreamProtocolPlugin},
    L{IDatagramProtocolPlugin} or both.
    """

    name: str = Attribute("What an operator calls it: lower case, digits, hyphens.")
    description: str = Attribute("One line for --help.")
    optionsType: type | None = Attribute(
        "A frozen attrs class of L{myserv.plugin.option} fields, or None."
    )


class IStreamProtocolPlugin(IProtocolPlugin):
    """A protocol over connections."""

    def buildFactory(context: IServerContext, options: Any) -> IProtocolFactory:
        """
        Make the factory that builds one protocol per connection.

        Called once for each service, before its first endpoint opens.

        Args:
            context: What the plugin may touch of the server.
            options: An instance of C{optionsType}; C{None} where that is None.

        Raises:
            ConfigurationError: What the options ask for cannot be had (a file
                is missing, say).  The server does not start.
        """


class IDatagramProtocolPlugin(IProtocolPlugin):
    """A protocol over datagrams."""

    answersAnything: bool = Attribute(
        """
        True of a protocol that answers whatever it is sent, as echo does.  It
        is then never handed a datagram from a privileged or a known reflector
        port, because the answer would start a loop (CVE-2024-2169).
        """
    )

    def buildDatagramProtocol(context: IServerContext, options: Any) -> DatagramProtocol:
        """
        Make the protocol of one listener.

        Called once for each datagram endpoint, before it opens.  Arguments and
        errors are those of L{IStreamProtocolPlugin.buildFactory}.
        """


class IDatagramTransport(IUDPTransport):
    """
    What C{transport} is to a protocol over datagrams.

    A source that has not proved its address is sent at most three times what
    it sent, because it may be forged (RFC 9000, section 8.1).  The protocol
    knows when it has: it sent back what only its owner can have received.
    """

    def addressProved(addr: Peer) -> None:
        """
        An address is its sender's: what it is sent is no longer limited.

        Args:
            addr: As C{datagramReceived} got it.
        """

    def isAddressProved(addr: Peer) -> bool:
        """
        Say whether an address is known to be its sender's.

        It is after L{addressProved}; through a layer that proves it, such as
        C{dtls}; and that of a UNIX socket always is.
        """

    def forgetAddress(addr: Peer) -> None:
        """
        An address may be somebody else's now: it has to prove itself again.
        """

    def countDropped(reason: str, peer: Peer) -> None:
        """
        Count a datagram that the protocol does not take, for the operator.

        Args:
            reason: Why, in a few words: few reasons, and no peer's bytes.
            peer: Where it came from.
        """


class ISessionTransport(Interface):
    """
    What C{transport} is to a session: its peer, and what can be done about it.
    """

    peer: Peer = Attribute("Where its datagrams go; another address once the peer has moved.")
    isProved: bool = Attribute("The peer has proved its address, this one or an earlier one.")

    def write(datagram: bytes) -> None:
        """
        Send a datagram to the peer.

        Nothing is sent once C{sessionLost} has returned, and to a peer that has
        not proved its address nothing beyond three times what it sent.

        Raises:
            MessageLengthError: It is larger than any datagram can be.
        """

    def addressProved() -> None:
        """
        The peer sent what only the owner of its address can have received.

        What it is sent is no longer limited, and the session is no longer
        among the first to go where there are too many.
        """

    def setKey(key: Hashable) -> None:
        """
        Let datagrams that carry a key find this session from any address.

        Which key a datagram carries is what the plugin's C{sessionKey} says.

        Args:
            key: One that nobody else can guess.  It replaces the one before;
                C{None}: no key.

        Raises:
            ValueError: Another session has it.
        """

    def loseSession() -> None:
        """
        End the session; C{sessionLost} is called before this returns.

        The peer is not told: say goodbye first, where the protocol has a word
        for it.  What the peer sends later starts another session.
        """


class IDatagramSession(Interface):
    """
    One peer of a protocol over datagrams.

    L{myserv.plugin.DatagramSession} provides it and does nothing in each of
    these.  An exception in any of them ends this session and no other.
    """

    transport: ISessionTransport = Attribute("Set before C{sessionStarted}.")

    def sessionStarted() -> None:
        """
        A peer's first datagram is there, and will be delivered next.

        Its source may be forged, so do nothing costly yet.
        """

    def datagramReceived(datagram: bytes) -> None:
        """
        A datagram came in from the peer.
        """

    def moveRequested(datagram: bytes, address: Peer) -> bool:
        """
        A datagram with this session's key came from another address.

        A NAT has given the peer another port, or somebody who saw the key wants
        to be taken for it.  Agree only where the datagram itself proves that it
        is the peer's and is not an old one repeated: by a MAC, and a number
        that counts up (as RFC 9146, section 6, asks).  Then the session moves,
        the datagram is delivered, and the new address has to prove itself.

        Args:
            datagram: The datagram, whole.
            address: Where it came from.

        Returns:
            Whether the session moves.  If not, the datagram is dropped.
        """

    def sessionLost(reason: SessionEnd) -> None:
        """
        It is over.  Called exactly once for each session.

        A last datagram may still be written; it is dropped where the peer or
        the socket is gone.
        """


class IPeerObserver(Interface):
    """
    Optional, on a C{DatagramProtocol}: it wants to know when peers go.
    """

    def peerLost(peer: Peer) -> None:
        """
        A layer between here and the wire, such as C{dtls}, has ended its
        association with a peer, or has lost it.

        Args:
            peer: As C{datagramReceived} got it.
        """


class IPeerCredentials(Interface):
    """
    Who is at the other end of a UNIX socket, as the kernel knows it.

    A protocol reads it as C{transport.peerCredentials}.  It is of the moment
    when the peer connected.
    """

    pid: int = Attribute("The number of the process.")
    uid: int = Attribute("The user that it ran as.")
    gid: int = Attribute("The group that it ran as.")
    groups: tuple[int, ...] = Attribute("All the groups that it had, that one first.")


class IConnectionTransport(Interface):
    """
    What C{transport} is to a protocol over connections, beside C{ITCPTransport}.
    """

    def clientEstablished() -> None:
        """
        The client is who it should be, and means business: it has logged in, say.

        Until then the limits C{establish}, C{minimumRate} and C{maxUnestablished}
        hold for it.  Calling it again does nothing.
        """


class IArrival(Interface):
    """
    A connection asking to be let in.
    """

    address: Any = Attribute("Its C{getPeer()}: where it comes from.")
    service: str = Attribute("The name of the service that it wants.")
    endpoint: str = Attribute("The endpoint string where it arrived, in its canonical form.")
    peer: int | None = Attribute(
        """
        A number for the peer that it counts as, of as many bits as the limits say;
        C{None} of one that has no IP address.
        """
    )
    credentials: IPeerCredentials | None = Attribute(
        "Who it is, over a UNIX socket; C{None} where that is not known."
    )


class IAdmissionRule(Interface):
    """
    Decides about arrivals.  Synchronous, and without any input or output.
    """

    def admit(arrival: IArrival) -> str | None:
        """
        Let an arrival in, or not.

        Returns:
            C{None}: this rule lets it in.  Otherwise why not: one of few sentences,
            so that refusals can be counted by it.
        """

    def release(arrival: IArrival) -> None:
        """
        An arrival that this rule let in is gone, or another rule did not let it in.

        Called exactly once for each that L{admit} returned C{None} for.
        """


class IDrainable(Interface):
    """
    Optional, on a C{Protocol} or a C{DatagramProtocol}: it can say goodbye.
    """

    def drainRequested(deadline: float) -> None:
        """
        The server is going away: finish what is under way, then close.

        Args:
            deadline: Seconds until the connection is closed anyway; 0 for
                datagrams: nothing is sent after this returns.
        """


class IMessageProtocol(Interface):
    """
    Optional, on a C{Protocol}: it wants whole messages.

    Where messages come through, as they do over C{websocket:}, its transport is an
    L{IMessageTransport}, and each message is handed to it whole instead of as bytes
    to C{dataReceived}.  Over a plain stream there are none: it is handed bytes if it
    has a C{dataReceived} of its own, and every connection is refused if it has not.
    """

    def messageReceived(message: bytes | str) -> None:
        """
        A message came: text as C{str}, anything else as C{bytes}.
        """


class IMessageTransport(Interface):
    """What the transport of an L{IMessageProtocol} can do beside C{ITransport}."""

    def sendMessage(message: bytes | str) -> None:
        """
        Send a message, whole: C{str} as text, C{bytes} as binary.

        C{write} sends a message, too, as the endpoint says for a stream of bytes.
        """


class IWebSocketTransport(Interface):
    """What the transport of any protocol behind C{websocket:} can tell."""

    webSocketRequest: Any = Attribute(
        """
        What the client asked for: C{path}, C{query}, C{headers} (pairs, names in
        lower case), C{origin} and C{subprotocol} (C{None} where there is none).
        """
    )


class IEventObserver(Interface):
    """
    Wants to know the facts of L{myserv.events}.

    It may have an attribute C{ignores}, a C{frozenset} of types of events: it is not
    told of those, and those that no observer wants need not even be made.  The set does
    not change; without it, an observer is told of everything.
    """

    def observe(event: Event) -> None:
        """
        Called for each event, in order, inside the reactor: be quick.
        """


class IDatagramServerEndpoint(Interface):
    """
    A place to receive datagrams.  Mirrors C{IStreamServerEndpoint}.
    """

    def listen(protocol: DatagramProtocol) -> Deferred[IListeningPort]:
        """
        Open the socket and hand its datagrams to C{protocol}.

        Returns:
            Fires with the open port, or fails with C{CannotListenError}.

        Resources:
            The caller stops the port.
        """


class IDatagramServerEndpointStringParser(Interface):
    """
    A Twisted plugin that makes a datagram endpoint out of a string.  Mirrors
    C{IStreamServerEndpointStringParser}.
    """

    prefix: str = Attribute("The first word of the strings it parses.")

    def parseDatagramServer(reactor: Any, *args: str, **kwargs: str) -> IDatagramServerEndpoint:
        """
        Args:
            reactor: Where the endpoint will listen.
            args: The positional parameters, unescaped.
            kwargs: The C{key=value} parameters, unescaped.

        Raises:
            ValueError: The parameters are wrong; its text tells the operator.
        """


class IListenerContext(Interface):
    """All of a listener that a wrapper may touch."""

    service: str = Attribute("The name of the service.")
    endpoint: str = Attribute("The endpoint string, in its canonical form.")
    reactor: IReactorTime = Attribute("The reactor that serves; a Clock in tests.")

    def emit(event: Event) -> None:
        """
        Make a fact known to logs, metrics and consoles.
        """

    def penalize(peer: Peer, reason: str, offence: Offence = Offence.PROTOCOL) -> None:
        """
        Count misbehaviour against a peer; see L{IServerContext.penalize}.
        """

    def handshakeStarted(layer: IAbortable) -> None:
        """
        A peer is connected and has no protocol yet.

        Every call is followed by one of L{handshakeEnded}.  A listener that drains
        waits for the layers that are between the two, and aborts them at its deadline.
        """

    def handshakeEnded(layer: IAbortable) -> None:
        """
        The peer has a protocol now, or is gone.
        """


class IAbortable(Interface):
    """A connection that can be cut."""

    def abortConnection() -> None:
        """
        Close at once, whatever waits to be sent.
        """


class IReloadable(Interface):
    """Optional, on what a wrapper makes: it reads files that may change."""

    def reload() -> None:
        """
        Read them again.  What is wrong with them becomes an event, and what was
        read before stays in force.
        """


class IEndpointWrapper(Interface):
    """
    A layer between the wire and a protocol, as C{tls} is.

    In an endpoint string it stands before what it wraps, nearest the protocol
    first.  One from another package is a Twisted plugin that provides
    L{IStreamWrapper} or L{IDatagramWrapper}; this is their common part.
    """

    prefix: str = Attribute("Its first word in an endpoint string.")
    description: str = Attribute("One line for the reference.")
    optionsType: type = Attribute(
        """
        A frozen attrs class of L{myserv.plugin.option} fields: the keys it
        claims.  A key that it does not declare goes to what it wraps.
        """
    )


class IStreamWrapper(IEndpointWrapper):
    """
    A layer over connections.

    One that learns who the peer truly is, as C{proxy} does, has an attribute
    C{namesPeer} that is true: admission is then asked after it instead of before.
    One whose transports are L{IMessageTransport}, as those of C{websocket} are, has an
    attribute C{carriesMessages} that is true: protocols that take nothing but messages
    are refused at start-up where no layer has it.
    """

    def wrapFactory(
        context: IListenerContext, options: Any, factory: IProtocolFactory
    ) -> IProtocolFactory:
        """
        Put the layer in front of a factory.

        Called once for each listener, before it opens.  The factory that is
        returned has to pass C{doStart} and C{doStop} on.

        Args:
            context: The listener.
            options: An instance of C{optionsType}.
            factory: The factory nearer the protocol.

        Raises:
            ConfigurationError: The options ask for what cannot be had.
        """


class IDatagramWrapper(IEndpointWrapper):
    """A layer over datagrams."""

    provesAddress: bool = Attribute(
        "A datagram that it hands on is from where it says: no forged source gets this far."
    )

    def wrapProtocol(
        context: IListenerContext, options: Any, protocol: DatagramProtocol
    ) -> DatagramProtocol:
        """
        Put the layer in front of a protocol.

        Called once for each listener, before it opens.

        Args:
            context: The listener.
            options: An instance of C{optionsType}.
            protocol: The protocol nearer the service's.

        Raises:
            ConfigurationError: The options ask for what cannot be had.
        """
