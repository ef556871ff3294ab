"""
Chargen (RFC 864): characters without end.
"""
