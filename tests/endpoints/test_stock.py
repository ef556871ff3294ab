"""Endpoints that are Twisted's own or come from another package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL, crypto
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from myserv.endpoints.parse import parseEndpoint
from myserv.endpoints.stock import declaredKeys
from myserv.errors import EndpointError
from tests.endpoints.certificates import intermediate, issue

# ssl: is Twisted's, and Twisted uses what pyOpenSSL has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(cryptography|pyOpenSSL).*:DeprecationWarning",
    "ignore:Passing method to .*:DeprecationWarning",
)

HELLO = Factory()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory, which is the current one, with the files of a server."""
    monkeypatch.chdir(tmp_path)
    issued = issue("x", "example.org", by=intermediate())
    issued.write(tmp_path)
    (tmp_path / "a:b.pem").write_bytes(issued.keyPEM.rstrip())
    (tmp_path / "cert.pem").write_bytes(issued.certificatePEM.rstrip())
    (tmp_path / "chain.pem").write_bytes(intermediate().certificatePEM)
    return tmp_path


def listening(endpoint: Any, reactor: MemoryReactor) -> tuple[Any, ...]:
    """What the reactor is asked for: without the factory, with the certificates as bytes."""
    assert endpoint.listen(HELLO).result is not None
    [(port, factory, contextFactory, backlog, interface)] = reactor.sslServers
    assert factory is HELLO
    certificates = [contextFactory.certificate, *(contextFactory.extraCertChain or ())]
    return (
        port,
        interface,
        backlog,
        [crypto.dump_certificate(crypto.FILETYPE_PEM, each) for each in certificates],
        crypto.dump_privatekey(crypto.FILETYPE_PEM, contextFactory.privateKey),
        contextFactory.method,
    )


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "text",
    [
        "ssl:443",
        "ssl:port=443:privateKey=server.pem",
        r"ssl:4321:privateKey=a\:b.pem:certKey=cert.pem",
        r"ssl:443:a\:b.pem:cert.pem",
        "ssl:1234:privateKey=server.pem:extraCertChain=chain.pem",
        "ssl:1234:backlog=12:interface=10.0.0.1",
        "ssl:1234:backlog=12:sslmethod=TLSv1_2_METHOD:interface=10.0.0.1",
        "ssl:1234:server.pem:cert.pem:TLSv1_2_METHOD:10.0.0.1:7:chain.pem",
        r"ssl:1234:interface=\:\:1",
    ],
)
def test_twistedsStrings(text: str) -> None:
    """Everything reaches Twisted as it was written, but for the default backlog."""
    reactors = MemoryReactor(), MemoryReactor()
    mine = listening(parseEndpoint(text).openStream(reactors[0]), reactors[0])
    theirs = listening(serverFromString(reactors[1], text), reactors[1])
    assert (*mine[:2], *mine[3:]) == (*theirs[:2], *theirs[3:])
    assert mine[2] == (4096 if theirs[2] == 50 else theirs[2])


@pytest.mark.usefixtures("files")
def test_anAddressInBrackets() -> None:
    """Is not Twisted's way, and still reaches it."""
    reactor = MemoryReactor()
    mine = listening(parseEndpoint("ssl:[::1]:443").openStream(reactor), reactor)
    assert mine[:2] == (443, "::1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ssl:1:none.pem", "none.pem: there is no such file"),
        ("ssl:1:certKey=none.pem", "none.pem: there is no such file"),
        ("ssl:1:extraCertChain=none.pem", "none.pem: there is no such file"),
        (
            "ssl:1:extraCertChain=empty.pem",
            "ssl: Specified chain file 'empty.pem' doesn't contain any valid certificates",
        ),
        ("ssl:1:other.pem:cert.pem", "ssl: Certificate public and private keys do not match."),
        ("ssl:1:cert.pem", "ssl: OpenSSL refuses these files: "),
        ("ssl:1:empty.pem", "ssl: OpenSSL refuses these files: "),
        ("ssl:1:dhParameters=empty.pem", "ssl: OpenSSL refuses these files: "),
        ("ssl:1:sslmethod=None", "ssl: module 'OpenSSL.SSL' has no attribute 'None'"),
        ("ssl:1:sslmethod=OP_ALL", "ssl: "),
    ],
)
def test_errors(files: Path, text: str, told: str) -> None:
    """A file that is wrong is told of before anything opens, and in words."""
    (files / "empty.pem").touch()
    (files / "other.pem").write_bytes(issue("y").keyPEM)
    endpoint = parseEndpoint(text)
    with pytest.raises(EndpointError) as caught:
        endpoint.openStream(MemoryReactor())
    text = str(caught.value)
    assert text.startswith(told.format(files))
    assert "[(" not in text
    assert text.isprintable()


@pytest.mark.parametrize("key", ["privateKey", "certKey", "extraCertChain", "dhParameters"])
def test_filesThatNeverEnd(files: Path, key: str) -> None:
    """Twisted would read them for ever."""
    os.mkfifo(files / "fifo")
    for name in ("fifo", "/dev/zero"):
        with pytest.raises(EndpointError, match=rf"^{name}: is a .*, not a regular file$"):
            parseEndpoint(
                f"ssl:1:privateKey=cert.pem:{key}={name}".replace(
                    "privateKey=cert.pem:privateKey", "privateKey"
                )
            ).openStream(MemoryReactor())


def test_aRefusalWithoutWords(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the name of what was raised."""

    def refuse(reactor: object, text: str) -> Any:
        raise ArithmeticError

    monkeypatch.setattr("myserv.endpoints.stock.serverFromString", refuse)
    with pytest.raises(EndpointError, match=r"^ssl: ArithmeticError$"):
        parseEndpoint("ssl:1:cert.pem").openStream(MemoryReactor())


def test_theMethodIsNotAsked(files: Path) -> None:
    """Without sslmethod Twisted chooses, and nothing is deprecated about that."""
    reactor = MemoryReactor()
    assert listening(parseEndpoint("ssl:1").openStream(reactor), reactor)[5] == SSL.TLS_METHOD


def takesAll(reactor: Any, *args: str, **kwargs: str) -> None:
    """As most of Twisted's own parsers do."""


def takesEven(*args: Any, **kwargs: str) -> None:
    """The reactor among them."""


def takesSome(reactor: Any, room: str, *args: str, seats: str = "4") -> None:
    """By name: two."""


def takesOnlyByPosition(reactor: Any, room: str, /, door: str = "") -> None:
    """By name: one."""


def takesNone(reactor: Any) -> None:
    """No parameters."""


@pytest.mark.parametrize(
    ("method", "keys"),
    [
        (takesAll, None),
        (takesEven, None),
        (takesSome, {"room", "seats"}),
        (takesOnlyByPosition, {"door"}),
        (takesNone, set()),
    ],
)
def test_declaredKeys(method: Any, keys: set[str] | None) -> None:
    """What can be given by name, unless anything can."""
    assert declaredKeys(method) == keys
