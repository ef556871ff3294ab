"""
What is negotiated: Mozilla's recommendations for servers.

https://wiki.mozilla.org/Security/Server_Side_TLS, "intermediate" by default.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Final

from OpenSSL import SSL

from myserv.endpoints.failure import describeOpenSSLError
from myserv.endpoints.tls.identity import Identity, readBounded
from myserv.errors import EndpointError


class Profile(enum.Enum):
    """Whom to serve."""

    INTERMEDIATE = "intermediate"
    MODERN = "modern"


class ClientAuth(enum.Enum):
    """Whether a client has to show a certificate."""

    REQUIRED = "required"
    OPTIONAL = "optional"


CIPHERS: Final = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""For TLS 1.2.  Mozilla's list without finite-field Diffie-Hellman, which only
clients older than 2013 need."""

GROUPS: Final = frozenset({"x25519mlkem768", "x25519", "secp256r1", "prime256v1", "secp384r1"})
"""Key exchange that is accepted.  OpenSSL offers X448 and secp521r1 too, which
the recommendations do not, and pyOpenSSL has no way to say so."""

_PRIORITIZE_CHACHA: Final = 0x00200000  # SSL_OP_PRIORITIZE_CHACHA, likewise not named

_NO_RENEGOTIATION: Final = 0x40000000  # SSL_OP_NO_RENEGOTIATION, which pyOpenSSL does not name

_SESSION_CONTEXT: Final = b"myserv"


def makeContext(
    identity: Identity,
    method: int,
    profile: Profile = Profile.INTERMEDIATE,
    clientCA: Path | None = None,
    clientAuth: ClientAuth = ClientAuth.REQUIRED,
) -> SSL.Context:
    """
    Make an OpenSSL context that shows an identity.

    Args:
        identity: What to show.
        method: C{SSL.TLS_SERVER_METHOD} or C{SSL.DTLS_SERVER_METHOD}.
        profile: Whom to serve.
        clientCA: A PEM file of those whose certificates clients may show;
            C{None} asks for none.
        clientAuth: Whether they have to.

    Raises:
        EndpointError: OpenSSL does not take what it was given.
    """
    context = SSL.Context(method)
    if method == SSL.TLS_SERVER_METHOD:
        modern = profile is Profile.MODERN
        context.set_min_proto_version(SSL.TLS1_3_VERSION if modern else SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | _NO_RENEGOTIATION)
    # Of the groups, too: to a client of TLS 1.2 that likes secp521r1 best and takes others,
    # OpenSSL would give what it likes.  Of ciphers clients choose as far as it matters:
    # whether AES is quick for them.
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA)
    # Idle connections then need 34 KiB less each.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # Without it a client that showed a certificate could not resume.
    context.set_session_id(_SESSION_CONTEXT)
    # Sessions are kept by the clients, in tickets: here they would take memory.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    try:
        context.use_certificate(identity.chain[0])
        for issuer in identity.chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(identity.key)
    except SSL.Error as error:
        reason = describeOpenSSLError(error)
        raise EndpointError(
            f"{identity.file}: OpenSSL refuses the certificate in this file: {reason}"
        ) from None
    if identity.ocsp:
        context.set_ocsp_server_callback(lambda connection, data: identity.ocsp)
    if clientCA is not None:
        _askForCertificates(context, clientCA, clientAuth)
    return context


def _askForCertificates(context: SSL.Context, clientCA: Path, clientAuth: ClientAuth) -> None:
    # Read here first: OpenSSL's own error does not say that it was the file.
    holdsOne = b"-----BEGIN " in readBounded(clientCA)
    try:
        context.load_verify_locations(str(clientCA))
        context.load_client_ca(str(clientCA).encode())
    except SSL.Error:
        wrong = (
            "a certificate in this file is broken"
            if holdsOne
            else "there is no certificate in this file"
        )
        raise EndpointError(f"{clientCA}: {wrong}") from None
    mode = SSL.VERIFY_PEER
    if clientAuth is ClientAuth.REQUIRED:
        mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    context.set_verify(mode, lambda connection, certificate, errno, depth, ok: bool(ok))
