"""
What the factories that stand in front of another have in common.
"""

from __future__ import annotations

from twisted.internet.interfaces import IProtocolFactory, IProtocolNegotiationFactory
from twisted.internet.protocol import Factory
from zope.interface import alsoProvides


class OuterFactory(Factory):
    """
    Opens and closes with the factory behind it, and speaks for it.

    @ivar inner: The factory nearer the protocol.
    """

    noisy = False

    def __init__(self, service: str, inner: IProtocolFactory) -> None:
        """
        Args:
            service: The name of the service.
            inner: The factory nearer the protocol.
        """
        self.inner = inner
        self._service = service
        if IProtocolNegotiationFactory.providedBy(inner):
            # TLS, nearer the wire, asks for the ALPN names.
            alsoProvides(self, IProtocolNegotiationFactory)
            self.acceptableProtocols = inner.acceptableProtocols

    def logPrefix(self) -> str:
        """
        What Twisted's own log lines call it: the service's name.
        """
        return self._service

    def startFactory(self) -> None:
        """
        The endpoint opens.
        """
        self.inner.doStart()

    def stopFactory(self) -> None:
        """
        The endpoint closes.
        """
        self.inner.doStop()
