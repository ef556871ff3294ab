"""
myserv as it is measured: which reactor, which limits, how many processes.
"""

from __future__ import annotations

import enum
import functools
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.errors import BenchError


class Reactor(enum.Enum):
    """What its loop is."""

    STOCK = "stock"
    """What twistd takes when nothing is said."""

    NATIVE = "uvloop"
    """What C{twistd --reactor} calls it."""


NO_LIMITS: Final = """
[limits]
maxConnections = 0
maxConnectionsPerPeer = 0
acceptRate = 0
acceptBurst = 0
acceptRatePerPeer = 0
acceptBurstPerPeer = 0
datagramRate = 0
datagramRatePerPeer = 0
datagramBurstPerPeer = 0
shedFloods = false
maxDatagram = 0
firstByte = "0s"
idle = "0s"
lifetime = "0s"
establish = "0s"
minimumRate = 0
maxUnestablished = 0
writeBuffer = 0
maxUnsent = 0
writeTimeout = "0s"

[penalties]
enabled = false
"""
"""Every rule off: deadlines, bounds of memory, limits of a peer, penalties."""

_CONFIG: Final = """\
[server]
workers = "{workers}"
directory = "state-<port>"
{limits}
[services.measured]
protocol = "{protocol}"
listen = [{listen}]
"""


def ourConfig(protocol: str, listen: tuple[str, ...], limited: bool, workers: int) -> str:
    """
    Write a configuration file.

    Args:
        protocol: What to serve.
        listen: The endpoints.
        limited: Leave every limit at its default, instead of off.
        workers: Processes that serve.
    """
    return _CONFIG.format(
        workers=workers,
        limits="" if limited else NO_LIMITS,
        protocol=protocol,
        listen=", ".join(f'"{endpoint}"' for endpoint in listen),
    )


def ourCommand(reactor: Reactor) -> tuple[str, ...]:
    """
    Start it as an operator would.
    """
    chosen = () if reactor is Reactor.STOCK else (f"--reactor={reactor.value}",)
    return ("{bin}/twistd", "-n", "--pidfile=", *chosen, "myserv", "--config={config}")


@functools.cache
def nativeMissing() -> str | None:
    """
    Say why there is no native reactor, if so.
    """
    command = [str(Path(sys.executable).parent / "twistd"), "--help-reactors"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BenchError(f"twistd cannot be started: {error}") from None
    # Those that cannot be used here have a mark before the name.
    if re.search(rf"^\s*{Reactor.NATIVE.value}\s", done.stdout, re.MULTILINE):
        return None
    return f"not installed: twistd --help-reactors does not offer {Reactor.NATIVE.value}"
