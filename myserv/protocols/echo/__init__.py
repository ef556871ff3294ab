"""
Echo (RFC 862): send back what arrives.

There is nothing to code, so there is no codec.
"""
