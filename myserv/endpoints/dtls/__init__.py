"""
DTLS over datagrams.

C{records} and C{hello} read what anybody may have sent, C{cookies} proves addresses,
C{association} is one peer's DTLS, C{layer} holds them all, and C{wrapper} is the prefix
C{dtls:}.
"""

from myserv.endpoints.dtls.wrapper import DTLSOptions, DTLSWrapper

__all__ = ["DTLSOptions", "DTLSWrapper"]
