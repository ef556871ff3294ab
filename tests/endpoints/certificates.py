"""Certificates for tests, made while they run."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)

_KEY_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@frozen
class Issued:
    """
    A certificate and its key.

    @ivar issuers: Those above it, the next one first, without the root.
    """

    key: CertificateIssuerPrivateKeyTypes
    certificate: x509.Certificate
    issuers: tuple[x509.Certificate, ...] = ()

    @property
    def certificatePEM(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chainPEM(self) -> bytes:
        """The certificate and those above it."""
        chain = (self.certificate, *self.issuers)
        return b"".join(each.public_bytes(Encoding.PEM) for each in chain)

    @property
    def keyPEM(self) -> bytes:
        """The key."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def encryptedKeyPEM(self) -> bytes:
        """The key behind a password."""
        return self.key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )

    def write(self, directory: Path, name: str = "server.pem") -> Path:
        """
        Write certificate, chain and key into one file.
        """
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.chainPEM + self.keyPEM)
        return file


def issue(
    commonName: str,
    *names: str,
    by: Issued | None = None,
    isAuthority: bool = False,
    expired: bool = False,
    key: CertificateIssuerPrivateKeyTypes | None = None,
    days: float = 1,
) -> Issued:
    """
    Make a certificate.

    Args:
        commonName: The subject.
        names: The DNS names that it holds.
        by: Who signs it; itself when nobody.
        isAuthority: It may sign others.
        expired: It was good until yesterday.
        key: Its key; a new one when left out.
        days: How long it is good from now on, unless it is expired.
    """
    key = key or generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, commonName)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now - DAY if expired else now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=isAuthority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    for extension, critical in _whatStrictClientsAskFor(key, by, isAuthority):
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(by.key if by else key, SHA256())
    if by is None or by.certificate.subject == by.certificate.issuer:
        return Issued(key, certificate)
    return Issued(key, certificate, (by.certificate, *by.issuers))


def _whatStrictClientsAskFor(
    key: CertificateIssuerPrivateKeyTypes, by: Issued | None, isAuthority: bool
) -> list[tuple[x509.ExtensionType, bool]]:
    signer = by.key if by else key
    identifiers: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
    ]
    uses = {
        name: isAuthority if name in ("key_cert_sign", "crl_sign") else name == "digital_signature"
        for name in _KEY_USES
    }
    if isAuthority:
        return [*identifiers, (x509.KeyUsage(**uses), True)]
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return [*identifiers, (x509.ExtendedKeyUsage(purposes), False)]


@functools.cache
def authority() -> Issued:
    """A root."""
    return issue("A root", isAuthority=True)


@functools.cache
def intermediate() -> Issued:
    """An authority under the root."""
    return issue("An intermediate", by=authority(), isAuthority=True)
