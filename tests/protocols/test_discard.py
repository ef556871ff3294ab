"""The discard service (RFC 863)."""

from __future__ import annotations

from twisted.internet.testing import FakeDatagramTransport

from myserv.protocols.discard.plugin import discard
from myserv.server.context import ServiceContext
from tests.protocols.conftest import CLIENT, Connect


def test_aConnectionIsReadAndNeverAnswered(connect: Connect) -> None:
    """
    It stays open: only the peer ends it.
    """
    protocol, transport = connect(discard)
    protocol.dataReceived(b"x" * 100_000)
    assert transport.value() == b""
    assert not transport.disconnecting


def test_aDatagramIsNeverAnswered(context: ServiceContext) -> None:
    """
    So it cannot be talked into a loop.
    """
    protocol = discard.buildDatagramProtocol(context, None)
    transport = FakeDatagramTransport()
    protocol.makeConnection(transport)
    protocol.datagramReceived(b"x", CLIENT)
    assert transport.written == []
    assert not discard.answersAnything
