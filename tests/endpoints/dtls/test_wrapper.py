"""What an operator writes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

from myserv.endpoints.dtls import DTLSOptions, DTLSWrapper
from myserv.endpoints.dtls.layer import DTLSLayer
from myserv.endpoints.parse import parseEndpoint
from myserv.errors import EndpointError
from myserv.interfaces import IDatagramWrapper
from myserv.testing import MemoryDatagramEndpoint, SteppedReactor
from tests.endpoints.certificates import issue
from tests.endpoints.dtls.openssl_clock import opensslClock
from tests.endpoints.dtls.stage import Client, Echo


def test_interface() -> None:
    """It is a wrapper of datagrams that proves addresses."""
    assert verifyObject(IDatagramWrapper, DTLSWrapper())
    assert parseEndpoint(DTLSWrapper.example).provesAddress


def test_defaults() -> None:
    """What is not said is as the reference has it."""
    options = parseEndpoint("dtls:certs=/c:udp:5684").layers[0].options
    assert isinstance(options, DTLSOptions)
    assert options.mtu == 1232
    assert float(options.handshakeTimeout) == 10
    assert float(options.idle) == 300
    assert (options.associations, options.perHost) == (4096, 256)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dtls:certs=/c:tcp:80", "dtls goes over datagrams, and tcp receives streams"),
        ("tls:certs=/c:udp:80", "tls goes over streams, and udp receives datagrams"),
        ("dtls:udp:80", "dtls: give either certs=DIRECTORY"),
        ("dtls:certs=/c:clientAuth=required:udp:80", "clientAuth=required goes with clientCA=FILE"),
        ("dtls:certs=/c:mtu=255:udp:80", "dtls: mtu: '255' is too small: the least is 256"),
        ("dtls:certs=/c:associations=0:udp:80", "dtls: associations: '0' is too small"),
        ("dtls:certs=/c:profile=modern:udp:80", 'has no key "profile"'),
    ],
)
def test_wrong(text: str, told: str) -> None:
    """What cannot be had is said in words."""
    with pytest.raises(EndpointError) as caught:
        parseEndpoint(text)
    assert told in str(caught.value)


def test_keyOfThePlace() -> None:
    """A key that is the socket's goes to the socket."""
    text = "dtls:certs=/c:idle=30s:interface=127.0.0.1:udp:80"
    assert str(parseEndpoint(text)) == "dtls:certs=/c:idle=30s:udp:80:interface=127.0.0.1"


def test_outsideOfAServer(tmp_path: Path) -> None:
    """An endpoint alone serves, too."""
    file = issue("localhost", "localhost").write(tmp_path)
    reactor = SteppedReactor()
    reactor.rightNow = epoch = float(int(time.time()))
    place = MemoryDatagramEndpoint(reactor)
    endpoint = parseEndpoint(f"dtls:cert={file}:udp:0").openDatagram(reactor)
    endpoint.place = place
    echo = Echo()
    ports: list[object] = []
    endpoint.listen(echo).addBoth(ports.append)
    layer = echo.transport
    assert isinstance(layer, DTLSLayer)
    with opensslClock(lambda: reactor.seconds() - epoch):
        client = Client(place.peer())
        client.begin()
        while not client.isOpen:
            reactor.settle()
            client.pump()
        reactor.settle()
        assert layer.associations == 1
        layer.drainRequested(0)
        assert layer.associations == 0
    layer.stopListening()
    reactor.settle()
    assert echo.transport is None
    assert reactor.getDelayedCalls() == []


def test_selfSigned() -> None:
    """For development a certificate is made."""
    options = parseEndpoint("dtls:selfSigned=localhost:udp:0").layers[0].options
    assert options.selfSigned == "localhost"
