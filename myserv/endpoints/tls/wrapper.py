"""
The wrapper C{tls:} and its keys, which C{dtls:} shares.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolFactory, IProtocolNegotiationFactory
from zope.interface import implementer

from myserv.endpoints.layer import HANDSHAKE_TIMEOUT
from myserv.endpoints.tls.identity import Identity
from myserv.endpoints.tls.policy import ClientAuth, Profile, makeContext
from myserv.endpoints.tls.selfsigned import makeIdentity
from myserv.endpoints.tls.store import CertificateStore, Sources, chooseProtocols
from myserv.endpoints.tls.stream import TLSFactory
from myserv.interfaces import IListenerContext, IStreamWrapper
from myserv.options.declare import option
from myserv.options.values import Duration


class UnknownName(enum.Enum):
    """What becomes of a client that asks for a server that is not here."""

    DEFAULT = "default"
    REFUSE = "refuse"


@frozen
class CertificateKeys:
    """The keys about certificates, those of servers and those of clients."""

    certs: Path | None = option(
        None, help="a directory of PEM files; each certificate serves the names it holds"
    )
    cert: Path | None = option(None, help="a PEM file with the certificate and its chain")
    key: Path | None = option(None, help="a PEM file with the key, unless it is with cert")
    ocsp: Path | None = option(
        None, help="a file with the OCSP response to staple to cert; in certs, NAME.ocsp is"
    )
    selfSigned: str | None = option(
        None, help="make a certificate for this name at each start; for development only"
    )
    defaultName: str | None = option(
        None, help="whose certificate a client is shown that names no server; else the first file's"
    )
    unknownName: UnknownName = option(
        "default", help="what a client gets that names a server which is not here"
    )
    clientCA: Path | None = option(
        None, help="a PEM file of those who may have signed a client's certificate"
    )
    clientAuth: ClientAuth | None = option(
        None, help="with clientCA, whether a client has to show a certificate; required unless said"
    )

    def __attrs_post_init__(self) -> None:
        sources = [self.certs, self.cert, self.selfSigned]
        if sum(source is not None for source in sources) != 1:
            raise ValueError("give either certs=DIRECTORY, cert=FILE or selfSigned=NAME")
        if self.cert is None and (self.key is not None or self.ocsp is not None):
            raise ValueError("key=FILE and ocsp=FILE go with cert=FILE")
        if self.clientAuth is not None and self.clientCA is None:
            # Without it nobody would be asked, and everybody let in.
            raise ValueError(
                f"clientAuth={self.clientAuth.value} goes with clientCA=FILE, "
                "which says whose certificates are good"
            )

    def openStore(
        self,
        context: IListenerContext,
        method: int,
        profile: Profile,
        protocols: Any = None,
        prepare: Callable[[SSL.Context], None] | None = None,
    ) -> CertificateStore:
        """
        Read what the keys name.

        Args:
            context: The listener.
            method: C{SSL.TLS_SERVER_METHOD} or C{SSL.DTLS_SERVER_METHOD}.
            profile: Whom to serve.
            protocols: What to agree on by ALPN, the best first.
            prepare: Sets what else each context needs before its first use.

        Raises:
            EndpointError: There is no certificate that can be used.
        """
        clientAuth = self.clientAuth or ClientAuth.REQUIRED

        def make(identity: Identity) -> SSL.Context:
            shown = makeContext(identity, method, profile, self.clientCA, clientAuth)
            chooseProtocols(shown, protocols)
            if prepare is not None:
                prepare(shown)
            return shown

        made: tuple[Identity, ...] = ()
        if self.selfSigned is not None:
            made = (makeIdentity(self.selfSigned, context.reactor.seconds()),)
        return CertificateStore(
            context,
            Sources(self.certs, self.cert, self.key, self.ocsp, made, self.clientCA),
            make,
            defaultName=self.defaultName,
            refuseUnknown=self.unknownName is UnknownName.REFUSE,
        )


@frozen
class TLSOptions(CertificateKeys):
    """The keys that C{tls:} claims."""

    profile: Profile = option(
        "intermediate", help="whom to serve, in Mozilla's words; modern means TLS 1.3 only"
    )
    handshakeTimeout: Duration = option(
        HANDSHAKE_TIMEOUT, help="how long a client may take over the handshake", minimum=0.001
    )


@implementer(IStreamWrapper)
class TLSWrapper:
    """
    TLS over any stream.
    """

    prefix = "tls"
    description = "TLS over any stream endpoint"
    example = "tls:certs=/etc/myserv/certs:tcp:7443"
    optionsType = TLSOptions

    def wrapFactory(
        self, context: IListenerContext, options: TLSOptions, factory: IProtocolFactory
    ) -> IProtocolFactory:
        """
        Put TLS in front of a factory.

        Raises:
            EndpointError: There is no certificate, or no key to one.
        """
        protocols = None
        if IProtocolNegotiationFactory.providedBy(factory):
            protocols = factory.acceptableProtocols()
        store = options.openStore(context, SSL.TLS_SERVER_METHOD, options.profile, protocols)
        return TLSFactory(context, factory, store, options.handshakeTimeout)
