"""
WebSocket (RFC 6455): the wrapper C{websocket:}, through which browsers reach a
protocol.

Only L{myserv.endpoints.websocket.wrapper} may be imported without the extra
C{websocket}: what the others stand on, wsproto and h11, comes with it.
"""
