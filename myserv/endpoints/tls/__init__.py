"""
TLS over streams.

C{identity} reads certificates from files, C{store} keeps them fresh, C{policy}
says what is negotiated, C{stream} encrypts, and C{wrapper} is the prefix C{tls:}.
"""

from myserv.endpoints.tls.wrapper import TLSOptions, TLSWrapper

__all__ = ["TLSOptions", "TLSWrapper"]
