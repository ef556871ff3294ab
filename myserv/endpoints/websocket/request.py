"""
The HTTP part of a connection: one request, and whether it gets a WebSocket.

No I/O here: L{RequestReader} takes the bytes of a peer, L{judge} decides, and what
is to be sent back comes out as bytes.  Whatever is wrong with a request is a
L{RequestRefused}, which knows its own answer.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import h11
from attrs import frozen
from wsproto.utilities import generate_accept_token

from myserv.endpoints.websocket.wrapper import ANY_ORIGIN, WebSocketOptions

_VERSION: Final = b"13"
"""The only version of the protocol (RFC 6455, section 4.1)."""

_KEY_LENGTH: Final = 16
"""Bytes of the nonce that a client sends."""

_SCHEMES: Final = (b"http://", b"https://")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}

Headers = tuple[tuple[str, str], ...]
"""Names and values of an answer."""


@frozen
class WebSocketRequest:
    """
    What a client asked for.

    @ivar path: The path, as it was sent.
    @ivar query: What stood behind the question mark, as it was sent.
    @ivar headers: Every header, its name in lower case.
    @ivar origin: Whose page it was that asked; C{None} of a client that is no
        browser.
    @ivar subprotocol: The one agreed on, or C{None}.
    """

    path: str
    query: str
    headers: Headers
    origin: str | None
    subprotocol: str | None

    def header(self, name: str) -> str | None:
        """
        The first header of a name, in lower case; C{None} if it was not sent.
        """
        return next((value for key, value in self.headers if key == name), None)


class RequestRefused(Exception):
    """
    A request that gets no WebSocket.

    @ivar status: The answer's status.
    @ivar reason: Why, in a few words.
    @ivar withBody: The answer has a body, which one to HEAD has not.
    """

    def __init__(
        self, status: int, reason: str, headers: Headers = (), *, withBody: bool = True
    ) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = HTTPStatus(status)
        self.reason = reason
        self.withBody = withBody
        self._headers = headers

    def answer(self) -> bytes:
        """
        The answer, whole.
        """
        body = f"{self.status.value} {self.status.phrase}: {self.reason}.\n".encode()
        head = _head(
            self.status,
            (
                ("Date", formatdate(usegmt=True)),
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
                *self._headers,
            ),
        )
        return head + body if self.withBody else head


def _head(status: HTTPStatus, headers: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{k}: {v}" for k, v in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class RequestReader:
    """
    Reads the head of one request.
    """

    def __init__(self, maximum: int) -> None:
        """
        Args:
            maximum: The most bytes that it may have.
        """
        self._maximum = maximum
        self._received = 0
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=maximum)

    @property
    def trailing(self) -> bytes:
        """What came after it."""
        return self._connection.trailing_data[0]

    def receive_data(self, data: bytes) -> h11.Request | None:
        """
        Take some bytes.

        Returns:
            The request; C{None} while it is not complete.

        Raises:
            RequestRefused: It is no HTTP, or too large.
        """
        self._received += len(data)
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
                raise _tooLarge() from None
            raise RequestRefused(400, "this is not an HTTP request", _CLOSE) from None
        if event is h11.NEED_DATA:
            return None
        assert isinstance(event, h11.Request)
        if self._received - len(self.trailing) > self._maximum:
            raise _tooLarge()
        return event


_CLOSE: Final[Headers] = (("Connection", "close"),)


def _tooLarge() -> RequestRefused:
    return RequestRefused(431, "the head of the request is too large", _CLOSE)


def judge(request: h11.Request, options: WebSocketOptions) -> WebSocketRequest:
    """
    Decide whether a request gets a WebSocket (RFC 6455, section 4.2.1).

    Raises:
        RequestRefused: It does not.
    """
    path, query = _target(request.target)
    isHead = request.method == b"HEAD"
    if path != options.path:
        raise RequestRefused(404, "there is nothing at this path", _CLOSE, withBody=not isHead)
    if request.method not in (b"GET", b"HEAD"):
        raise RequestRefused(405, "only GET is allowed", (*_CLOSE, ("Allow", "GET")))
    if (
        isHead
        or request.http_version != b"1.1"
        or "websocket" not in _tokens(request, b"upgrade")
        or "upgrade" not in _tokens(request, b"connection")
    ):
        raise _upgradeRequired("this is a WebSocket, to be opened by a script", withBody=not isHead)
    versions = _values(request, b"sec-websocket-version")
    if versions != [_VERSION]:
        raise _upgradeRequired("this WebSocket is of version 13")
    if _hasBody(request):
        raise RequestRefused(400, "a request for a WebSocket has no body", _CLOSE)
    if not _isKey(_values(request, b"sec-websocket-key")):
        raise RequestRefused(400, "Sec-WebSocket-Key must be 16 bytes in Base64", _CLOSE)
    origin = _checkedOrigin(request, options)
    subprotocol = None
    if options.subprotocol:
        offered = _words(request, b"sec-websocket-protocol")
        subprotocol = next((each for each in options.subprotocol if each in offered), None)
        if subprotocol is None:
            known = ", ".join(options.subprotocol)
            raise RequestRefused(400, f"a client has to offer the subprotocol {known}", _CLOSE)
    headers = tuple((_text(name), _text(value)) for name, value in request.headers)
    return WebSocketRequest(path, query, headers, origin, subprotocol)


def accept(request: WebSocketRequest, extension: str | None) -> bytes:
    """
    The answer to a request that gets a WebSocket.

    Args:
        request: The request.
        extension: What was agreed on, for its header.
    """
    key = request.header("sec-websocket-key")
    assert key is not None
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", generate_accept_token(key.encode()).decode()),
    ]
    if request.subprotocol is not None:
        headers.append(("Sec-WebSocket-Protocol", request.subprotocol))
    if extension is not None:
        headers.append(("Sec-WebSocket-Extensions", extension))
    return _head(HTTPStatus.SWITCHING_PROTOCOLS, tuple(headers))


def _upgradeRequired(reason: str, *, withBody: bool = True) -> RequestRefused:
    headers = (
        ("Connection", "Upgrade, close"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", _text(_VERSION)),
    )
    return RequestRefused(426, reason, headers, withBody=withBody)


def _target(target: bytes) -> tuple[str, str]:
    # A proxy may have asked for the whole URL (RFC 9112, section 3.2.2).
    for scheme in _SCHEMES:
        if target[: len(scheme)].lower() == scheme:
            _, slash, rest = target[len(scheme) :].partition(b"/")
            target = slash + rest or b"/"
    path, _, query = _text(target).partition("?")
    return path, query


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _values(request: h11.Request, name: bytes) -> list[bytes]:
    return [value for key, value in request.headers if key == name]


def _words(request: h11.Request, name: bytes) -> list[str]:
    values = ",".join(_text(value) for value in _values(request, name))
    return [word.strip() for word in values.split(",")]


def _tokens(request: h11.Request, name: bytes) -> Iterable[str]:
    return {word.lower() for word in _words(request, name)}


def _hasBody(request: h11.Request) -> bool:
    lengths = _values(request, b"content-length")
    return bool(_values(request, b"transfer-encoding")) or lengths not in ([], [b"0"])


def _isKey(values: list[bytes]) -> bool:
    try:
        [value] = values
        return len(base64.b64decode(value, validate=True)) == _KEY_LENGTH
    except (ValueError, binascii.Error):
        return False


def _checkedOrigin(request: h11.Request, options: WebSocketOptions) -> str | None:
    origins = _values(request, b"origin")
    if not origins:
        return None
    origin = _text(origins[0])
    [host] = _values(request, b"host")
    allowed = options.originSet
    if len(origins) > 1 or not (
        ANY_ORIGIN in allowed
        or origin.lower() in allowed
        or (not allowed and _isAt(origin.lower(), _text(host).lower()))
    ):
        raise RequestRefused(403, "pages of this origin may not connect", _CLOSE)
    return origin


def _isAt(origin: str, host: str) -> bool:
    # Without the scheme: what terminates TLS may be another program before us.
    scheme, _, place = origin.partition("://")
    return bool(place) and host in (place, place + _DEFAULT_PORTS.get(scheme, ""))
