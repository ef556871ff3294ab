"""
The header of the PROXY protocol, versions 1 and 2: bytes in, a value out.

No I/O and no clock.  What a peer sent makes L{HeaderParser} raise L{HeaderError}
and nothing else, as soon as it can no longer become a header.  Sections are those
of "The PROXY protocol, Versions 1 & 2" by Willy Tarreau, edition of 2020 or later.
"""

from __future__ import annotations

import enum
import re
import struct
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, Final, TypeVar

from attrs import frozen

SIGNATURE_1: Final = b"PROXY "
SIGNATURE_2: Final = b"\r\n\r\n\x00\r\nQUIT\n"

MAXIMUM_LINE: Final = 107
"""Bytes of a header of version 1, its line end included (section 2.1)."""

MAXIMUM_LENGTH: Final = 4096
"""Bytes of a header of version 2 beyond the first 16, where the protocol would allow
65,535.  nginx takes 4,096 in all; addresses need 216, and what HAProxy can tell of
a TLS client without its certificate some hundreds."""

MAXIMUM_UNIQUE_ID: Final = 128
"""Bytes of a unique identifier (section 2.2.5)."""

_FIXED: Final = 16
_MAXIMUM_SIZE: Final = _FIXED + MAXIMUM_LENGTH
_SHOWN: Final = 16
_CRLF: Final = b"\r\n"


class HeaderError(ValueError):
    """What a peer sent is no header; the text says why, in a few words."""


class Command(enum.Enum):
    """Why a proxy connects (section 2.2)."""

    LOCAL = 0
    """On its own behalf, to see whether the server lives."""
    PROXY = 1
    """On behalf of a client."""


class Family(enum.Enum):
    """How the client reached the proxy: the kind of address."""

    UNSPEC = 0
    INET = 1
    INET6 = 2
    UNIX = 3


class Transport(enum.Enum):
    """How the client reached the proxy: the kind of socket."""

    UNSPEC = 0
    STREAM = 1
    DGRAM = 2


@frozen
class InternetAddress:
    """
    One end of a client's connection.

    @ivar host: Its IP address.
    @ivar port: Its port.
    """

    host: IPv4Address | IPv6Address
    port: int


@frozen
class UNIXPath:
    """
    One end of a client's connection through a UNIX socket.

    @ivar path: The socket's file; with a zero byte in front, an abstract name;
        empty where it has no name.
    """

    path: bytes


Address = InternetAddress | UNIXPath


class ClientFlags(enum.IntFlag):
    """What a client did over TLS (section 2.2.6)."""

    SSL = 1
    """It connected over TLS."""
    CERT_CONN = 2
    """It showed a certificate over this connection."""
    CERT_SESS = 4
    """It showed one at least once in this TLS session."""


class TLVType(enum.IntEnum):
    """What a proxy may tell beside the addresses (section 2.2)."""

    ALPN = 0x01
    AUTHORITY = 0x02
    CRC32C = 0x03
    NOOP = 0x04
    UNIQUE_ID = 0x05
    SSL = 0x20
    SSL_VERSION = 0x21
    SSL_CN = 0x22
    SSL_CIPHER = 0x23
    SSL_SIG_ALG = 0x24
    SSL_KEY_ALG = 0x25
    NETNS = 0x30


TLV = tuple[int, bytes]
"""The type and the value of one thing told."""


@frozen
class SSLDetails:
    """
    A client's TLS, which ended at the proxy.

    @ivar client: What it did.
    @ivar verify: 0 if its certificate was verified.
    @ivar version: The version of TLS, such as C{"TLSv1.3"}.
    @ivar commonName: That of its certificate.
    @ivar cipher: The cipher suite.
    @ivar signatureAlgorithm: What the proxy's certificate was signed with.
    @ivar keyAlgorithm: What kind of key the proxy's certificate has.
    @ivar raw: All that was told, in its order, also of types unknown here.
    """

    client: ClientFlags
    verify: int
    version: str | None = None
    commonName: str | None = None
    cipher: str | None = None
    signatureAlgorithm: str | None = None
    keyAlgorithm: str | None = None
    raw: tuple[TLV, ...] = ()

    @property
    def verified(self) -> bool:
        """The client showed a certificate, and the proxy found it good."""
        # Zero alone is what a proxy sends that asked for none.
        shown = self.client & (ClientFlags.CERT_CONN | ClientFlags.CERT_SESS)
        return bool(shown) and self.verify == 0


@frozen
class Details:
    """
    What a proxy told beside the addresses; what it did not is C{None}.

    @ivar alpn: The protocol that was agreed on in the client's TLS.
    @ivar authority: The name that the client asked for (SNI).
    @ivar uniqueID: What the proxy calls the connection.
    @ivar ssl: The client's TLS.
    @ivar namespace: The network namespace.
    @ivar checked: There was a checksum, and it was right.
    @ivar raw: All that was told, in its order, also of types unknown here.
    """

    alpn: bytes | None = None
    authority: str | None = None
    uniqueID: bytes | None = None
    ssl: SSLDetails | None = None
    namespace: str | None = None
    checked: bool = False
    raw: tuple[TLV, ...] = ()


_NOTHING: Final = Details()


@frozen
class Header:
    """
    What a proxy says of a connection.

    @ivar version: 1 or 2.
    @ivar command: Why it connects; of version 1, always on a client's behalf.
    @ivar family: The kind of addresses.
    @ivar transport: The kind of socket.
    @ivar source: The client; C{None} if the proxy tells of none, and the
        addresses of the connection itself hold.
    @ivar destination: Where the client connected to; C{None} as above.
    @ivar details: What else it told.
    """

    version: int
    command: Command = Command.PROXY
    family: Family = Family.UNSPEC
    transport: Transport = Transport.UNSPEC
    source: Address | None = None
    destination: Address | None = None
    details: Details = _NOTHING


class HeaderParser:
    """
    Reads one header, in whatever pieces it comes.

    @ivar started: Some of it has come.
    @ivar rest: What came after it; empty until it is complete.
    """

    def __init__(self) -> None:
        self.rest = b""
        self._buffer = bytearray()
        self._size = 0

    @property
    def started(self) -> bool:
        """Some bytes have come."""
        return bool(self._buffer)

    def receiveData(self, data: bytes) -> Header | None:
        """
        Take bytes.

        No more of them is kept than a header may have, and none is looked at
        twice but for the line of version 1, which is short.

        Args:
            data: What came, at least one byte.

        Returns:
            The header, once it is complete; what came after it is then in
            C{rest}.  C{None}: more is needed.

        Raises:
            HeaderError: It is none.
        """
        buffer = self._buffer
        held = len(buffer)
        buffer += data[: _MAXIMUM_SIZE - held]
        if self._size == 0:
            self._size = self._findSize()
        if self._size == 0 or len(buffer) < self._size:
            return None
        self.rest = data[self._size - held :]
        whole = bytes(buffer[: self._size])
        return _parseLine(whole) if whole.startswith(SIGNATURE_1) else _parseBinary(whole)

    def _findSize(self) -> int:
        buffer = self._buffer
        if buffer.startswith(SIGNATURE_1):
            return _sizeOfLine(buffer)
        if buffer.startswith(SIGNATURE_2):
            return _sizeOfBinary(buffer)
        if SIGNATURE_1.startswith(buffer) or SIGNATURE_2.startswith(buffer):
            return 0
        raise HeaderError(f"it began with {bytes(buffer[:_SHOWN])!r}, which is no PROXY header")


# Version 1 (section 2.1).


def _sizeOfLine(buffer: bytearray) -> int:
    line = buffer[:MAXIMUM_LINE]
    end = line.find(_CRLF)
    # Neither half of the line end may stand alone before it.
    content = line[:end] if end >= 0 else line.removesuffix(b"\r")
    if b"\r" in content or b"\n" in content:
        raise HeaderError("the line of its PROXY header does not end in CR LF")
    if end >= 0:
        return end + len(_CRLF)
    if len(line) == MAXIMUM_LINE:
        raise HeaderError(f"the line of its PROXY header has more than {MAXIMUM_LINE} bytes")
    return 0


_PORT: Final = rb"(0|[1-9][0-9]{0,4})"
_LINE: Final = re.compile(
    rb"PROXY (?:"
    rb"(?P<unknown>UNKNOWN)(?: .*)?|"
    rb"TCP4 (?P<source4>[0-9.]+) (?P<destination4>[0-9.]+) (?P<ports4>[0-9]+ [0-9]+)|"
    rb"TCP6 (?P<source6>[0-9A-Fa-f:.]+) (?P<destination6>[0-9A-Fa-f:.]+) (?P<ports6>[0-9]+ [0-9]+)"
    rb")\r\n",
    re.DOTALL,
)
_PORTS: Final = re.compile(_PORT + b" " + _PORT)

_MAXIMUM_PORT: Final = 65535

A = TypeVar("A", IPv4Address, IPv6Address)


def _parseLine(line: bytes) -> Header:
    match = _LINE.fullmatch(line)
    if match is None:
        raise HeaderError("its PROXY header of version 1 is malformed")
    if match["unknown"] is not None:
        return Header(1)
    if match["source4"] is not None:
        return _fromLine(
            Family.INET, IPv4Address, match["source4"], match["destination4"], match["ports4"]
        )
    return _fromLine(
        Family.INET6, IPv6Address, match["source6"], match["destination6"], match["ports6"]
    )


def _fromLine(
    family: Family, hostType: type[A], source: bytes, destination: bytes, ports: bytes
) -> Header:
    try:
        hosts = [hostType(each.decode("ascii")) for each in (source, destination)]
    except AddressValueError:
        raise HeaderError("its PROXY header has a malformed address") from None
    match = _PORTS.fullmatch(ports)
    if match is None or max(map(int, match.groups())) > _MAXIMUM_PORT:
        raise HeaderError("its PROXY header has a malformed port")
    return Header(
        1,
        family=family,
        transport=Transport.STREAM,
        source=InternetAddress(hosts[0], int(match[1])),
        destination=InternetAddress(hosts[1], int(match[2])),
    )


# Version 2 (section 2.2).

_HOSTS: Final = {Family.INET: struct.Struct("!4s4sHH"), Family.INET6: struct.Struct("!16s16sHH")}
_PATHS: Final = struct.Struct("!108s108s")


def _sizeOfBinary(buffer: bytearray) -> int:
    # Each of these as soon as it is there: who waits for more would wait long.
    if len(buffer) > 12:
        if buffer[12] >> 4 != 2:
            raise HeaderError(f"its PROXY header has the unknown version {buffer[12] >> 4}")
        if buffer[12] & 15 > 1:
            raise HeaderError(f"its PROXY header has the unknown command {buffer[12] & 15}")
    if len(buffer) > 13 and buffer[12] & 15 == Command.PROXY.value:
        if buffer[13] >> 4 > 3:
            raise HeaderError(f"its PROXY header has the unknown family {buffer[13] >> 4}")
        if buffer[13] & 15 > 2:
            raise HeaderError(f"its PROXY header has the unknown transport {buffer[13] & 15}")
    if len(buffer) < _FIXED:
        return 0
    length = int.from_bytes(buffer[14:16], "big")
    if length > MAXIMUM_LENGTH:
        raise HeaderError(f"its PROXY header has {length} bytes, the most is {MAXIMUM_LENGTH}")
    return _FIXED + length


def _parseBinary(whole: bytes) -> Header:
    if whole[12] & 15 == Command.LOCAL.value:
        # All that follows is to be skipped, the family too.
        return Header(2, Command.LOCAL)
    family, transport = Family(whole[13] >> 4), Transport(whole[13] & 15)
    if family is Family.UNSPEC or transport is Transport.UNSPEC:
        # How long addresses of no kind are nobody can tell, so neither where
        # anything behind them begins.
        return Header(2, Command.PROXY, family, transport)
    layout = _HOSTS.get(family, _PATHS)
    end = _FIXED + layout.size
    if len(whole) < end:
        raise HeaderError("its PROXY header is too short for its addresses")
    ends = _addresses(family, layout.unpack_from(whole, _FIXED))
    return Header(2, Command.PROXY, family, transport, *ends, _parseDetails(whole, end))


def _addresses(family: Family, fields: tuple[Any, ...]) -> tuple[Address, Address]:
    if family is Family.UNIX:
        return _unixPath(fields[0]), _unixPath(fields[1])
    hostType = IPv4Address if family is Family.INET else IPv6Address
    return (
        InternetAddress(hostType(fields[0]), fields[2]),
        InternetAddress(hostType(fields[1]), fields[3]),
    )


def _unixPath(padded: bytes) -> UNIXPath:
    if padded.startswith(b"\0"):
        # An abstract name, in which zeros count; those at its end may be padding.
        return UNIXPath(padded.rstrip(b"\0"))
    return UNIXPath(padded.partition(b"\0")[0])


# What is told beside the addresses (sections 2.2.1 to 2.2.8).


def _split(data: bytes, position: int) -> Iterator[tuple[int, int, bytes]]:
    # Each type, where its value begins, and the value.
    while position < len(data):
        start = position + 3
        size = int.from_bytes(data[position + 1 : start], "big")
        position, kind = start + size, data[position]
        if start > len(data) or position > len(data):
            raise HeaderError("its PROXY header ends within a TLV")
        yield kind, start, data[start:position]


def _parseDetails(whole: bytes, position: int) -> Details:
    if position == len(whole):
        return _NOTHING
    raw = []
    checksum = None
    for kind, start, value in _split(whole, position):
        raw.append((kind, value))
        if kind == TLVType.CRC32C:
            if checksum is not None:
                raise HeaderError("its PROXY header has two checksums")
            checksum = start
            _check(whole, start, value)
    told = dict(raw)
    uniqueID = told.get(TLVType.UNIQUE_ID)
    if uniqueID is not None and len(uniqueID) > MAXIMUM_UNIQUE_ID:
        raise HeaderError(f"its unique ID has more than {MAXIMUM_UNIQUE_ID} bytes")
    return Details(
        alpn=told.get(TLVType.ALPN),
        authority=_text(told, TLVType.AUTHORITY),
        uniqueID=uniqueID,
        ssl=_parseSSL(told[TLVType.SSL]) if TLVType.SSL in told else None,
        namespace=_text(told, TLVType.NETNS, "ascii"),
        checked=checksum is not None,
        raw=tuple(raw),
    )


def _parseSSL(value: bytes) -> SSLDetails:
    if len(value) < 5:
        raise HeaderError("what its PROXY header tells of TLS is too short")
    raw = tuple((kind, each) for kind, _, each in _split(value, 5))
    told = dict(raw)
    return SSLDetails(
        client=ClientFlags(value[0]),
        verify=int.from_bytes(value[1:5], "big"),
        version=_text(told, TLVType.SSL_VERSION, "ascii"),
        commonName=_text(told, TLVType.SSL_CN),
        cipher=_text(told, TLVType.SSL_CIPHER, "ascii"),
        signatureAlgorithm=_text(told, TLVType.SSL_SIG_ALG, "ascii"),
        keyAlgorithm=_text(told, TLVType.SSL_KEY_ALG, "ascii"),
        raw=raw,
    )


def _text(told: dict[int, bytes], kind: TLVType, encoding: str = "utf-8") -> str | None:
    value = told.get(kind)
    try:
        return None if value is None else value.decode(encoding)
    except UnicodeDecodeError:
        raise HeaderError(f"the {kind.name} in its PROXY header is not {encoding}") from None


def _check(whole: bytes, start: int, value: bytes) -> None:
    if len(value) != 4:
        raise HeaderError("the checksum of its PROXY header is not of four bytes")
    # It was computed with zeros in its own place.
    zeroed = whole[:start] + bytes(4) + whole[start + 4 :]
    if crc32c(zeroed) != int.from_bytes(value, "big"):
        raise HeaderError("the checksum of its PROXY header is wrong")


def _crcTable() -> Iterator[int]:
    for byte in range(256):
        remainder = byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
        yield remainder


_CRC_TABLE: Final = tuple(_crcTable())


def crc32c(data: bytes) -> int:
    """
    Compute the checksum of a header (RFC 9260, appendix A, Castagnoli's polynomial).
    """
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder = remainder >> 8 ^ _CRC_TABLE[(remainder ^ byte) & 0xFF]
    return remainder ^ 0xFFFFFFFF
