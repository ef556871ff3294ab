"""
Echo servers to compare with: each takes a port and serves TCP and UDP on 127.0.0.1.
"""
