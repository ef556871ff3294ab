"""
What is between a layer and a transport that may be full.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Outflow:
    """
    Knows whether the transport is full, and passes it on to the producer above.

    A transport has one producer and tells nobody else.  This is that one; the
    protocol's own, if it has one, stands behind.

    @ivar full: The transport holds back as much as it likes to.
    @ivar producing: A producer above has not finished.
    """

    def __init__(self, transport: Any, drained: Callable[[], None]) -> None:
        """
        Args:
            transport: The transport.
            drained: Told when it is not full any more.
        """
        self._transport = transport
        self._drained = drained
        self._producer: Any = None
        self._streaming = True
        self._ended = False
        self.full = False
        transport.registerProducer(self, True)

    @property
    def producing(self) -> bool:
        """A producer above has not finished."""
        return self._producer is not None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        The protocol has one: see C{IConsumer}.

        Raises:
            RuntimeError: It has one already.
        """
        if self._ended:
            producer.stopProducing()
            return
        if self._producer is not None:
            raise RuntimeError(
                f"Cannot register producer {producer}, because producer {self._producer} "
                "was never unregistered."
            )
        self._producer = producer
        if not streaming:
            self._register(streaming=False)

    def unregisterProducer(self) -> None:
        """
        The protocol's has finished.
        """
        self._producer = None
        if not self._streaming and not self._ended:
            # If it is full after all, the next write tells.
            self.full = False
            self._register(streaming=True)

    def _register(self, *, streaming: bool) -> None:
        self._streaming = streaming
        self._transport.unregisterProducer()
        self._transport.registerProducer(self, streaming)

    def end(self) -> None:
        """
        Nothing more is sent: the transport may close.
        """
        self._ended = True
        self._transport.unregisterProducer()

    def lost(self) -> None:
        """
        The transport is gone.
        """
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        del self._drained

    def pauseProducing(self) -> None:
        """
        The transport is full.
        """
        self.full = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """
        The transport has room, or, asked for each piece, has sent the last one.
        """
        self.full = False
        self._drained()
        if self._producer is not None:
            self._producer.resumeProducing()
            # Until it asks again.
            self.full = not self._streaming

    def stopProducing(self) -> None:
        """
        The transport is gone; the layer is told of that too.
        """
