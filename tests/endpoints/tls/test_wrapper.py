"""The keys of C{tls:}, and what they mean."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.protocol import Factory
from zope.interface.verify import verifyObject

from myserv.endpoints.parse import Layer, parseEndpoint
from myserv.endpoints.tls import TLSOptions, TLSWrapper
from myserv.errors import EndpointError
from myserv.events import CertificateLoaded
from myserv.interfaces import IStreamWrapper
from myserv.server.stream import StreamListener
from myserv.testing import MemoryEndpoint, RecordingObserver, SteppedReactor
from tests.endpoints.certificates import authority, issue
from tests.endpoints.tls.stage import Client, Echo, certificate, clientContext, staged


def test_itIsAWrapper() -> None:
    """Of streams."""
    assert verifyObject(IStreamWrapper, TLSWrapper())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tls:tcp:443", "give either certs=DIRECTORY, cert=FILE or selfSigned=NAME"),
        ("tls:certs=/a:cert=/b:tcp:443", "give either certs=DIRECTORY, cert=FILE or"),
        ("tls:certs=/a:key=/b:tcp:443", "key=FILE and ocsp=FILE go with cert=FILE"),
        ("tls:certs=/a:ocsp=/b:tcp:443", "key=FILE and ocsp=FILE go with cert=FILE"),
        ("tls:certs=/a:clientAuth=required:tcp:443", "clientAuth=required goes with clientCA=FILE"),
        ("tls:certs=/a:clientAuth=optional:tcp:443", "clientAuth=optional goes with clientCA=FILE"),
        ("tls:certs=/a:profile=old:tcp:443", "profile"),
        ("tls:certs=/a:handshakeTimeout=0:tcp:443", "handshakeTimeout"),
    ],
)
def test_whatCannotBeMeant(text: str, told: str) -> None:
    """Is told in words."""
    with pytest.raises(EndpointError, match=told):
        parseEndpoint(text)


def test_twistedsForm() -> None:
    """A directory by position."""
    layer = parseEndpoint("tls:/certs:port=4443").layers[0]
    assert isinstance(layer, Layer)
    assert isinstance(layer.options, TLSOptions)
    assert layer.options.certs == Path("/certs")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_selfSigned(name: str) -> None:
    """For development: made at the start, for a name or an address."""
    with staged(selfSigned=name) as stage:
        [event] = stage.events(CertificateLoaded)
        assert event.file == "selfSigned"
        assert event.names == (name,)
        client = stage.client().go()
        assert client.shown == [name]
        stage.wrapped.reload()
        stage.reactor.advance(100_000)
        assert stage.client().go().shown == [name]


def test_selfSignedForNobody() -> None:
    """There are names that no certificate can hold."""
    with pytest.raises(EndpointError, match="no certificate can be for"), staged(selfSigned="ü"):
        pass


@pytest.mark.parametrize("profile", ["intermediate", "modern"])
def test_profiles(profile: str, tmp_path: Path) -> None:
    """TLS 1.2 and 1.3, or 1.3 only."""
    with staged(cert=certificate(tmp_path), profile=profile) as stage:
        assert stage.client().go().isOpen
        old = stage.client(version=SSL.TLS1_2_VERSION).go()
        assert old.isOpen == (profile == "intermediate")


@pytest.mark.parametrize(
    "ciphers", [b"AES128-SHA", b"ECDHE-ECDSA-AES128-SHA", b"AES256-GCM-SHA384", b"PSK"]
)
def test_ciphersThatAreNotServed(ciphers: bytes, tmp_path: Path) -> None:
    """Without forward secrecy, or in CBC mode."""
    with staged(cert=certificate(tmp_path)) as stage:
        context = clientContext(version=SSL.TLS1_2_VERSION)
        context.set_cipher_list(ciphers)
        assert not stage.client(context=context).go().isOpen


def test_noAuthority(tmp_path: Path) -> None:
    """The file of clients' authorities has to hold some."""
    authorities = tmp_path / "clients"
    cert = certificate(tmp_path)
    with (
        pytest.raises(EndpointError, match="clients: there is no such file"),
        staged(cert=cert, clientCA=authorities),
    ):
        pass
    authorities.write_text("nothing")
    with (
        pytest.raises(EndpointError, match="clients: there is no certificate in this file"),
        staged(cert=cert, clientCA=authorities),
    ):
        pass
    authorities.write_bytes(authority().certificatePEM[:-40])
    with (
        pytest.raises(EndpointError, match="clients: a certificate in this file is broken"),
        staged(cert=cert, clientCA=authorities),
    ):
        pass


@pytest.mark.parametrize(
    "text",
    [
        "tls:cert={}:tcp:443",
        "tls:cert={}:proxy:from=192.0.2.0/24:tcp:443",
        "proxy:from=192.0.2.0/24:tls:cert={}:tcp:443",
        "websocket:tls:cert={}:tcp:443",
        "websocket:tls:cert={}:proxy:from=192.0.2.0/24:tcp:443",
    ],
)
def test_reloading(text: str, tmp_path: Path) -> None:
    """A listener that is asked to read its files again finds the certificates in any chain."""
    file = certificate(tmp_path)
    parsed = parseEndpoint(text.format(file))
    reactor, observer = SteppedReactor(), RecordingObserver()
    reactor.rightNow = time.time()
    listener = StreamListener(
        "tested",
        str(parsed),
        MemoryEndpoint(reactor),
        Factory.forProtocol(Echo),
        reactor,
        observer.observe,
        parsed.wrapFactory,
    )
    listener.start()
    reactor.settle()
    issue("new", "new.example").write(tmp_path, file.name)
    observer.take()
    listener.reload()
    assert [event.names for event in observer.ofType(CertificateLoaded)] == [("new.example",)]
    listener.stop()
    reactor.settle()
    assert reactor.getDelayedCalls() == []


def test_sessionsTakeNoMemory(tmp_path: Path) -> None:
    """They are in the clients' tickets: one without tickets begins anew."""
    with staged(cert=certificate(tmp_path)) as stage:
        context: Any = clientContext(version=SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_TICKET)
        client = stage.client(context=context).go().send(b"x")
        session = client.ssl.get_session()
        assert session is not None
        again = Client(stage, context, None)
        again.ssl.set_session(session)
        assert again.go().isOpen
