"""
permessage-deflate (RFC 7692), for wsproto to call.

wsproto brings an extension of its own.  It inflates without a bound, takes
parameters that it should decline, and loses its place when a control frame comes
between the fragments of a compressed message, which RFC 6455 allows.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Any, Final, Self

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

NAME: Final = "permessage-deflate"

WINDOW_BITS: Final = 12
"""The window of what we send, and of what we are sent where a client lets us say:
4 KiB instead of 32 KiB, for some per cent of the gain.  The Python library
websockets chose the same."""

_MEMORY_LEVEL: Final = 5
_MINIMUM_BITS: Final = 9  # zlib has no window of 8 bits for raw deflate
_MAXIMUM_BITS: Final = 15
_BITS: Final = re.compile(r"[89]|1[0-5]")

_TAIL: Final = b"\x00\x00\xff\xff"
"""What ends each message and is not sent (section 7.2.1)."""

_EMPTY: Final = b"\x00"
"""A message of no bytes (section 7.2.3.6)."""

_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_SIZES: Final = ("server_max_window_bits", "client_max_window_bits")


class Deflate(Extension):
    """
    The compression of one connection.

    @ivar name: What the extension is called.
    @ivar response: What to answer the client that offered it.
    """

    name = NAME

    def __init__(self, parameters: dict[str, str | None], limit: int) -> None:
        """
        Args:
            parameters: The client's offer, checked.
            limit: The most bytes that a message may have, inflated.
        """
        self._limit = limit
        self._forgets = "server_no_context_takeover" in parameters
        self._clientForgets = "client_no_context_takeover" in parameters
        asked = parameters.get("server_max_window_bits")
        self._sendBits = min(WINDOW_BITS, int(asked or WINDOW_BITS))
        answer = [NAME, *(flag for flag in _FLAGS if flag in parameters)]
        if asked is not None:
            answer.append(f"server_max_window_bits={self._sendBits}")
        self._receiveBits = _MAXIMUM_BITS
        if "client_max_window_bits" in parameters:
            self._receiveBits = min(
                WINDOW_BITS, int(parameters["client_max_window_bits"] or WINDOW_BITS)
            )
            answer.append(f"client_max_window_bits={self._receiveBits}")
        self.response = "; ".join(answer)
        # Made when they are needed: many clients only ever listen, or talk.
        self._deflater: Any = None
        self._inflater: Any = None
        self._compressed = False
        self._isControl = False
        self._size = 0

    @classmethod
    def negotiate(cls, offers: Iterable[str], limit: int) -> Self | None:
        """
        Take the first offer that can be taken.

        Args:
            offers: The values of C{Sec-WebSocket-Extensions}.
            limit: The most bytes that a message may have, inflated.
        """
        for offer in ",".join(offers).split(","):
            name, *rest = (part.strip() for part in offer.split(";"))
            parameters = _parameters(rest)
            if name == NAME and parameters is not None:
                return cls(parameters, limit)
        return None

    def enabled(self) -> bool:
        """
        It was agreed on, or it would not be here.
        """
        return True

    def offer(self) -> bool:
        """
        A server offers nothing.
        """
        return False

    def frame_inbound_header(
        self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """
        A frame begins.  wsproto may say so again of one whose header came in pieces.
        """
        self._isControl = opcode.iscontrol()
        if self._isControl or opcode is Opcode.CONTINUATION:
            return RsvBits(False, False, False)
        self._compressed = rsv.rsv1
        self._size = 0
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes | CloseReason:
        """
        A piece of a frame came.
        """
        return data if self._isControl or not self._compressed else self._inflate(data)

    def frame_inbound_complete(self, proto: Any, fin: bool) -> bytes | CloseReason | None:
        """
        A frame is over.
        """
        if self._isControl or not self._compressed or not fin:
            return None
        rest = self._inflate(_TAIL)
        # A sender may also end its stream with the message, and begin another.
        if self._clientForgets or self._inflater.eof:
            self._inflater = None
        return rest

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        if self._inflater is None:
            self._inflater = zlib.decompressobj(-self._receiveBits)
        try:
            # One byte more than may be tells that there is too much.
            inflated: bytes = self._inflater.decompress(data, self._limit - self._size + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._size += len(inflated)
        return inflated if self._size <= self._limit else CloseReason.MESSAGE_TOO_BIG

    def frame_outbound(
        self, proto: Any, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        """
        A frame is to be sent; a message of ours has no more than one.
        """
        if opcode.iscontrol():
            return rsv, data
        if self._deflater is None:
            self._deflater = zlib.compressobj(wbits=-self._sendBits, memLevel=_MEMORY_LEVEL)
        sent = self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        if self._forgets:
            self._deflater = None
        return RsvBits(True, rsv.rsv2, rsv.rsv3), sent[: -len(_TAIL)] or _EMPTY


def _parameters(words: list[str]) -> dict[str, str | None] | None:
    # What has to be declined (section 7.1): another name, one that comes twice,
    # a value that it may not have, a window that zlib has not.
    parameters: dict[str, str | None] = {}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        value = value.removeprefix('"').removesuffix('"')
        if key in parameters or key not in (*_FLAGS, *_SIZES):
            return None
        if key in _FLAGS and equals:
            return None
        if key == "server_max_window_bits" and not equals:
            return None
        if equals and (not _BITS.fullmatch(value) or int(value) < _MINIMUM_BITS):
            return None
        parameters[key] = value if equals else None
    return parameters
