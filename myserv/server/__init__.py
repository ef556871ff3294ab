"""
The server itself: listeners, connections, and the service that owns them.

A byte of a stream comes in through C{connection}, a datagram through
C{channel}; C{listener} opens and closes, C{service} ties a plugin to its
listeners, and C{plan} turns what somebody wrote into all of these.
"""
