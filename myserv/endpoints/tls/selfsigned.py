"""
A certificate that nobody trusts, for development.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from myserv.endpoints.tls.identity import Identity, utcNow
from myserv.errors import EndpointError

LIFETIME: Final = timedelta(days=90)
"""A server that runs longer than that wants a real certificate."""


def makeIdentity(name: str, now: float) -> Identity:
    """
    Make a certificate that signs itself.

    Args:
        name: The DNS name or IP address that it is for.
        now: The time, in seconds since 1970.

    Raises:
        EndpointError: No certificate can be for such a name.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    begins = utcNow(now) - timedelta(minutes=5)
    try:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + LIFETIME)
            .add_extension(x509.SubjectAlternativeName([_generalName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
    except ValueError as error:
        raise EndpointError(f"selfSigned: no certificate can be for {name!r}: {error}") from None
    return Identity((certificate,), key, (name.lower(),), Path("selfSigned"))


def _generalName(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
