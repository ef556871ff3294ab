"""Certificates: the server's, renewed while it serves, and the clients'."""

from __future__ import annotations

from pathlib import Path

import pytest
from OpenSSL import SSL

from myserv.endpoints.tls.store import POLL
from myserv.errors import EndpointError
from tests.endpoints.certificates import authority, intermediate, issue
from tests.endpoints.dtls.stage import clientContext, staged

ADDRESS = ("192.0.2.7", 5000)


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """A directory with two certificates."""
    directory = tmp_path / "certs"
    issue("one", "one.example").write(directory, "one.pem")
    issue("two", "two.example", by=intermediate()).write(directory, "two.pem")
    return directory


@pytest.mark.parametrize(
    ("name", "shown"),
    [(None, "one"), (b"one.example", "one"), (b"two.example", "two"), (b"else.example", "one")],
)
def test_names(certs: Path, tmp_path: Path, name: bytes | None, shown: str) -> None:
    """A client is shown the certificate of the server that it names."""
    with staged(tmp_path, certs=str(certs)) as stage:
        client = stage.connected(name=name)
        assert client.certificateNames == f"CN={shown}"
        client.write(b"hello")
        stage.settle()
        assert client.received == [b"hello"]


def test_unknownName(certs: Path, tmp_path: Path) -> None:
    """Unless a client that names none of them is not wanted."""
    with staged(tmp_path, certs=str(certs), unknownName="refuse") as stage:
        client = stage.client(name=b"else.example")
        client.begin()
        stage.settle()
        assert client.error is not None
        assert stage.failures() == ["it asked for a name that is not here"]
        stage.assertNothingHeld()


def test_verified(certs: Path, tmp_path: Path) -> None:
    """The chain comes with it."""
    root = tmp_path / "root.crt"
    root.write_bytes(authority().certificatePEM)
    context = clientContext()
    context.load_verify_locations(str(root))
    context.set_verify(SSL.VERIFY_PEER, lambda *args: bool(args[-1]))
    with staged(tmp_path, certs=str(certs)) as stage:
        stage.connected(context=context, name=b"two.example")


@pytest.mark.parametrize("asked", [True, False], ids=["reload", "by itself"])
def test_renewal(tmp_path: Path, asked: bool) -> None:
    """New handshakes see a new certificate; open associations and handshakes under way go on."""
    file = issue("old", "localhost").write(tmp_path)
    with staged(tmp_path, cert=str(file)) as stage:
        before = stage.connected()
        during = stage.client()
        during.begin()
        stage.reactor.settle()
        during.take(during.peer.take())
        for each in during.datagrams():
            during.peer.sendDatagram(each)
        stage.reactor.settle()
        flight = during.peer.take()
        stage.clients.remove(during)
        issue("new", "localhost").write(tmp_path)
        if asked:
            stage.listener.reload()
        else:
            stage.advance(3 * POLL)
        after = stage.connected()
        stage.clients.append(during)
        during.take(flight)
        stage.settle()
        assert during.isOpen
        for client in (before, during, after):
            client.write(b"hello")
        stage.settle()
        assert [each.received for each in (before, during, after)] == [[b"hello"]] * 3
        assert before.certificateNames == during.certificateNames == "CN=old"
        assert after.certificateNames == "CN=new"


def test_theDefaultIsHalfWritten(certs: Path, tmp_path: Path) -> None:
    """A client that names nobody is shown what it was shown before."""
    with staged(tmp_path, certs=str(certs)) as stage:
        (certs / "one.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nMIIB")
        stage.advance(3 * POLL)
        assert stage.connected().certificateNames == "CN=one"


def test_clientCertificate(tmp_path: Path) -> None:
    """A protocol can ask who its peer is."""
    root = tmp_path / "root.crt"
    root.write_bytes(authority().certificatePEM)
    with staged(tmp_path, clientCA=str(root)) as stage:
        stage.connected(ADDRESS, context=clientContext(issue("a client", by=authority())))
        certificate = stage.protocol.transport.getPeerCertificate(ADDRESS)
        assert certificate.to_cryptography().subject.rfc4514_string() == "CN=a client"


@pytest.mark.parametrize("kind", ["none", "a stranger's"])
def test_withoutACertificate(tmp_path: Path, kind: str) -> None:
    """Who has to show one and does not is no peer."""
    root = tmp_path / "root.crt"
    root.write_bytes(authority().certificatePEM)
    context = clientContext(None if kind == "none" else issue("a stranger"))
    with staged(tmp_path, clientCA=str(root)) as stage:
        client = stage.client(ADDRESS, context=context)
        client.begin()
        stage.settle()
        assert client.error is not None
        expected = {
            "none": "peer did not return a certificate",
            "a stranger's": "certificate verify failed",
        }
        assert stage.failures() == [expected[kind]]
        stage.assertNothingHeld()


def test_optionalCertificate(tmp_path: Path) -> None:
    """It may be left to the client."""
    root = tmp_path / "root.crt"
    root.write_bytes(authority().certificatePEM)
    with staged(tmp_path, clientCA=str(root), clientAuth="optional") as stage:
        stage.connected(ADDRESS)
        assert stage.protocol.transport.getPeerCertificate(ADDRESS) is None


def test_noCertificate(tmp_path: Path) -> None:
    """Without one nothing opens."""
    with (
        pytest.raises(EndpointError, match="there is no such file"),
        staged(tmp_path, cert=str(tmp_path / "missing.pem")),
    ):
        pass
