"""
Programs of others that look for weaknesses: slowhttptest and nmap.
"""

from __future__ import annotations

import re
import subprocess
from typing import Final

from attrs import frozen

from tests.soak.garbage import BUILT_IN
from tests.soak.ground import LOOPBACK, Ground, freePort, service, tcp

MODULE: Final = """
from twisted.web.resource import Resource
from twisted.web.server import Site
from myserv.plugin import ProtocolPlugin

class Hello(Resource):
    isLeaf = True
    def render(self, request):
        return b"hello\\n"

web = ProtocolPlugin("web", "a web site", factory=lambda context, options: Site(Hello()))
"""

MODES: Final = {"headers": "-H", "body": "-B", "reading": "-X"}
"""What slowhttptest does slowly."""


@frozen
class Size:
    """
    @ivar clients: That slowhttptest has.
    @ivar seconds: For how long.
    @ivar modes: In which ways.
    @ivar intensity: Of nmap's questions, 0 to 9.
    @ivar services: Those that nmap asks; it waits for each that says nothing.
    """

    clients: int
    seconds: int
    modes: tuple[str, ...]
    intensity: int
    services: tuple[str, ...] = BUILT_IN


LONG: Final = Size(clients=2000, seconds=20, modes=("headers", "body", "reading"), intensity=9)
QUICK: Final = Size(clients=100, seconds=4, modes=("headers",), intensity=0, services=("daytime",))


def run(ground: Ground, size: Size) -> None:
    """
    One after the other.
    """
    slowly(ground, size)
    scanned(ground, size)


def slowly(ground: Ground, size: Size) -> None:
    """A web site with a lifetime for its connections, and slow clients."""
    ground.write("web.py", MODULE)
    for mode in size.modes:
        port = freePort()
        lifetime = size.seconds / 4
        target = ground.serve(
            service("web", "web:web", tcp(port), limits=f"lifetime = '{lifetime:g}s'")
        )
        descriptors = target.descriptors
        said = output(
            *("slowhttptest", "-c", size.clients, MODES[mode], "-i", 1, "-r", size.clients),
            *("-l", size.seconds, "-u", f"http://127.0.0.1:{port}/", "-p", 2, "-k", 1),
        )
        ground.note("clients", size.clients)
        ground.note("over after", int(found(r"Test ended on (\d+)th second", said)), "s")
        ground.atLeast("all were cut", "No open connections left" in said, 1)
        available = re.findall(r"service available:\s+(\w+)", said)
        ground.atLeast("looks that found it available", available.count("YES"), 1)
        ground.atMost("that did not", available.count("NO"), 0)
        ground.atMost("memory", target.peak, 300, "MiB")
        ground.settle(target, descriptors + 2, 10)
        ground.over(target)
        ground.line(f"scanners, slowhttptest {mode}")


def scanned(ground: Ground, size: Size) -> None:
    """Everything that is built in is asked what it is."""
    ports = {name: freePort() for name in size.services}
    secure = freePort()
    text = "".join(
        service(name, name, tcp(port), f"udp:{port}:{LOOPBACK}") for name, port in ports.items()
    )
    text += service("secure", "echo", tcp(secure, "tls:selfSigned=localhost:"))
    target = ground.serve(text, len(ports) + 1)
    ground.probe("tls", secure, seconds=0.5).result()
    descriptors = target.descriptors
    probe = ground.probe("tls", secure, interval=0.02)
    every = ",".join(map(str, (*ports.values(), secure)))
    said = output(
        *("nmap", "-sV", "-Pn", "-n", "--version-intensity", size.intensity),
        *("--host-timeout", "180s", "-p", every, "127.0.0.1"),
    )
    asked = probe.end()
    ground.atLeast(
        "open ports", len(re.findall(r"^\d+/tcp +open", said, re.MULTILINE)), len(ports) + 1
    )
    ground.atMost("a client's failures", asked["failed"], 0)
    ground.note("its p99", asked["p99"], "ms")
    ground.settle(target, descriptors, 10)
    ground.over(target)
    ground.line("scanners, nmap")


def output(*words: str | float) -> str:
    """What a program prints; that there is none is an error."""
    done = subprocess.run(
        [*map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
        check=False,
    )
    # It colours what it prints.
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", done.stdout.decode(errors="replace"))


def found(pattern: str, said: str) -> str:
    """What stands where it is expected, the last time."""
    every = re.findall(pattern, said)
    assert every, said[-2000:]
    return str(every[-1])
