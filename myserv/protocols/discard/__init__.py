"""
Discard (RFC 863): throw away what arrives.

There is nothing to code, so there is no codec.
"""
