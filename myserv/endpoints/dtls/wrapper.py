"""
The wrapper C{dtls:} and its keys.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from myserv.endpoints.dtls.layer import DTLSLayer
from myserv.endpoints.dtls.records import MAXIMUM_DATAGRAM
from myserv.endpoints.layer import HANDSHAKE_TIMEOUT
from myserv.endpoints.tls.policy import Profile
from myserv.endpoints.tls.wrapper import CertificateKeys
from myserv.interfaces import IDatagramWrapper, IListenerContext
from myserv.options.declare import option
from myserv.options.values import Duration

MTU: Final = 1232
"""Bytes of UDP payload that every IPv6 path carries: 1280 less two headers (RFC 8200,
section 5); what DNS servers agreed on, too."""

MINIMUM_MTU: Final = 256
"""OpenSSL's own least."""

IDLE: Final = "5m"
"""What RFC 4787 (REQ-5) recommends to NATs for UDP: by then a peer behind one could
not be reached any more."""

ASSOCIATIONS: Final = 4096
"""OpenSSL has about 64 KiB for each, in its handshake and after: 256 MiB in all."""

PER_HOST: Final = 256
"""Enough for an office behind one address; who has one address to attack from
gets no further."""


@frozen
class DTLSOptions(CertificateKeys):
    """The keys that C{dtls:} claims."""

    mtu: int = option(
        MTU,
        help="how many bytes a datagram of a handshake may have, without IP and UDP headers",
        minimum=MINIMUM_MTU,
        maximum=MAXIMUM_DATAGRAM,
    )
    handshakeTimeout: Duration = option(
        HANDSHAKE_TIMEOUT, help="how long a client may take over the handshake", minimum=0.001
    )
    idle: Duration = option(
        IDLE, help="how long a client may be silent before it has to begin anew", minimum=0.001
    )
    associations: int = option(
        ASSOCIATIONS, help="how many clients there may be at a time", minimum=1
    )
    perHost: int = option(PER_HOST, help="how many of them may have the same IP address", minimum=1)


@implementer(IDatagramWrapper)
class DTLSWrapper:
    """
    DTLS 1.2 over datagrams.
    """

    prefix = "dtls"
    description = "DTLS 1.2 over any datagram endpoint"
    example = "dtls:certs=/etc/myserv/certs:udp:5684"
    optionsType = DTLSOptions
    provesAddress = True

    def wrapProtocol(
        self, context: IListenerContext, options: DTLSOptions, protocol: DatagramProtocol
    ) -> DatagramProtocol:
        """
        Put DTLS in front of a protocol.

        Raises:
            EndpointError: There is no certificate, or no key to one.
        """
        store = options.openStore(
            context, SSL.DTLS_SERVER_METHOD, Profile.INTERMEDIATE, prepare=prepareContext
        )
        return DTLSLayer(
            context,
            protocol,
            store,
            mtu=options.mtu,
            handshakeTimeout=options.handshakeTimeout,
            idleTimeout=options.idle,
            associations=options.associations,
            perHost=options.perHost,
        )


def prepareContext(context: SSL.Context) -> None:
    """
    Set what only DTLS asks for.

    Args:
        context: A context of L{myserv.endpoints.tls.policy.makeContext} that no
            connection uses yet.
    """
    context.set_min_proto_version(_DTLS1_2)
    context.set_max_proto_version(_DTLS1_2)
    # OpenSSL would ask the socket that it does not have.
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.set_cookie_verify_callback(_cookieIsGood)


_DTLS1_2: Final = 0xFEFD  # DTLS1_2_VERSION, which pyOpenSSL does not name


def _cookieIsGood(connection: SSL.Connection, cookie: bytes) -> bool:
    # OpenSSL is shown a ClientHello when its cookie has been found good.
    return True
