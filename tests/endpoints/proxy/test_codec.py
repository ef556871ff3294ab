"""The PROXY header: what is one, what is none, and that the pieces do not matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myserv.endpoints.proxy.codec import (
    MAXIMUM_LENGTH,
    MAXIMUM_LINE,
    SIGNATURE_2,
    Address,
    ClientFlags,
    Command,
    Details,
    Family,
    Header,
    HeaderError,
    HeaderParser,
    InternetAddress,
    SSLDetails,
    TLVType,
    Transport,
    UNIXPath,
    crc32c,
)
from myserv.testing import chunkings
from tests.endpoints.proxy.writer import (
    familyOf,
    fromText,
    packAddresses,
    writeBinary,
    writeBlock,
    writeLine,
    writeSSL,
    writeTLVs,
)

CLIENT = fromText("192.168.0.1", 56324)
SERVER = fromText("192.168.0.11", 443)
CLIENT_6 = fromText("2001:db8::1", 56324)
SERVER_6 = fromText("2001:db8::11", 443)
BEHIND = b"GET / HTTP/1.1\r\nHost: 192.168.0.11\r\n\r\n"


def feed(pieces: list[bytes]) -> tuple[Header | None, bytes]:
    """What a parser makes of pieces, and what it leaves of them."""
    parser = HeaderParser()
    waiting = iter(pieces)
    for piece in waiting:
        header = parser.receiveData(piece)
        assert parser.started
        if header is not None:
            return header, parser.rest + b"".join(waiting)
        assert parser.rest == b""
    return None, b""


def parse(data: bytes) -> Header:
    """The header, which is the same in whatever pieces it comes, whatever comes behind it."""
    header, rest = feed([data])
    assert header is not None
    assert rest == b""
    for pieces in chunkings(data):
        assert feed(pieces) == (header, b"")
    for pieces in chunkings(data + BEHIND):
        assert feed(pieces) == (header, BEHIND)
    for end in range(1, len(data)):
        assert feed([data[:end]]) == (None, b"")
    return header


def refused(data: bytes) -> str:
    """Why it is no header, which is the same in whatever pieces it comes."""
    told = set()
    for pieces in (*chunkings(data), *chunkings(data + BEHIND)):
        with pytest.raises(HeaderError) as caught:
            feed(pieces)
        told.add(str(caught.value))
    # In pieces it may be told with fewer bytes at hand.
    return min(told, key=len) if len(told) > 1 else told.pop()


# --- version 1 ----------------------------------------------------------------


def test_theExampleOfTheSpecification() -> None:
    """Section 2.1, with the request behind it."""
    text = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    assert parse(text) == Header(
        1, Command.PROXY, Family.INET, Transport.STREAM, CLIENT, SERVER, Details()
    )
    assert writeLine(CLIENT, SERVER) == text


ONES = b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

LINES = {
    "the longest of TCP4": (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        fromText("255.255.255.255", 65535),
    ),
    "the longest of TCP6": (
        b"PROXY TCP6 %b %b 65535 65535\r\n" % (ONES, ONES),
        fromText("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
    ),
    "the shortest": (b"PROXY TCP6 :: :: 0 0\r\n", fromText("::", 0)),
    "port 0": (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", fromText("0.0.0.0", 0)),
    "either case": (b"PROXY TCP6 AbCd::1 AbCd::1 1 1\r\n", fromText("abcd::1", 1)),
    # What inet_ntop makes of it, and so what HAProxy sends.
    "IPv4-mapped": (
        b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.1 1 1\r\n",
        fromText("::ffff:192.0.2.1", 1),
    ),
}


@pytest.mark.parametrize(("line", "end"), LINES.values(), ids=LINES)
def test_lines(line: bytes, end: InternetAddress) -> None:
    """Every spelling of an address that the specification allows."""
    header = parse(line)
    assert (header.source, header.destination) == (end, end)
    assert header.family is (Family.INET if end.host.version == 4 else Family.INET6)


UNKNOWN = [
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN \r\n",
    b"PROXY UNKNOWN %b %b 65535 65535\r\n" % (ONES, ONES),
    b"PROXY UNKNOWN anything \xff\x00 at all\r\n",
]


@pytest.mark.parametrize("line", UNKNOWN)
def test_unknown(line: bytes) -> None:
    """What follows is ignored, and no addresses are told."""
    assert parse(line) == Header(1)


def test_theLongestLineIsExactlyAsLongAsAllowed() -> None:
    """The worst case of the specification."""
    assert len(UNKNOWN[2]) == MAXIMUM_LINE


MALFORMED = "its PROXY header of version 1 is malformed"
ENDING = "the line of its PROXY header does not end in CR LF"
TOO_LONG = "the line of its PROXY header has more than 107 bytes"
ADDRESS = "its PROXY header has a malformed address"
PORT = "its PROXY header has a malformed port"

WRONG_LINES = {
    "no addresses": (b"PROXY TCP4\r\n", MALFORMED),
    "nothing": (b"PROXY \r\n", MALFORMED),
    "one address": (b"PROXY TCP4 192.0.2.1 1 2\r\n", MALFORMED),
    "one port": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", MALFORMED),
    "three ports": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", MALFORMED),
    "two spaces": (b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", MALFORMED),
    "two spaces later": (b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", MALFORMED),
    "a tab": (b"PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n", MALFORMED),
    "a space at the end": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", MALFORMED),
    "lower case": (b"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", MALFORMED),
    "another protocol": (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", MALFORMED),
    "more than unknown": (b"PROXY UNKNOWNS\r\n", MALFORMED),
    "IPv6 for TCP4": (b"PROXY TCP4 ::1 ::1 1 2\r\n", MALFORMED),
    "IPv4-mapped for TCP4": (b"PROXY TCP4 ::ffff:1.2.3.4 ::ffff:1.2.3.4 1 2\r\n", MALFORMED),
    "IPv4 for TCP6": (b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", ADDRESS),
    "a mixture": (b"PROXY TCP6 ::1 192.0.2.2 1 2\r\n", ADDRESS),
    "three numbers": (b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", ADDRESS),
    "five numbers": (b"PROXY TCP4 192.0.2.1.1 192.0.2.2 1 2\r\n", ADDRESS),
    "256": (b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", ADDRESS),
    "a leading zero": (b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", ADDRESS),
    "zeros": (b"PROXY TCP4 000.0.2.1 192.0.2.2 1 2\r\n", ADDRESS),
    "two dots": (b"PROXY TCP4 192.0..1 192.0.2.2 1 2\r\n", ADDRESS),
    "nine groups": (b"PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n", ADDRESS),
    "seven groups": (b"PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n", ADDRESS),
    "two gaps": (b"PROXY TCP6 1::2::3 ::1 1 2\r\n", ADDRESS),
    "five digits": (b"PROXY TCP6 12345::1 ::1 1 2\r\n", ADDRESS),
    "a zone": (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", MALFORMED),
    "brackets": (b"PROXY TCP6 [::1] [::1] 1 2\r\n", MALFORMED),
    "a host name": (b"PROXY TCP4 localhost 192.0.2.2 1 2\r\n", MALFORMED),
    "a port too large": (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", PORT),
    "a port far too large": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 100000\r\n", PORT),
    "a port with a zero": (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", PORT),
    "a port of zeros": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 00\r\n", PORT),
    "a signed port": (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", MALFORMED),
    "other digits": ("PROXY TCP4 192.0.2.1 192.0.2.2 \u0661 2\r\n".encode(), MALFORMED),
    "LF alone": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", ENDING),
    "CR alone": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r ", ENDING),
    "CR CR LF": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n", ENDING),
    "a CR before the end": (b"PROXY UNKNOWN \r here\r\n", ENDING),
    "LF before the end": (b"PROXY UNKNOWN \n here\r\n", ENDING),
    "too long": (b"PROXY UNKNOWN".ljust(MAXIMUM_LINE - 1) + b"\r\n", TOO_LONG),
    "endless": (b"PROXY UNKNOWN".ljust(5000, b"x"), TOO_LONG),
    "one too long": (b"PROXY UNKNOWN".ljust(MAXIMUM_LINE), TOO_LONG),
}


@pytest.mark.parametrize(("line", "told"), WRONG_LINES.values(), ids=WRONG_LINES)
def test_malformedLines(line: bytes, told: str) -> None:
    """Whatever is not exactly a line of version 1 is none."""
    assert refused(line) == told


# --- neither --------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"P",
        b"PROXX",
        b"PROXY\r\n",
        b"proxy TCP4",
        b"\r\n\r\nQ",
        SIGNATURE_2[:-1] + b"\r",
        b"\x00",
        b" PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    ],
)
def test_neitherSignature(data: bytes) -> None:
    """A peer that says something else is told so at its first wrong byte."""
    whole = data + b"?"
    assert refused(whole).startswith("it began with b")
    parser = HeaderParser()
    taken = 0
    with suppress(HeaderError):
        while parser.receiveData(whole[taken : taken + 1]) is None:
            taken += 1
    assert b"PROXY ".startswith(whole[:taken]) or SIGNATURE_2.startswith(whole[:taken])
    assert not b"PROXY ".startswith(whole[: taken + 1])
    assert not SIGNATURE_2.startswith(whole[: taken + 1])


def test_onlyTheBeginningIsShown() -> None:
    """Of what is no header, not more than the log wants."""
    assert refused(b"A" * 9999) == "it began with b'A', which is no PROXY header"
    with pytest.raises(HeaderError, match=r"began with b'A{16}', which"):
        HeaderParser().receiveData(b"A" * 9999)


# --- version 2 ------------------------------------------------------------------


def test_version2ByHand() -> None:
    """Section 2.2, byte for byte."""
    data = bytes.fromhex(
        "0d0a0d0a000d0a515549540a"  # the signature
        "21"  # version 2, PROXY
        "11"  # TCP over IPv4
        "000c"  # 12 bytes follow
        "c0a80001 c0a8000b dc04 01bb".replace(" ", "")
    )
    assert writeBinary(CLIENT, SERVER) == data
    assert parse(data) == Header(2, Command.PROXY, Family.INET, Transport.STREAM, CLIENT, SERVER)


@pytest.mark.parametrize("transport", [Transport.STREAM, Transport.DGRAM])
@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (CLIENT, SERVER),
        (CLIENT_6, SERVER_6),
        (UNIXPath(b"/run/client.sock"), UNIXPath(b"/run/server.sock")),
        (UNIXPath(b""), UNIXPath(b"/" * 108)),
        (UNIXPath(b"\0abstract\0name"), UNIXPath(b"\xff\xfe")),
    ],
)
def test_addressesOfVersion2(source: Address, destination: Address, transport: Transport) -> None:
    """Every family over both kinds of socket."""
    assert parse(writeBinary(source, destination, transport=transport)) == Header(
        2, Command.PROXY, familyOf(source), transport, source, destination
    )


def test_whatFollowsAPathIsNotOfIt() -> None:
    """A path ends at its first zero byte, as it does for the system."""
    junk = b"/a\0junk".ljust(108, b"x")
    header = parse(writeBlock(1, 3, 1, junk * 2))
    assert header.source == UNIXPath(b"/a")


LOCAL = {
    "as it should be": writeBlock(0, 0, 0, b""),
    "with addresses": writeBlock(0, 1, 1, packAddresses(CLIENT, SERVER)),
    "of no family": writeBlock(0, 15, 15, b""),
    "with junk": writeBlock(0, 1, 1, b"junk"),
}


@pytest.mark.parametrize("data", LOCAL.values(), ids=LOCAL)
def test_local(data: bytes) -> None:
    """The block is skipped, whatever it says."""
    assert parse(data) == Header(2, Command.LOCAL)


@pytest.mark.parametrize(
    ("family", "transport"),
    [
        (Family.UNSPEC, Transport.UNSPEC),
        (Family.UNSPEC, Transport.STREAM),
        (Family.INET, Transport.UNSPEC),
        (Family.UNIX, Transport.UNSPEC),
    ],
)
def test_unspecified(family: Family, transport: Transport) -> None:
    """Addresses of no kind are ignored, with all that follows."""
    for block in (b"", b"junk", packAddresses(CLIENT, SERVER)):
        assert parse(writeBlock(1, family.value, transport.value, block)) == Header(
            2, Command.PROXY, family, transport
        )


def version(number: int) -> bytes:
    """A header of another version."""
    data = bytearray(writeBinary(CLIENT, SERVER))
    data[12] = number << 4 | 1
    return bytes(data)


SHORT = "its PROXY header is too short for its addresses"
WITHIN = "its PROXY header ends within a TLV"


def told(*tlvs: tuple[int, bytes], junk: bytes = b"") -> bytes:
    """A header that tells something beside the addresses."""
    return writeBlock(1, 1, 1, packAddresses(CLIENT, SERVER) + writeTLVs(tlvs) + junk)


CHECKED = writeBinary(CLIENT, SERVER, checksum=True)

WRONG_BLOCKS = {
    "version 0": (version(0), "its PROXY header has the unknown version 0"),
    "version 1": (version(1), "its PROXY header has the unknown version 1"),
    "version 3": (version(3), "its PROXY header has the unknown version 3"),
    "version 15": (version(15), "its PROXY header has the unknown version 15"),
    "command 2": (writeBlock(2, 1, 1, b""), "its PROXY header has the unknown command 2"),
    "command 15": (writeBlock(15, 1, 1, b""), "its PROXY header has the unknown command 15"),
    "family 4": (writeBlock(1, 4, 1, b""), "its PROXY header has the unknown family 4"),
    "family 15": (writeBlock(1, 15, 1, b""), "its PROXY header has the unknown family 15"),
    "transport 3": (writeBlock(1, 1, 3, b""), "its PROXY header has the unknown transport 3"),
    "no IPv4 addresses": (writeBlock(1, 1, 1, b""), SHORT),
    "short IPv4 addresses": (writeBlock(1, 1, 1, bytes(11)), SHORT),
    "short IPv6 addresses": (writeBlock(1, 2, 1, bytes(35)), SHORT),
    "short paths": (writeBlock(1, 3, 1, bytes(215)), SHORT),
    "too long": (
        writeBlock(1, 1, 1, bytes(MAXIMUM_LENGTH + 1)),
        "its PROXY header has 4097 bytes, the most is 4096",
    ),
    "far too long": (
        writeBlock(0, 0, 0, bytes(65535)),
        "its PROXY header has 65535 bytes, the most is 4096",
    ),
    "a TLV without a length": (told(junk=b"\x04"), WITHIN),
    "a TLV with half a length": (told(junk=b"\x04\x00"), WITHIN),
    "a TLV without its value": (told(junk=b"\x04\x00\x01"), WITHIN),
    "a TLV too long": (told((4, b""), junk=b"\x04\xff\xffxyz"), WITHIN),
    "SSL too short": (
        told((TLVType.SSL, bytes(4))),
        "what its PROXY header tells of TLS is too short",
    ),
    "SSL with a broken TLV": (told((TLVType.SSL, bytes(5) + b"\x21\x00\x09x")), WITHIN),
    "authority not UTF-8": (
        told((TLVType.AUTHORITY, b"\xff")),
        "the AUTHORITY in its PROXY header is not utf-8",
    ),
    "namespace not ASCII": (
        told((TLVType.NETNS, "ü".encode())),
        "the NETNS in its PROXY header is not ascii",
    ),
    "a common name not UTF-8": (
        told(writeSSL(1, 0, [(TLVType.SSL_CN, b"\xff")])),
        "the SSL_CN in its PROXY header is not utf-8",
    ),
    "unique ID too long": (
        told((TLVType.UNIQUE_ID, bytes(129))),
        "its unique ID has more than 128 bytes",
    ),
    "a checksum too short": (
        told((TLVType.CRC32C, bytes(3))),
        "the checksum of its PROXY header is not of four bytes",
    ),
    "a wrong checksum": (
        told((TLVType.CRC32C, bytes(4))),
        "the checksum of its PROXY header is wrong",
    ),
    "one bit over": (
        CHECKED[:20] + bytes([CHECKED[20] ^ 1]) + CHECKED[21:],
        "the checksum of its PROXY header is wrong",
    ),
}


@pytest.mark.parametrize(("data", "why"), WRONG_BLOCKS.values(), ids=WRONG_BLOCKS)
def test_malformedBlocks(data: bytes, why: str) -> None:
    """Whatever is not exactly a header of version 2 is none."""
    assert refused(data) == why


def test_twoChecksums() -> None:
    """Even where each would be right on its own, nobody can say over what."""
    block = packAddresses(CLIENT, SERVER) + writeTLVs([(TLVType.CRC32C, bytes(4))] * 2)
    data = bytearray(writeBlock(1, 1, 1, block))
    data[-11:-7] = crc32c(bytes(data)).to_bytes(4, "big")
    assert refused(bytes(data)) == "its PROXY header has two checksums"


def test_theLargestBlock() -> None:
    """Exactly as much as may be."""
    padding = MAXIMUM_LENGTH - 12 - 3
    [(kind, value)] = parse(told((TLVType.NOOP, bytes(padding)))).details.raw
    assert (kind, len(value)) == (TLVType.NOOP, padding)


# --- what is told beside the addresses ------------------------------------------


def test_everythingThatCanBeTold() -> None:
    """Typed where the specification says what it is, and raw in any case."""
    inner = [
        (TLVType.SSL_VERSION, b"TLSv1.3"),
        (TLVType.SSL_CN, "Jürgen".encode()),
        (TLVType.SSL_CIPHER, b"TLS_AES_128_GCM_SHA256"),
        (TLVType.SSL_SIG_ALG, b"RSA-SHA256"),
        (TLVType.SSL_KEY_ALG, b"RSA2048"),
        (0x7F, b"of tomorrow"),
    ]
    tlvs = [
        (TLVType.ALPN, b"h2"),
        (TLVType.AUTHORITY, "bücher.example".encode()),
        (TLVType.NOOP, bytes(5)),
        (TLVType.UNIQUE_ID, bytes(range(128))),
        writeSSL(0b111, 0, inner),
        (TLVType.NETNS, b"blue"),
        (0xE0, b"of ours"),
        (0xEA, b""),
    ]
    details = parse(writeBinary(CLIENT, SERVER, tlvs, checksum=True)).details
    ssl = SSLDetails(
        client=ClientFlags.SSL | ClientFlags.CERT_CONN | ClientFlags.CERT_SESS,
        verify=0,
        version="TLSv1.3",
        commonName="Jürgen",
        cipher="TLS_AES_128_GCM_SHA256",
        signatureAlgorithm="RSA-SHA256",
        keyAlgorithm="RSA2048",
        raw=tuple(inner),
    )
    checksum = details.raw[-1]
    assert checksum[0] == TLVType.CRC32C
    assert details == Details(
        alpn=b"h2",
        authority="bücher.example",
        uniqueID=bytes(range(128)),
        ssl=ssl,
        namespace="blue",
        checked=True,
        raw=(*tlvs, checksum),
    )
    assert ssl.verified


@pytest.mark.parametrize(
    ("client", "verify", "verified"),
    [(0b001, 0, False), (0b011, 0, True), (0b101, 0, True), (0b011, 18, False), (0, 0, False)],
)
def test_verified(client: int, verify: int, verified: bool) -> None:
    """Only a certificate that was shown can have been found good."""
    ssl = parse(told(writeSSL(client, verify, []))).details.ssl
    assert ssl == SSLDetails(ClientFlags(client), verify)
    assert ssl.verified is verified


def test_theLastOfTwoCounts() -> None:
    """As with HAProxy; both are kept."""
    details = parse(told((TLVType.AUTHORITY, b"a"), (TLVType.AUTHORITY, b"b"))).details
    assert details.authority == "b"
    assert details.raw == ((TLVType.AUTHORITY, b"a"), (TLVType.AUTHORITY, b"b"))


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        # RFC 3720, appendix B.4, where they stand in network byte order.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_checksum(data: bytes, checksum: int) -> None:
    """The published examples."""
    assert crc32c(data) == checksum


# --- anything -------------------------------------------------------------------

PORTS = st.integers(0, 65535)
UNREGISTERED = sorted(set(range(256)) - set(TLVType))
TLVS = st.lists(st.tuples(st.sampled_from(UNREGISTERED), st.binary(max_size=200)), max_size=10)


@st.composite
def endpoints(draw: st.DrawFn) -> tuple[Address, Address]:
    """Two addresses of one family."""
    family = draw(st.sampled_from([4, 6, 0]))
    if family == 0:
        path = st.binary(max_size=108).map(
            lambda each: each.rstrip(b"\0") if each[:1] == b"\0" else each.partition(b"\0")[0]
        )
        return UNIXPath(draw(path)), UNIXPath(draw(path))
    hosts: Any = st.ip_addresses(v=4 if family == 4 else 6)
    return tuple(InternetAddress(draw(hosts), draw(PORTS)) for _ in range(2))  # type: ignore[return-value]


@given(endpoints(), TLVS, st.sampled_from([Transport.STREAM, Transport.DGRAM]), st.booleans())
def test_whatIsWrittenIsRead(
    ends: tuple[Address, Address],
    tlvs: list[tuple[int, bytes]],
    transport: Transport,
    checksum: bool,
) -> None:
    """Version 2: any addresses, with anything unknown beside them."""
    data = writeBinary(*ends, tlvs, transport, checksum=checksum)
    header, rest = feed([data + BEHIND])
    assert header is not None
    assert rest == BEHIND
    raw = header.details.raw
    assert raw[: len(tlvs)] == tuple(tlvs)
    assert attrs.evolve(header, details=Details()) == Header(
        2, Command.PROXY, familyOf(ends[0]), transport, *ends
    )
    assert header.details.checked is checksum


@given(st.data(), st.sampled_from([4, 6]))
def test_whatIsWrittenAsALineIsRead(data: st.DataObject, family: int) -> None:
    """Version 1: any addresses."""
    hosts: Any = st.ip_addresses(v=4 if family == 4 else 6)
    ends = [InternetAddress(data.draw(hosts), data.draw(PORTS)) for _ in range(2)]
    header, rest = feed([writeLine(*ends) + BEHIND])
    assert header is not None
    assert (header.source, header.destination, rest) == (*ends, BEHIND)


@given(st.lists(st.binary(min_size=1)), st.sampled_from([b"", b"PROXY ", SIGNATURE_2]))
def test_arbitraryBytesOnlyRaiseHeaderError(pieces: list[bytes], start: bytes) -> None:
    """Whatever comes, it is a header, not yet one, or no header."""
    with suppress(HeaderError):
        feed([each for each in (start, *pieces) if each])


def pieces() -> Iterator[bytes]:
    """The longest header there can be, and far more behind it, byte by byte."""
    data = told((TLVType.NOOP, bytes(MAXIMUM_LENGTH - 15)))
    for index in range(len(data) - 1):
        yield data[index : index + 1]


def test_noMoreIsKeptThanAHeaderMayHave() -> None:
    """A segment with a header at its front is not copied whole."""
    parser = HeaderParser()
    for piece in pieces():
        assert parser.receiveData(piece) is None
    behind = bytes(1 << 20)
    assert parser.receiveData(b"\0" + behind) is not None
    assert len(parser._buffer) == 16 + MAXIMUM_LENGTH
    assert parser.rest == behind


def test_hostsAreAddressObjects() -> None:
    """Not text that somebody would have to parse again."""
    source = parse(writeBinary(CLIENT, SERVER)).source
    assert isinstance(source, InternetAddress)
    assert source.host == IPv4Address("192.168.0.1")
    source = parse(writeBinary(CLIENT_6, SERVER_6)).source
    assert isinstance(source, InternetAddress)
    assert source.host == IPv6Address("2001:db8::1")
