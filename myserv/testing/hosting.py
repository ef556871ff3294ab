"""
A plugin, hosted in memory by the server's own listeners.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, gatherResults

from myserv.admission.server import ServerAdmission
from myserv.events import Offence, Peer
from myserv.interfaces import (
    IDatagramProtocolPlugin,
    IProtocolPlugin,
    IServerContext,
    IStreamProtocolPlugin,
)
from myserv.limits import DEFAULT_LIMITS, Limits, PenaltyLimits, structureLimits
from myserv.observe.observers import Observers
from myserv.options.structure import structure
from myserv.server.context import ServiceContext
from myserv.server.datagram import DatagramListener
from myserv.server.listener import STOP_GRACE, Listener
from myserv.server.reflection import OwnSockets
from myserv.server.stream import StreamListener
from myserv.testing.datagram import (
    NEW_PORT,
    DatagramAddress,
    MemoryDatagramEndpoint,
    MemoryDatagramPeer,
)
from myserv.testing.reactor import SteppedReactor
from myserv.testing.recording import RecordingObserver
from myserv.testing.stream import MemoryEndpoint, MemoryPeer, StreamAddress

ENDPOINT_NAME: Final = "memory"
"""What the events of a memory server call its endpoint."""


class MemoryServer:
    """
    A plugin that is being served, over streams, datagrams or both.

    @ivar reactor: The clock, and all that moves.
    @ivar context: What the plugin was given of the server.
    @ivar observer: What became known; L{RecordingObserver.ofType} asks it.
    @ivar admission: Who may connect.
    @ivar serverAdmission: What of that would hold for other services, too.
    @ivar streamListener: Its listener of connections, if the plugin has them.
    @ivar datagramListener: Its listener of datagrams, if the plugin has them.
    @ivar streamEndpoint: Where its clients connect to.
    @ivar datagramEndpoint: Where its clients send to.
    """

    def __init__(
        self,
        plugin: IProtocolPlugin,
        options: object,
        context: IServerContext,
        reactor: SteppedReactor,
        observer: RecordingObserver,
        *,
        provesAddress: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        penalties: PenaltyLimits | None = None,
    ) -> None:
        """
        See L{hostPlugin}, which makes and starts one.
        """
        self.reactor = reactor
        self.context = context
        self.observer = observer
        self.streamEndpoint = MemoryEndpoint(reactor)
        self.datagramEndpoint = MemoryDatagramEndpoint(reactor)
        self.serverAdmission = ServerAdmission(
            reactor.seconds, context.emit, penalties=penalties or PenaltyLimits()
        )
        self.admission = self.serverAdmission.service(context.name, limits)
        self.streamListener: StreamListener | None = None
        self.datagramListener: DatagramListener | None = None
        if IStreamProtocolPlugin.providedBy(plugin):
            self.streamListener = StreamListener(
                context.name,
                ENDPOINT_NAME,
                self.streamEndpoint,
                plugin.buildFactory(context, options),
                reactor,
                context.emit,
                admission=self.admission,
                penalize=self.serverAdmission.penalize,
            )
        if IDatagramProtocolPlugin.providedBy(plugin):
            self.datagramListener = DatagramListener(
                context.name,
                ENDPOINT_NAME,
                self.datagramEndpoint,
                plugin.buildDatagramProtocol(context, options),
                reactor,
                context.emit,
                answersAnything=plugin.answersAnything,
                provesAddress=provesAddress,
                # Another test's servers are no sockets of this one.
                ownSockets=OwnSockets(),
                admission=self.admission,
                penalize=self.serverAdmission.penalize,
            )

    @property
    def listeners(self) -> list[Listener]:
        """
        Its listeners, one or two.
        """
        return [each for each in (self.streamListener, self.datagramListener) if each is not None]

    def start(self) -> None:
        """
        Open; L{hostPlugin} has done so already.

        Raises:
            RuntimeError: It is open.
        """
        self._wait([each.start() for each in self.listeners], 0.0)

    def stop(self, grace: float = STOP_GRACE) -> None:
        """
        Close, and wait until the last connection has gone; L{start} opens it
        again.

        Args:
            grace: Seconds that connections have before they are aborted.
        """
        self._wait([each.stop(grace) for each in self.listeners], grace)

    def _wait(self, waiting: list[Deferred[None]], limit: float) -> None:
        outcome: list[object] = []
        together = gatherResults(waiting, consumeErrors=True)
        together.addBoth(outcome.append)
        self.settle()
        if not outcome:
            self.advance(limit)
        if not outcome:
            raise RuntimeError(f"{self.listeners} did not get there in {limit} seconds")
        raiseException = getattr(outcome[0], "raiseException", None)
        if raiseException is not None:
            raiseException()

    def connect(self, address: StreamAddress | None = None) -> MemoryPeer:
        """
        Connect a client; see L{MemoryEndpoint.connect}.
        """
        return self.streamEndpoint.connect(address)

    def datagramPeer(self, address: DatagramAddress = NEW_PORT) -> MemoryDatagramPeer:
        """
        Make a client that sends datagrams; see L{MemoryDatagramEndpoint.peer}.
        """
        return self.datagramEndpoint.peer(address)

    def settle(self) -> bool:
        """
        Let everything happen that needs no time.

        Returns:
            Whether there is nothing left to happen.
        """
        return self.reactor.settle()

    def advance(self, seconds: float) -> None:
        """
        Move time forward, and let everything happen that is due.
        """
        self.reactor.advance(seconds)


def hostPlugin(
    plugin: IProtocolPlugin,
    options: object = None,
    *,
    name: str | None = None,
    reactor: SteppedReactor | None = None,
    portal: Portal | None = None,
    directory: Path | None = None,
    provesAddress: bool = False,
    limits: Mapping[str, object] | None = None,
    penalties: PenaltyLimits | None = None,
) -> MemoryServer:
    """
    Serve a plugin in memory::

        server = hostPlugin(echo)
        peer = server.connect()
        peer.send(b"hello")
        server.settle()
        assert peer.received == b"hello"

    Args:
        plugin: What to serve.
        options: An instance of its C{optionsType}, or a mapping of what an
            operator would write, or C{None} for the defaults.
        name: The service's name; the plugin's when omitted.
        reactor: The clock to share with other servers or with the test.
        portal: Where peers log in.
        directory: Where the server keeps files; when omitted, a temporary
            directory that is made when it is needed and goes with the server.
        provesAddress: No datagram comes from where it does not say, as through
            C{dtls}: answers may be of any size.
        limits: What its peers may do, as an operator would write it.
        penalties: What misbehaviour costs them.

    Returns:
        The server, started.

    Raises:
        ConfigurationError: The options are wrong, or the plugin refused them.
    """
    reactor = SteppedReactor() if reactor is None else reactor
    observer = RecordingObserver()
    temporary = None
    if directory is None:
        temporary = directory = Path(tempfile.gettempdir(), f"myserv-testing-{uuid.uuid4().hex}")
    # The context is made before what it is to penalize with.
    made: list[MemoryServer] = []

    def penalize(service: str, peer: Peer, reason: str, offence: Offence) -> None:
        made[0].serverAdmission.penalize(service, peer, reason, offence)

    context = ServiceContext(
        name or plugin.name, reactor, Observers(observer).emit, directory, portal, penalize
    )
    server = MemoryServer(
        plugin,
        _optionsOf(plugin, options),
        context,
        reactor,
        observer,
        provesAddress=provesAddress,
        limits=structureLimits(getattr(plugin, "limits", {}), limits or {}),
        penalties=penalties,
    )
    made.append(server)
    if temporary is not None:
        weakref.finalize(server, shutil.rmtree, temporary, ignore_errors=True)
    server.start()
    return server


def _optionsOf(plugin: IProtocolPlugin, options: Any) -> object:
    if options is None or isinstance(options, Mapping):
        return structure(plugin.optionsType, options or {})
    return options
