"""
The wrapper C{websocket:} as an operator sees it: its keys, and what they allow.
"""

from __future__ import annotations

import enum
import re
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory
from zope.interface import implementer

from myserv.endpoints.layer import HANDSHAKE_TIMEOUT
from myserv.errors import EndpointError
from myserv.interfaces import IListenerContext, IStreamWrapper
from myserv.options.declare import option
from myserv.options.values import Duration, Size

MAXIMUM_MESSAGE: Final = "1MiB"
"""The largest message that is taken, decompressed.  That of NATS is 1 MiB too,
ejabberd's 256 KiB."""

MAXIMUM_REQUEST: Final = "8KiB"
"""The largest head of an HTTP request, cookies included; nginx takes 8 KiB a line."""

PING_INTERVAL: Final = "30s"
"""How long a peer may say nothing before it is asked.  Proxies give up on a silent
connection after 60 s (nginx) or less (50 s in many examples for HAProxy)."""

ANY_ORIGIN: Final = "*"
"""Stands for every origin."""

_PATH: Final = re.compile(r"/[!$-;=@-~]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Frames(enum.Enum):
    """What kind of message a stream of bytes is sent in."""

    BINARY = "binary"
    TEXT = "text"


@frozen
class WebSocketOptions:
    """The keys that C{websocket:} claims."""

    path: str = option("/", help="the path that clients ask for; any other is not found")
    origins: tuple[str, ...] = option(
        (),
        help="the web origins whose pages may connect, or *; "
        "unless said, those on the host that is asked",
    )
    subprotocol: tuple[str, ...] = option(
        (), help="the subprotocols, most wanted first; a client must offer one of them"
    )
    maxMessage: Size = option(
        MAXIMUM_MESSAGE, help="the largest message that is taken, decompressed", minimum=125
    )
    frames: Frames = option("binary", help="the kind of message that bytes are sent in")
    handshakeTimeout: Duration = option(
        HANDSHAKE_TIMEOUT, help="how long a client may take to ask", minimum=0.001
    )
    maxRequest: Size = option(
        MAXIMUM_REQUEST, help="the largest request that is read, headers and all", minimum=256
    )
    ping: Duration = option(
        PING_INTERVAL,
        help="how long a client may be silent before it is asked, and then before it is cut; "
        "0s never asks",
    )
    compress: bool = option(
        False, help="compress messages where a client can; costs up to 50 KiB a connection"
    )

    def __attrs_post_init__(self) -> None:
        if not _PATH.fullmatch(self.path):
            raise ValueError(f'{self.path!r} is not a path: write one such as "/chat"')
        for each in self.origins:
            if each != ANY_ORIGIN:
                _checkOrigin(each)
        for each in self.subprotocol:
            if not _TOKEN.fullmatch(each):
                raise ValueError(f'{each!r} is not a subprotocol: write one such as "mqtt"')

    @property
    def originSet(self) -> frozenset[str]:
        """The origins, as a browser writes them."""
        return frozenset(_canonical(each) for each in self.origins)


def _checkOrigin(text: str) -> None:
    wrong = f'{text!r} is not an origin: write one such as "https://example.org"'
    try:
        parts = urlsplit(text.lower())
        _ = parts.port
    except ValueError:
        raise ValueError(wrong) from None
    if not parts.scheme or not parts.hostname or f"{parts.scheme}://{parts.netloc}" != text.lower():
        raise ValueError(wrong)


def _canonical(origin: str) -> str:
    # A browser leaves out the port that is the scheme's own.
    scheme, _, host = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{host.removesuffix(f':{port}')}" if host else origin


@implementer(IStreamWrapper)
class WebSocketWrapper:
    """
    WebSocket over any stream.
    """

    prefix = "websocket"
    description = "WebSocket over any stream endpoint, for browsers"
    example = "websocket:path=/chat:tcp:8080"
    optionsType = WebSocketOptions
    carriesMessages = True

    def wrapFactory(
        self, context: IListenerContext, options: WebSocketOptions, factory: IProtocolFactory
    ) -> IProtocolFactory:
        """
        Put WebSocket in front of a factory.

        Raises:
            EndpointError: The extra C{websocket} is not installed.
        """
        try:
            from myserv.endpoints.websocket.layer import WebSocketFactory
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            raise EndpointError(
                f"websocket needs {missing}: pip install 'myserv[websocket]'"
            ) from None
        return WebSocketFactory(context, options, factory)
