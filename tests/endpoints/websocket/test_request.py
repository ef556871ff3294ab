"""The HTTP part of C{websocket:}: who gets a WebSocket, and what the others are told."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myserv.endpoints.parse import parseEndpoint
from myserv.endpoints.websocket.request import (
    RequestReader,
    RequestRefused,
    WebSocketRequest,
    judge,
)
from myserv.endpoints.websocket.wrapper import WebSocketOptions
from myserv.errors import EndpointError
from myserv.options.values import Size
from myserv.testing import chunkings
from tests.endpoints.websocket.kit import ACCEPT, BINARY, Client, Said, Stage, frame, request

LIMIT = 8192


def ask(data: bytes, **keys: Any) -> WebSocketRequest:
    """What becomes of a request."""
    reader = RequestReader(LIMIT)
    received = reader.receive_data(data)
    assert received is not None
    return judge(received, WebSocketOptions(**keys))


def refused(data: bytes, **keys: Any) -> RequestRefused:
    """Why a request gets no WebSocket."""
    with pytest.raises(RequestRefused) as caught:
        ask(data, **keys)
    return caught.value


def header(answer: bytes, name: str) -> list[str]:
    """The values of a header in an answer."""
    head = answer.partition(b"\r\n\r\n")[0].decode()
    return re.findall(rf"(?mi)^{name}: (.*?)\r?$", head)


# --- who gets one -------------------------------------------------------------


def test_theExampleOfTheSpecification() -> None:
    """RFC 6455, section 1.3."""
    client = Stage().open()
    assert client.head.decode().split("\r\n") == [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {ACCEPT}",
    ]


def test_whateverWayItArrives() -> None:
    """The request whole, byte by byte, in two at every place; and what comes behind it."""
    for pieces in chunkings(request() + frame(BINARY, b"early")):
        stage = Stage()
        client = stage.connect()
        assert client.ask(*pieces).startswith(b"HTTP/1.1 101 ")
        assert client.bytes() == b"early"


def test_whatTheProtocolCanKnow() -> None:
    """The request is an attribute of its transport."""
    stage = Stage(path="/chat", subprotocol="mqtt,soap", origins="*")
    stage.open(
        "/chat?room=a%20b&x",
        origin="https://Example.org",
        cookie="a=1",
        sec_websocket_protocol="wamp, soap , mqtt",
    )
    asked = stage.protocol.transport.webSocketRequest
    assert (asked.path, asked.query) == ("/chat", "room=a%20b&x")
    assert asked.origin == "https://Example.org"
    assert asked.subprotocol == "mqtt"
    assert asked.header("cookie") == "a=1"
    assert asked.header("accept") is None
    assert ("host", "example.org") in asked.headers


@pytest.mark.parametrize(
    "changes",
    [
        {"upgrade": "WebSocket"},
        {"upgrade": "h2c, websocket"},
        {"connection": "UPGRADE"},
        {"content_length": "0"},
        {"target": "http://example.org/"},
        {"target": "HTTPS://example.org"},
        {"target": "/?a"},
    ],
)
def test_thatIsAskedForInOtherWords(changes: dict[str, str]) -> None:
    """Case and lists are free (section 4.2.1), and a URL may be whole."""
    assert ask(request(**changes)).path == "/"


# --- who does not -------------------------------------------------------------


def test_plainHTTP() -> None:
    """A browser's user who opens the address is told what is there."""
    answer = refused(request(without=["upgrade", "connection"])).answer()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert header(answer, "upgrade") == ["websocket"]
    assert header(answer, "connection") == ["Upgrade, close"]
    assert header(answer, "sec-websocket-version") == ["13"]
    assert header(answer, "content-type") == ["text/plain; charset=utf-8"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", header(answer, "date")[0])
    assert header(answer, "content-length") == [str(len(body))]
    assert body == b"426 Upgrade Required: this is a WebSocket, to be opened by a script.\n"


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (404, {"target": "/other"}),
        (404, {"target": "/chat/"}),
        (404, {"target": "*", "method": "OPTIONS"}),
        (405, {"method": "POST", "content_length": "3"}),
        (405, {"method": "DELETE"}),
        (426, {"method": "HEAD"}),
        (426, {"version": "1.0"}),
        (426, {"upgrade": "h2c"}),
        (426, {"upgrade": None}),
        (426, {"connection": "keep-alive"}),
        (426, {"connection": None}),
        (426, {"sec_websocket_version": "8"}),
        (426, {"sec_websocket_version": None}),
        (400, {"sec_websocket_key": None}),
        (400, {"sec_websocket_key": "c2hvcnQ="}),
        (400, {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ=!"}),
        (400, {"sec_websocket_key": "\xfc" * 24}),
        (400, {"content_length": "3"}),
        (400, {"transfer_encoding": "chunked"}),
        (403, {"origin": "https://evil.example"}),
    ],
)
def test_whatIsAnswered(status: int, changes: dict[str, Any]) -> None:
    """Each with its status, and the end of the connection."""
    error = refused(request(**{"target": "/chat", **changes}), path="/chat")
    assert error.status == status
    answer = error.answer()
    assert "close" in header(answer, "connection")[0]
    if status == 405:
        assert header(answer, "allow") == ["GET"]
    if changes.get("method") == "HEAD":
        assert answer.endswith(b"\r\n\r\n")
        assert header(answer, "content-length") != ["0"]
    else:
        assert answer.endswith(b".\n")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_whatIsNoHTTP(data: bytes) -> None:
    """Is told so and is disconnected; the event says why."""
    stage = Stage()
    client = stage.connect()
    assert client.ask(data).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert client.peer.closed
    assert stage.failures() == ["400: this is not an HTTP request"]
    assert stage.isClean()


@pytest.mark.parametrize(
    "data",
    [
        request(x="y" * LIMIT),
        request(x="y" * LIMIT)[:-2],
        request(**{f"x{i}": "y" * 100 for i in range(100)}),
        b"GET /" + b"a" * LIMIT,
        b"\r\n" * LIMIT,
    ],
)
def test_requestsThatAreTooLarge(data: bytes) -> None:
    """Whether they come to an end or not."""
    stage = Stage()
    client = stage.connect()
    status = client.ask(data)[:12]
    assert status in (b"HTTP/1.1 431", b"HTTP/1.1 400")
    assert stage.isClean()
    stage = Stage(maxRequest="100KiB")
    assert b" 101 " in stage.connect().ask(request(x="y" * LIMIT))


def test_aRequestOfTheLargestSize() -> None:
    """Is read, and one byte more is not."""
    size = len(request(x=""))
    assert ask(request(x="y" * (LIMIT - size))).path == "/"
    assert refused(request(x="y" * (LIMIT - size + 1))).status == 431


def test_framesBehindALargeRequest() -> None:
    """Do not count as part of it."""
    size = len(request(x=""))
    stage = Stage()
    client = stage.connect()
    client.ask(request(x="y" * (LIMIT - size)) + frame(BINARY, b"z" * 9000))
    assert stage.protocol.received == [b"z" * 9000]


def test_whoIsRefusedIsHeardOut() -> None:
    """The body of a POST does not cost its sender the answer."""
    stage = Stage()
    client = stage.connect()
    client.peer.stay()
    assert b" 405 " in client.ask(request(method="POST", content_length="1000000"))
    client.peer.send(b"x" * 100_000)
    stage.settle()
    assert client.peer.unread == 0
    assert client.peer.writeClosed
    stage.reactor.advance(2)
    assert client.peer.closed
    assert stage.isClean()


def test_whoTakesTooLong() -> None:
    """One byte after the other is not fast enough."""
    stage = Stage(handshakeTimeout="5s")
    client = stage.connect()
    for each in request()[:9]:
        client.ask(bytes([each]))
        stage.reactor.advance(0.6)
    assert client.peer.aborted
    assert stage.failures() == ["it took too long"]
    assert stage.isClean()


@pytest.mark.parametrize("leave", ["close", "abort", "closeWrite"])
def test_whoLeavesBeforeTheEnd(leave: str) -> None:
    """Leaves nothing behind."""
    stage = Stage()
    client = stage.connect()
    client.ask(request()[:20])
    getattr(client.peer, leave)()
    stage.settle()
    assert stage.failures() == ["the peer left"]
    assert stage.built == []
    assert stage.isClean()


def test_theServerStopsMeanwhile() -> None:
    """Who has no protocol yet is cut."""
    stage = Stage()
    client = stage.connect()
    client.ask(request()[:20])
    stage.listener.stopNow()
    stage.settle()
    assert client.peer.aborted
    assert not stage.reactor.getDelayedCalls()


# --- whose page it was --------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "host", "origins"),
    [
        (None, "example.org", ()),
        (None, "example.org", ("https://example.org",)),
        ("http://example.org", "example.org", ()),
        ("https://Example.org", "example.ORG", ()),
        ("https://example.org", "example.org:443", ()),
        ("http://example.org:8080", "example.org:8080", ()),
        ("http://[::1]:8080", "[::1]:8080", ()),
        ("https://a.example", "b.example", ("https://c.example", "https://A.example:443")),
        ("null", "b.example", ("*",)),
        ("https://a.example", "b.example", ("*",)),
    ],
)
def test_originsThatMayConnect(origin: str | None, host: str, origins: tuple[str, ...]) -> None:
    """Those of the same host, or those that are listed; and who has none."""
    assert ask(request(origin=origin, host=host), origins=origins).origin == origin


@pytest.mark.parametrize(
    ("origin", "host", "origins"),
    [
        ("https://evil.example", "example.org", ()),
        ("https://example.org.evil.example", "example.org", ()),
        ("https://evil.example/example.org", "example.org", ()),
        ("https://example.org:8443", "example.org", ()),
        ("http://example.org", "example.org:443", ()),
        ("null", "example.org", ()),
        ("null", "null", ()),
        ("", "example.org", ()),
        ("example.org", "example.org", ()),
        ("ftp://", "", ()),
        ("https://example.org", "example.org", ("https://other.example",)),
        ("http://a.example", "a.example", ("https://a.example",)),
    ],
)
def test_originsThatMayNot(origin: str, host: str, origins: tuple[str, ...]) -> None:
    """A page of a foreign site, by default; any that is not listed."""
    assert refused(request(origin=origin, host=host), origins=origins).status == 403


def test_twoOrigins() -> None:
    """No browser sends them."""
    data = request(origin="https://a.example").replace(
        b"\r\n\r\n", b"\r\nOrigin: https://b.example\r\n\r\n"
    )
    assert refused(data, origins=("https://a.example", "https://b.example")).status == 403


# --- the subprotocol ----------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "chosen"),
    [
        ((), "mqtt", None),
        ((), None, None),
        (("mqtt",), "mqtt", "mqtt"),
        (("b", "a"), "a,b", "b"),
        (("b", "a"), "c, a", "a"),
    ],
)
def test_subprotocols(ours: tuple[str, ...], theirs: str | None, chosen: str | None) -> None:
    """The one that we want most."""
    data = request(sec_websocket_protocol=theirs)
    assert ask(data, subprotocol=ours).subprotocol == chosen
    client = Stage(subprotocol=",".join(ours)).open(sec_websocket_protocol=theirs) if ours else None
    assert client is None or header(client.head, "sec-websocket-protocol") == [chosen]


@pytest.mark.parametrize("theirs", [None, "other", "MQTT"])
def test_withoutTheSubprotocol(theirs: str | None) -> None:
    """A service that has one speaks no other."""
    error = refused(request(sec_websocket_protocol=theirs), subprotocol=("mqtt",))
    assert str(error) == "400: a client has to offer the subprotocol mqtt"


# --- anything at all ----------------------------------------------------------


@given(st.binary(min_size=1, max_size=300), st.integers(0, 300))
def test_bytesOfAnybody(data: bytes, place: int) -> None:
    """Nothing that comes raises anything but what is declared, and the answer can be written."""
    good = request()
    for each in (data, good[:place] + data + good[place:], good[:place] + data):
        reader = RequestReader(LIMIT)
        answer = b"HTTP/1.1 4"
        try:
            received = reader.receive_data(each)
            if received is not None:
                judge(received, WebSocketOptions())
        except RequestRefused as error:
            answer = error.answer()
        assert answer.startswith(b"HTTP/1.1 4")


# --- what an operator may say -------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "websocket:tcp:8080",
        r"websocket:path=/chat:origins=https\://a.example,http\://b\:81:tcp:8080",
        "websocket:subprotocol=mqtt,soap:maxMessage=64KiB:frames=text:tcp:8080",
        "websocket:handshakeTimeout=5s:maxRequest=16KiB:ping=0s:compress=true:tcp:8080",
        "websocket:path=/chat:unix:/run/chat.sock",
        "websocket:origins=*:tls:certs=/etc/certs:tcp:443",
    ],
)
def test_endpointStrings(text: str) -> None:
    """Are written as they were read."""
    assert str(parseEndpoint(text)) == text


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("path=chat", "websocket: 'chat' is not a path: write one such as \"/chat\""),
        ("path=/a?b", "websocket: '/a?b' is not a path: write one such as \"/chat\""),
        (
            "origins=example.org",
            "websocket: 'example.org' is not an origin: write one such as \"https://example.org\"",
        ),
        (
            r"origins=https\://a/",
            "websocket: 'https://a/' is not an origin: write one such as \"https://example.org\"",
        ),
        (
            r"origins=https\://a\:b",
            "websocket: 'https://a:b' is not an origin: write one such as \"https://example.org\"",
        ),
        ("subprotocol=a b", "websocket: 'a b' is not a subprotocol: write one such as \"mqtt\""),
        ("frames=ascii", "websocket: frames: 'ascii' is not a choice here; there is binary, text"),
        ("maxMessage=1", "websocket: maxMessage: '1' is too small: the least is 125B"),
    ],
)
def test_whatAnOperatorGetsWrong(keys: str, told: str) -> None:
    """In words."""
    text = f"websocket:{keys}:tcp:80"
    with pytest.raises(EndpointError) as caught:
        parseEndpoint(text)
    assert str(caught.value) == f'in "{text}": {told}'


@pytest.mark.parametrize("missing", ["wsproto", "h11"])
def test_withoutTheExtra(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """One line says what to install."""
    for name in list(sys.modules):
        if name.startswith("myserv.endpoints.websocket.") and not name.endswith(".wrapper"):
            monkeypatch.delitem(sys.modules, name)
        if name.startswith(f"{missing}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(EndpointError) as caught:
        Stage()
    assert str(caught.value) == f"websocket needs {missing}: pip install 'myserv[websocket]'"


def test_theDefaultsAreStated() -> None:
    """In the units of operators."""
    options = parseEndpoint("websocket:tcp:80").layers[0].options
    assert (options.maxMessage, options.ping) == (Size(2**20), 30.0)


def test_clientsAreApart() -> None:
    """One that is refused is nothing to another."""
    stage = Stage()
    good, bad = stage.open(), stage.connect()
    bad.ask(b"nonsense\r\n\r\n")
    assert good.send(frame(BINARY, b"x")) == [Said(BINARY, b"x")]
    assert isinstance(good, Client)
