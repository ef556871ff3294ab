"""
What a client has to do to reach an endpoint, by the endpoint's prefix.

A prefix without an entry fails the build.
"""

from typing import Final

CLIENTS: Final = {
    "tcp": "Connect to the port: `nc HOST 7007`.",
    "tcp6": "Connect to the port, over IPv6 or IPv4: `nc HOST 7007`.",
    "unix": "Connect to the path, with the right to write to it: `nc -U /run/echo.sock`.",
    "ssl": "Connect and speak TLS: `openssl s_client -connect HOST:7443`.",
    "stdio": "Be the process that started the server, and write to its standard input.",
    "udp": (
        "Send datagrams from a port above 1023: `nc -u HOST 7007`. Until it has proved its address, an "
        "answer is at most three times what was sent."
    ),
    "udp6": "Send datagrams from a port above 1023, over IPv6 or IPv4: `nc -u HOST 7007`.",
    "unixgram": (
        "Send datagrams to the path, from a socket that is bound to a path of its own: nobody else "
        "can be answered."
    ),
    "fd": "What the socket that was handed over wants; whoever opened it knows.",
    "systemd": "What `ListenStream=` or `ListenDatagram=` in the socket unit says.",
    "tls": (
        "Speak TLS 1.2 or later, name the server (SNI), trust whoever signed its certificate, and show a "
        "certificate where `clientCA=` asks for one: `openssl s_client -connect HOST:7443 -servername "
        "HOST`. Say goodbye (close_notify) when done; an end without it is a connection that was lost."
    ),
    "dtls": (
        "Speak DTLS 1.2, and answer the request for a cookie, as every client does by itself: "
        "`openssl s_client -dtls1_2 -connect HOST:5684`. After a change of address, shake hands again."
    ),
    "proxy": (
        "Be a balancer that is named in `from=`, and send a PROXY header of version 1 or 2 first: "
        "`send-proxy-v2` in HAProxy, `proxy_protocol on` in nginx. Its own clients notice nothing."
    ),
    "haproxy": (
        "Send a PROXY header of version 1 or 2 first. Whoever connects is believed: let nobody but the "
        "balancer reach the port, or take `proxy:`."
    ),
    "websocket": (
        "Open a WebSocket with the right path, and from a page of an origin that is allowed: "
        '`new WebSocket("wss://HOST/chat")`. Programs that are no browsers need no origin.'
    ),
}
