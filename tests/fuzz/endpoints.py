"""
Endpoint strings: mutated ones give an endpoint or an C{EndpointError}, soon.
"""

from __future__ import annotations

import random
import time
from typing import Final

from myserv.endpoints.parse import parseEndpoint
from myserv.errors import EndpointError

SEEDS: Final = (
    "tcp:7007:interface=127.0.0.1:backlog=5:reusePort=true",
    "tcp:[::1]:80",
    "tls:certs=/etc/certs:unknownName=refuse:tcp6:443",
    "tls:/etc/certs:443:50:\\:\\:",
    "udp:5683:interface=[fe80::1%eth0]",
    "unix:/tmp/a\\:b:mode=660:lockfile=0",
    "unixgram:/tmp/x",
    "dtls:selfSigned=localhost:udp:5684",
    "proxy:from=10.0.0.0/8,127.0.0.1:tcp:80",
    "systemd:domain=INET:index=0:type=DGRAM",
    "fd:3",
    "ssl:443:privateKey=k.pem",
    "haproxy:tcp:80",
    "stdio:",
)

ALPHABET: Final = ":=\\[]%./,0123456789abcdefxyz -_\n\0é"

SLOW: Final = 1.0
"""Seconds that no string may take."""


def run(iterations: int, seed: int) -> None:
    """
    Parse mutated strings.

    Raises:
        AssertionError: One raised something else, took long, or did not parse
            to the same again.
    """
    chance = random.Random(seed)
    for _ in range(iterations):
        text = mutate(chance, chance.choice(SEEDS))
        started = time.monotonic()
        try:
            endpoint = parseEndpoint(text)
        except EndpointError:
            pass
        except Exception as error:
            raise AssertionError(f"{text!r} raised {error!r}") from error
        else:
            assert parseEndpoint(str(endpoint)) == endpoint, text
        assert time.monotonic() - started < SLOW, f"{text!r} took long"


def mutate(chance: random.Random, text: str) -> str:
    """
    Change a string in a few places.
    """
    for _ in range(chance.randint(1, 4)):
        position = chance.randint(0, len(text))
        match chance.randrange(5):
            case 0:
                text = text[:position] + chance.choice(ALPHABET) + text[position:]
            case 1:
                text = text[:position] + text[position + 1 :]
            case 2:
                text = text[:position] + chance.choice(SEEDS)[chance.randrange(6) :]
            case 3:
                text = text[:position] + text[: chance.randrange(10)] + text[position:]
            case _:
                text = text.replace(":", chance.choice(("::", ":", "=", ":=")), 1)
    return text
