"""
TLS: the wrapper C{tls:}, over Twisted's own implementation of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory, IProtocolFactory
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from myserv.endpoints.failure import describeOpenSSLError
from myserv.errors import EndpointError
from myserv.interfaces import IListenerContext, IStreamWrapper
from myserv.options.declare import option

_PEM_MARK: Final = b"-----BEGIN "


@frozen
class TLSOptions:
    """The keys that C{tls:} claims."""

    certs: Path | None = option(
        None, help="a directory of PEM files; each certificate serves the names it holds"
    )
    cert: Path | None = option(None, help="a PEM file with the certificate and its chain")
    key: Path | None = option(None, help="a PEM file with the key, unless it is with cert")

    def __attrs_post_init__(self) -> None:
        if (self.certs is None) == (self.cert is None):
            raise ValueError("give either certs=DIRECTORY or cert=FILE")
        if self.key is not None and self.cert is None:
            raise ValueError("key=FILE goes with cert=FILE")


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
        if options.certs is not None:
            identities = _readDirectory(options.certs)
        else:
            assert options.cert is not None
            identities = [_readIdentity(options.cert, options.key or options.cert)]
        return TLSMemoryBIOFactory(
            _CertificatesByName(identities), False, factory, clock=context.reactor
        )


@frozen
class Identity:
    """
    A certificate with its key.

    @ivar names: The DNS names that it holds.
    @ivar options: What Twisted makes a TLS context of.
    """

    names: tuple[str, ...]
    options: CertificateOptions


@implementer(IOpenSSLContextFactory)
class _CertificatesByName:
    """
    The TLS contexts of a listener, chosen by the name that a client asks for.

    A client that names no server, or one that is not known, is shown the first
    certificate; it decides what to make of it.
    """

    def __init__(self, identities: list[Identity]) -> None:
        self._default = identities[0].options
        self._contexts = {
            name.lower(): identity.options.getContext()
            for identity in reversed(identities)
            for name in identity.names
        }
        # A context must not be changed after its first use.
        self._default.getContext().set_tlsext_servername_callback(self._choose)

    def getContext(self) -> SSL.Context:
        """
        The context that every connection starts with.
        """
        return self._default.getContext()

    def _choose(self, connection: SSL.Connection) -> None:
        asked = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        wildcard = "*." + asked.partition(".")[2]
        context = self._contexts.get(asked) or self._contexts.get(wildcard)
        if context is not None:
            connection.set_context(context)


def _readDirectory(directory: Path) -> list[Identity]:
    try:
        # Not is_dir() and rglob(), which do not tell a directory that may not be
        # read from one that is not there, or is empty.
        os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        raise EndpointError(f"{directory}: there is no such directory of certificates") from None
    except OSError as error:
        raise EndpointError(f"{directory}: {error.strerror}") from None
    identities = list(_pairs(directory))
    if not identities:
        raise EndpointError(f"{directory}: no .pem file here holds a certificate that has a key")
    return identities


def _pairs(directory: Path) -> Iterator[Identity]:
    files = sorted(file for file in directory.rglob("*.pem") if file.is_file())
    keys = [key for file in files for key in _readKeys(file)]
    found: dict[x509.Certificate, tuple[Path, list[x509.Certificate]]] = {}
    for file in files:
        chain = _readChain(file)
        # Beside fullchain.pem, certbot keeps a cert.pem without the chain.
        if chain and len(chain) > len(found.get(chain[0], (file, []))[1]):
            found[chain[0]] = file, chain
    for file, chain in found.values():
        for key in keys:
            if _belongs(key, chain[0], file):
                yield _identity(chain, key, file)
                break


def _belongs(key: Any, certificate: x509.Certificate, file: Path) -> bool:
    try:
        return bool(key.public_key() == certificate.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EndpointError(f"{file}: the certificate in this file is broken: {error}") from None


def _readIdentity(certificate: Path, key: Path) -> Identity:
    chain = _readChain(certificate)
    if not chain:
        raise EndpointError(f"{certificate}: there is no certificate in this file")
    keys = _readKeys(key)
    if not keys:
        raise EndpointError(f"{key}: there is no private key in this file")
    if not _belongs(keys[0], chain[0], certificate):
        raise EndpointError(f"{key}: this key is not that of the certificate in {certificate}")
    return _identity(chain, keys[0], certificate)


def _identity(chain: list[x509.Certificate], key: Any, file: Path) -> Identity:
    # Twisted asks for pyOpenSSL's X509, which pyOpenSSL has deprecated for these.
    leaf: Any = chain[0]
    issuers: Any = chain[1:]
    try:
        options = CertificateOptions(privateKey=key, certificate=leaf, extraCertChain=issuers)
        # Otherwise made for the first client; a key too short is refused here.
        options.getContext()
        return Identity(_names(chain[0]), options)
    except SSL.Error as error:
        reason = describeOpenSSLError(error)
        raise EndpointError(
            f"{file}: OpenSSL refuses the certificate in this file: {reason}"
        ) from None
    except (ValueError, x509.DuplicateExtension) as error:
        raise EndpointError(f"{file}: the certificate in this file is broken: {error}") from None


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value.get_values_for_type(x509.DNSName))


def _blocks(file: Path) -> Iterator[bytes]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise EndpointError(f"{file}: {error.strerror}") from None
    for block in content.split(_PEM_MARK)[1:]:
        yield _PEM_MARK + block


def _readChain(file: Path) -> list[x509.Certificate]:
    blocks = [each for each in _blocks(file) if each.startswith(_PEM_MARK + b"CERTIFICATE-")]
    try:
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except ValueError as error:
        raise EndpointError(f"{file}: a certificate in this file is broken: {error}") from None


def _readKeys(file: Path) -> list[Any]:
    keys = []
    for block in _blocks(file):
        if b"PRIVATE KEY-" in block.partition(b"\n")[0]:
            try:
                keys.append(load_pem_private_key(block, password=None))
            except TypeError:
                raise EndpointError(
                    f"{file}: the key in this file is encrypted, and there is nobody to ask "
                    "for its password"
                ) from None
            except (ValueError, UnsupportedAlgorithm) as error:
                raise EndpointError(f"{file}: a key in this file is broken: {error}") from None
    return keys
