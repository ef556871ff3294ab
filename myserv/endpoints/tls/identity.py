"""
Certificates and their keys, as they lie in files.

Reads what certbot, lego, Kubernetes and people write: PEM files in a directory
or one level below it, in any order, a key and its certificate in one file or in
two.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.ocsp import OCSPResponseStatus, load_der_ocsp_response

from myserv.errors import EndpointError, FileError
from myserv.options.files import readFile

SUFFIXES: Final = frozenset({".pem", ".crt", ".key"})
"""The files of a directory that are read; certbot writes the first, lego and
Kubernetes the other two."""

OCSP_SUFFIX: Final = ".ocsp"
"""Beside a certificate's file: the OCSP response to staple, in DER."""

MAXIMUM_FILE: Final = 1024 * 1024
"""Bytes that a PEM file may have: a chain has a few thousand."""

_PEM_MARK: Final = b"-----BEGIN "


@frozen
class Identity:
    """
    A certificate with its chain and its key.

    @ivar chain: The certificate first, then those who signed, up to but not
        including the root.
    @ivar key: The private key.
    @ivar names: The DNS names and addresses that it holds, in lower case.
    @ivar file: Where the certificate was read.
    @ivar ocsp: The OCSP response to staple, or nothing.
    """

    chain: tuple[x509.Certificate, ...]
    key: Any
    names: tuple[str, ...]
    file: Path
    ocsp: bytes = b""

    @property
    def notAfter(self) -> datetime:
        """When it expires."""
        return self.chain[0].not_valid_after_utc

    @property
    def lifetime(self) -> float:
        """For how many seconds it is valid in all."""
        return (self.notAfter - self.chain[0].not_valid_before_utc).total_seconds()

    def problem(self, now: datetime) -> str | None:
        """
        Say what keeps it from being shown at a time; C{None} when nothing does.
        """
        leaf = self.chain[0]
        if leaf.not_valid_after_utc <= now:
            return f"it expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        if leaf.not_valid_before_utc > now:
            return f"it is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return None


def readIdentity(certificate: Path, key: Path, ocsp: Path | None = None) -> Identity:
    """
    Read a certificate and its key from the files that an operator named.

    Raises:
        EndpointError: A file is missing or broken, or the two do not belong
            together.
    """
    chain = _readChain(certificate, readBounded(certificate))
    if not chain:
        raise EndpointError(f"{certificate}: there is no certificate in this file")
    keys = _readKeys(key, readBounded(key))
    if not keys:
        # An operator who names one file may not know that there should be two.
        hint = ": name the file that has it with key=FILE" if key == certificate else ""
        raise EndpointError(f"{key}: there is no private key in this file{hint}")
    wanted = _publicKeyOf(chain[0], certificate)
    for each in keys:
        if _publicPart(each.public_key()) == wanted:
            beside = certificate.with_suffix(OCSP_SUFFIX)
            response = ocsp or (beside if beside.is_file() else None)
            return _identity(chain, each, certificate, _readOCSP(response, chain[0]))
    raise EndpointError(f"{key}: this key is not that of the certificate in {certificate}")


def readDirectory(directory: Path) -> tuple[list[Identity], list[EndpointError]]:
    """
    Read every certificate of a directory that has a key there.

    Returns:
        The identities in the order of their paths, and what is wrong with
        files that could not be used.

    Raises:
        EndpointError: The directory cannot be read.
    """
    keys: dict[bytes, Any] = {}
    chains: dict[x509.Certificate, tuple[Path, list[x509.Certificate]]] = {}
    problems: list[EndpointError] = []
    for file in filesOf(directory):
        try:
            content = readBounded(file)
            for key in _readKeys(file, content):
                keys.setdefault(_publicPart(key.public_key()), key)
            chain = _readChain(file, content)
        except EndpointError as error:
            problems.append(error)
            continue
        # Beside fullchain.pem, certbot keeps a cert.pem without the chain.
        if chain and len(chain) > len(chains.get(chain[0], (file, []))[1]):
            chains[chain[0]] = file, chain
    identities = []
    for file, chain in chains.values():
        try:
            belonging = keys.get(_publicKeyOf(chain[0], file))
            if belonging is not None:
                staple = _tryOCSP(file.with_suffix(OCSP_SUFFIX), chain[0], problems)
                identities.append(_identity(chain, belonging, file, staple))
        except EndpointError as error:
            problems.append(error)
    return sorted(identities, key=lambda identity: identity.file), problems


def whyUnused(file: Path) -> str:
    """
    Say why a file of a directory, in which nothing is broken, gives no identity.

    Args:
        file: One that did before.
    """
    try:
        chain = _readChain(file, readBounded(file))
    except EndpointError as error:
        return str(error)
    if not chain:
        return f"{file}: there is no certificate in this file any more"
    return f"{file}: no file here holds the key to the certificate in this file"


def readAuthorities(file: Path) -> tuple[x509.Certificate, ...]:
    """
    Read the certificates of those who sign others.

    Returns:
        Those that can be read: what is wrong with the file, OpenSSL finds.
    """
    authorities = []
    with contextlib.suppress(EndpointError):
        for block in _blocks(readBounded(file)):
            with contextlib.suppress(ValueError):
                authorities.append(x509.load_pem_x509_certificate(block))
    return tuple(authorities)


def filesOf(directory: Path) -> list[Path]:
    """
    List the files that may hold certificates or keys, sorted.

    Kubernetes keeps the versions of a secret in hidden directories beside the
    links to the current one; what is hidden is passed over.

    Raises:
        EndpointError: The directory cannot be read.
    """
    try:
        return sorted(_pemFiles(directory, deeper=True))
    except (FileNotFoundError, NotADirectoryError):
        raise EndpointError(f"{directory}: there is no such directory of certificates") from None
    except OSError as error:
        raise EndpointError(f"{directory}: {error.strerror}") from None


def _pemFiles(directory: Path, *, deeper: bool) -> list[Path]:
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            # What cannot be looked at, or is gone by now, is not there.
            with contextlib.suppress(OSError):
                if os.path.splitext(entry.name)[1] in SUFFIXES and entry.is_file():
                    found.append(directory / entry.name)
                elif deeper and entry.is_dir():
                    found += _pemFiles(directory / entry.name, deeper=False)
    return found


def _identity(chain: list[x509.Certificate], key: Any, file: Path, staple: bytes) -> Identity:
    for certificate, issuer in itertools.pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            raise EndpointError(
                f"{file}: the chain in this file is not in order: "
                f"{subjectOf(certificate)} was not issued by {subjectOf(issuer)}, which follows it"
            ) from None
    _prove(key, chain[0], file)
    try:
        names = _names(chain[0])
    except (ValueError, x509.DuplicateExtension) as error:
        raise EndpointError(f"{file}: the certificate in this file is broken: {error}") from None
    return Identity(tuple(chain), key, names, file, staple)


def _prove(key: Any, certificate: x509.Certificate, file: Path) -> None:
    # What it signs, the certificate has to vouch for.
    public = certificate.public_key()
    if isinstance(key, RSAPrivateKey) and isinstance(public, RSAPublicKey):
        try:
            public.verify(key.sign(b"", PKCS1v15(), SHA256()), b"", PKCS1v15(), SHA256())
        except (ValueError, InvalidSignature, InternalError):
            raise EndpointError(f"{file}: the key to this certificate is broken") from None


def subjectOf(certificate: x509.Certificate) -> str:
    """
    Say whose certificate it is.
    """
    return certificate.subject.rfc4514_string() or "a certificate without a name"


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    names = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return tuple(name.lower() for name in names) + tuple(map(str, addresses))


def _readOCSP(file: Path | None, certificate: x509.Certificate) -> bytes:
    if file is None:
        return b""
    response = readBounded(file)
    try:
        said = load_der_ocsp_response(response)
        # Of any other, OpenSSL would send nothing, and say nothing.
        good = said.response_status is OCSPResponseStatus.SUCCESSFUL and any(
            each.serial_number == certificate.serial_number for each in said.responses
        )
    except ValueError:
        good = False
    if not good:
        raise EndpointError(
            f"{file}: there is no OCSP response, in DER, to the certificate in this file"
        )
    return response


def _tryOCSP(file: Path, certificate: x509.Certificate, problems: list[EndpointError]) -> bytes:
    # A certificate is served without it, too.
    try:
        return _readOCSP(file, certificate) if file.is_file() else b""
    except EndpointError as error:
        problems.append(error)
        return b""


def readBounded(file: Path) -> bytes:
    """
    Read a file of certificates or keys, or of what goes with them.

    Raises:
        EndpointError: It is missing, no regular file, or larger than
            L{MAXIMUM_FILE}.
    """
    try:
        return readFile(file, maximum=MAXIMUM_FILE)
    except FileError as error:
        raise EndpointError(error.problems) from None


def _blocks(content: bytes) -> Iterator[bytes]:
    for block in content.split(_PEM_MARK)[1:]:
        yield _PEM_MARK + block


def _readChain(file: Path, content: bytes) -> list[x509.Certificate]:
    wanted = _PEM_MARK + b"CERTIFICATE-"
    blocks = [each for each in _blocks(content) if each.startswith(wanted)]
    try:
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except ValueError as error:
        raise EndpointError(f"{file}: a certificate in this file {_wrong(error)}") from None


def _readKeys(file: Path, content: bytes) -> list[Any]:
    keys = []
    for block in _blocks(content):
        if b"PRIVATE KEY-" in block.partition(b"\n")[0]:
            try:
                # That of an RSA key takes 30 ms, for which all else would wait; see
                # _prove, which does for operators' own keys.
                keys.append(
                    load_pem_private_key(block, password=None, unsafe_skip_rsa_key_validation=True)
                )
            except TypeError:
                raise EndpointError(
                    f"{file}: the key in this file is encrypted, and there is nobody to ask "
                    "for its password"
                ) from None
            except (ValueError, UnsupportedAlgorithm) as error:
                raise EndpointError(f"{file}: a key in this file {_wrong(error)}") from None
    return keys


def _wrong(error: Exception) -> str:
    # Of the library's own words, those that say what it cannot do are for operators;
    # the others are for its developers.
    if isinstance(error, UnsupportedAlgorithm):
        return f"cannot be used: {error}"
    if "PEM" in str(error):
        return "is not whole: it is cut off, or is not PEM"
    return "is broken"


def _publicPart(key: Any) -> bytes:
    part = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert isinstance(part, bytes)
    return part


def _publicKeyOf(certificate: x509.Certificate, file: Path) -> bytes:
    try:
        return _publicPart(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EndpointError(f"{file}: the certificate in this file is broken: {error}") from None


def utcNow(seconds: float) -> datetime:
    """
    Make a time of a reactor's clock.
    """
    return datetime.fromtimestamp(seconds, UTC)
