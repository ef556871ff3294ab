"""A protocol behind C{websocket:} in memory, and a client that says what it is told to."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol, Opcode
from zope.interface import implementer

from myserv.endpoints.grammar import quote
from myserv.endpoints.parse import parseEndpoint
from myserv.events import ConnectionEnded, HandshakeFailed, ProtocolRaised
from myserv.interfaces import IMessageProtocol
from myserv.limits import NO_DEADLINES, structureLimits
from myserv.plugin import ServiceFactory
from myserv.server.context import ServiceContext
from myserv.server.stream import StreamListener
from myserv.testing import MemoryEndpoint, MemoryPeer, RecordingObserver, SteppedReactor

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455, section 1.3, and what the server makes of it."""

ACCEPT: Final = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

CONTINUATION: Final = Opcode.CONTINUATION
TEXT: Final = Opcode.TEXT
BINARY: Final = Opcode.BINARY
CLOSE: Final = Opcode.CLOSE
PING: Final = Opcode.PING
PONG: Final = Opcode.PONG


def request(
    target: str = "/",
    method: str = "GET",
    version: str = "1.1",
    without: Iterable[str] = (),
    **headers: str | None,
) -> bytes:
    """
    A client's request.

    Args:
        target: What it asks for.
        method: How.
        version: The version of HTTP.
        without: Headers of a good request that are left out.
        headers: Others, or other values.
    """
    values: dict[str, str | None] = {
        "host": "example.org",
        "upgrade": "websocket",
        "connection": "keep-alive, Upgrade",
        "sec-websocket-key": KEY,
        "sec-websocket-version": "13",
    }
    values |= {key.replace("_", "-"): value for key, value in headers.items()}
    lines = [f"{method} {target} HTTP/{version}"]
    lines += [f"{k}: {v}" for k, v in values.items() if v is not None and k not in without]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def frame(
    opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    """
    A client's frame; nothing of it is checked.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    length = len(data)
    mask = 0x80 if masked else 0
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if length < 126:
        header = bytes((first, mask | length))
    elif length < 1 << 16:
        header = struct.pack("!BBH", first, mask | 126, length)
    else:
        header = struct.pack("!BBQ", first, mask | 127, length)
    if not masked:
        return header + data
    key = b"\x5a\xa5\x0f\xf0"
    stream = (key * (length // 4 + 1))[:length]
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")
    return header + key + mixed.to_bytes(length, "big")


def closing(code: int | None = 1000, reason: str = "") -> bytes:
    """
    A client's close frame.
    """
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


@frozen
class Said:
    """
    What the server said in one frame.
    """

    opcode: int
    payload: Any


class Recorder(Protocol):
    """Writes down what it is told."""

    transport: Any

    def __init__(self) -> None:
        self.received: list[bytes | str] = []
        self.log: list[str] = []
        self.reason: Failure | None = None

    def connectionMade(self) -> None:
        self.log.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.log.append("lost")
        self.reason = reason


class Echo(Recorder):
    """Sends back what arrives."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.write(data)


@implementer(IHalfCloseableProtocol)
class Half(Recorder):
    """Knows halves of a connection."""

    def readConnectionLost(self) -> None:
        self.log.append("half")

    def writeConnectionLost(self) -> None:
        """Nothing here closes one half."""


@implementer(IMessageProtocol)
class Messages(Recorder):
    """Wants whole messages, and sends them back."""

    def messageReceived(self, message: bytes | str) -> None:
        self.received.append(message)
        self.transport.sendMessage(message)


class Stage:
    """
    A protocol in a server, behind C{websocket:}.
    """

    def __init__(self, protocol: Any = Echo, chain: str | None = None, **keys: object) -> None:
        """
        Args:
            protocol: Its class.
            chain: The wrappers of the endpoint string, if not only websocket.
            keys: Those of the wrapper.
        """
        words = [f"{key}={quote(str(value))}" for key, value in keys.items()]
        text = chain or ":".join(["websocket", *words])
        self.reactor = SteppedReactor()
        self.observer = RecordingObserver()
        self.built: list[Any] = []
        self.memory = MemoryEndpoint(self.reactor)
        endpoint = parseEndpoint(f"{text}:tcp:80")

        def build() -> Any:
            self.built.append(protocol())
            return self.built[-1]

        context = ServiceContext("chat", self.reactor, self.observer.observe, Path("unused"))
        self.listener = StreamListener(
            "chat",
            str(endpoint),
            self.memory,
            ServiceFactory(context, None, build),
            self.reactor,
            self.observer.observe,
            endpoint.wrapFactory,
            limits=structureLimits(NO_DEADLINES, {"writeBuffer": "1GiB", "maxUnsent": 0}),
        )
        self.listener.start()

    def settle(self) -> None:
        assert self.reactor.settle()

    def connect(self) -> Client:
        """
        A client that has said nothing yet.
        """
        client = Client(self, self.memory.connect())
        self.settle()
        return client

    def open(self, target: str = "/", **headers: str | None) -> Client:
        """
        A client whose request was accepted.
        """
        client = self.connect()
        head = client.ask(request(target, **headers))  # type: ignore[arg-type]  # headers only
        assert head.startswith(b"HTTP/1.1 101 "), head
        return client

    @property
    def protocol(self) -> Any:
        """The last that was built."""
        return self.built[-1]

    @property
    def layer(self) -> Any:
        """What is below the one connection."""
        [connection] = self.listener.connections
        return connection._transport

    def failures(self) -> list[str]:
        """Why handshakes failed."""
        return [each.reason for each in self.observer.ofType(HandshakeFailed)]

    def ended(self) -> ConnectionEnded:
        """How the one connection ended."""
        [ended] = self.observer.ofType(ConnectionEnded)
        return ended

    def isClean(self) -> bool:
        """Nothing is left of any connection, and nobody raised."""
        assert self.observer.ofType(ProtocolRaised) == []
        return (
            not self.listener.connections
            and not self.reactor.getDelayedCalls()
            and not self.reactor.getWriters()
            and len(self.reactor.getReaders()) == 1
        )


class Client:
    """
    A peer that speaks WebSocket, or something like it.

    @ivar peer: Its end of the connection.
    @ivar head: The answer to its request.
    """

    def __init__(self, stage: Stage, peer: MemoryPeer) -> None:
        self.stage = stage
        self.peer = peer
        self.head = b""
        self._frames = FrameProtocol(True, [])

    def ask(self, *pieces: bytes) -> bytes:
        """
        Send a request, in pieces perhaps.

        Returns:
            The head of the answer; the rest stays for L{said}.
        """
        for piece in pieces:
            self.peer.send(piece)
            self.stage.settle()
        answer = self.peer.take()
        self.head, end, rest = answer.partition(b"\r\n\r\n")
        agreed = re.search(r"(?m)^Sec-WebSocket-Extensions: (.*?)\r?$", self.head.decode())
        if agreed is not None:
            deflate = PerMessageDeflate()
            deflate.finalize(agreed[1])
            self._frames = FrameProtocol(True, [deflate])
        self._frames.receive_bytes(rest)
        return self.head + end

    def send(self, *pieces: bytes) -> list[Said]:
        """
        Send bytes, in pieces perhaps, and hear what comes of it.
        """
        for piece in pieces:
            self.peer.send(piece)
            self.stage.settle()
        return self.said()

    def said(self) -> list[Said]:
        """
        What the server has said since the last time.
        """
        self.stage.settle()
        self._frames.receive_bytes(self.peer.take())
        return [Said(each.opcode, each.payload) for each in self._frames.received_frames()]

    def bytes(self) -> bytes:
        """
        The content of the messages since the last time.
        """
        return b"".join(
            each.payload.encode() if each.opcode == TEXT else each.payload
            for each in self.said()
            if each.opcode in (TEXT, BINARY)
        )
