"""Writes PROXY headers, for the tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from myserv.endpoints.proxy.codec import (
    SIGNATURE_2,
    TLV,
    Address,
    Command,
    Family,
    InternetAddress,
    TLVType,
    Transport,
    UNIXPath,
    crc32c,
)


def writeLine(source: InternetAddress, destination: InternetAddress) -> bytes:
    """A header of version 1."""
    family = f"TCP{source.host.version}"
    return (
        f"PROXY {family} {source.host} {destination.host} {source.port} {destination.port}\r\n"
    ).encode()


def writeTLVs(tlvs: Iterable[TLV]) -> bytes:
    """What is told beside the addresses."""
    return b"".join(bytes([kind]) + len(value).to_bytes(2, "big") + value for kind, value in tlvs)


def writeSSL(client: int, verify: int, tlvs: Iterable[TLV]) -> TLV:
    """What is told of a client's TLS."""
    return TLVType.SSL, bytes([client]) + verify.to_bytes(4, "big") + writeTLVs(tlvs)


def writeBlock(command: int, family: int, transport: int, block: bytes) -> bytes:
    """A header of version 2 whose variable part is given."""
    fixed = bytes([0x20 | command, family << 4 | transport]) + len(block).to_bytes(2, "big")
    return SIGNATURE_2 + fixed + block


def packAddresses(source: Address, destination: Address) -> bytes:
    """The addresses of version 2."""
    if isinstance(source, UNIXPath):
        assert isinstance(destination, UNIXPath)
        return source.path.ljust(108, b"\0") + destination.path.ljust(108, b"\0")
    assert isinstance(destination, InternetAddress)
    ports = source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")
    return source.host.packed + destination.host.packed + ports


def familyOf(address: Address) -> Family:
    """What kind of address it is."""
    if isinstance(address, UNIXPath):
        return Family.UNIX
    return Family.INET if address.host.version == 4 else Family.INET6


def writeBinary(
    source: Address,
    destination: Address,
    tlvs: Iterable[TLV] = (),
    transport: Transport = Transport.STREAM,
    *,
    checksum: bool = False,
) -> bytes:
    """
    A header of version 2.

    Args:
        source: The client.
        destination: Where it connected to.
        tlvs: What is told beside the addresses.
        transport: The kind of its socket.
        checksum: Add one, behind the rest.
    """
    block = packAddresses(source, destination) + writeTLVs(tlvs)
    if checksum:
        block += writeTLVs([(TLVType.CRC32C, bytes(4))])
    whole = writeBlock(Command.PROXY.value, familyOf(source).value, transport.value, block)
    if checksum:
        whole = whole[:-4] + crc32c(whole).to_bytes(4, "big")
    return whole


def fromText(host: str, port: int) -> InternetAddress:
    """An address whose host is written as people do."""
    return InternetAddress(ip_address(host), port)
